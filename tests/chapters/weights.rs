//! The layout of the files that `--save` writes, as the page "Weights and formats" shows
//! it.

use std::path::Path;

use safetensors::SafeTensors;

/// Compares program, names, shapes and number formats in a weights file with
/// `tests/snapshots/weights_NAME.snap`.
pub fn check_layout(name: &str, file: &Path) {
    let contents = std::fs::read(file).expect("the weights");
    let (_, metadata) = SafeTensors::read_metadata(&contents).expect("a safetensors file");
    let program = metadata
        .metadata()
        .as_ref()
        .and_then(|m| m.get("program"))
        .expect("the program's name");
    let tensors = SafeTensors::deserialize(&contents).expect("a safetensors file");
    let mut names = tensors.names();
    names.sort_unstable();
    let mut report =
        format!("## Tensors of {program}\n{:<38}  {:>9}  format\n", "tensor", "shape");
    let mut total = 0;
    for name in names {
        let tensor = tensors.tensor(name).expect("a tensor of this name");
        let shape: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
        report.push_str(&format!(
            "{name:<38}  {:>9}  {:?}\n",
            shape.join(" x "),
            tensor.dtype()
        ));
        total += tensor.shape().iter().product::<usize>();
    }
    report.push_str(&format!("\n## Numbers of {program}\nall tensors together  {total}\n"));
    insta::with_settings!({
        snapshot_path => "../snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(format!("weights_{name}"), report);
    });
}
