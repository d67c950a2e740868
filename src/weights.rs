//! Trained weights as safetensors files.
//!
//! Each tensor is named by its path in the module, `blocks.0.inner.weight`; linear layers
//! store [inputs, outputs]. The file's metadata names the program that wrote it.

use std::{collections::HashMap, path::Path};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Tensor, TensorData},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    error::{Error, Result},
    files::write_atomically,
};

/// Writes all weights of the module. `program` goes into the metadata.
pub fn save<M: Module>(module: &M, program: &str, file: &Path) -> Result<()> {
    let mut collect =
        Collect { path: ModulePath::default(), tensors: Vec::new(), error: None };
    module.visit(&mut collect);
    if let Some(error) = collect.error {
        return Err(Error::failure(format!(
            "cannot read the weights from the device: {error}"
        )));
    }
    let views = collect.tensors.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let metadata = HashMap::from([("program".to_string(), program.to_string())]);
    let contents = views
        .collect::<std::result::Result<Vec<_>, _>>()
        .and_then(|views| safetensors::serialize(views, Some(metadata)))
        .map_err(|e| {
            Error::failure(format!(
                "cannot lay out the weights for {}: {e}",
                file.display()
            ))
        })?;
    write_atomically(file, &contents)
}

/// Replaces all weights of the module by those of a file that the same program wrote.
///
/// Fails with a sentence if the file cannot be read, is damaged, holds the weights of
/// another program or network, or one that is no finite number.
pub fn load<M: Module>(module: M, program: &str, file: &Path) -> Result<M> {
    let name = file.display().to_string();
    let contents = std::fs::read(file).map_err(|e| {
        Error::failure(format!(
            "cannot read {name}: {e}; give --load a file that --save wrote"
        ))
    })?;
    read(module, program, &contents).map_err(|why| {
        Error::failure(format!(
            "{name} {why}; give --load a file that {program} wrote with --save"
        ))
    })
}

/// The module with weights that the repository ships: the contents of a file that this
/// program wrote, from `include_bytes`.
///
/// Fails with a sentence if they are of another program or another network.
pub fn shipped<M: Module>(module: M, program: &str, contents: &[u8]) -> Result<M> {
    read(module, program, contents).map_err(|why| {
        Error::failure(format!(
            "the file of weights that was compiled in {why}; write it anew with {program} and --save"
        ))
    })
}

/// Replaces all weights of the module by those of a file that the same program wrote, from
/// the file's contents.
///
/// Fails with what is wrong with the file, as the end of a sentence that begins with its
/// name.
pub fn read<M: Module>(
    module: M,
    program: &str,
    contents: &[u8],
) -> std::result::Result<M, String> {
    read_part(module, program, "", contents)
}

/// Replaces all weights of the module, which is the field `part` of the module that was
/// saved, `plane.nearest`, by its weights in a file that the same program wrote, from the
/// file's contents.
///
/// Fails as [`read`] does.
pub fn read_part<M: Module>(
    module: M,
    program: &str,
    part: &str,
    contents: &[u8],
) -> std::result::Result<M, String> {
    let (_, metadata) = SafeTensors::read_metadata(contents)
        .map_err(|_| String::from("is damaged or no safetensors file"))?;
    let tensors = SafeTensors::deserialize(contents)
        .map_err(|_| String::from("is damaged or no safetensors file"))?;
    let writer = metadata.metadata().as_ref().and_then(|m| m.get("program"));
    if writer.is_none_or(|writer| writer != program) {
        return Err(format!(
            "holds weights of {}",
            writer.map_or("another program", |w| w.as_str())
        ));
    }
    let path: Vec<String> =
        part.split('.').filter(|name| !name.is_empty()).map(Into::into).collect();
    let below = |name: &String| name.split('.').zip(&path).all(|(a, b)| a == b);
    let there = tensors.names().into_iter().filter(|name| below(&name.to_string())).count();
    let path = ModulePath(path.clone());
    let mut replace = Replace { path, tensors: &tensors, used: 0, error: None };
    let module = module.map(&mut replace);
    match replace.error {
        Some(why) => Err(why),
        None if replace.used != there => Err("holds weights of another network".into()),
        None => Ok(module),
    }
}

/// The names of the fields that lead to a weight. Which variant an enum holds shows in the
/// names below it, and adds none.
#[derive(Default)]
struct ModulePath(Vec<String>);

impl ModulePath {
    fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.to_string());
        }
    }

    fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }
}

/// Name, shape and bytes of each weight.
struct Collect {
    path: ModulePath,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    error: Option<String>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        match tensor.try_into_vec_as::<f32>() {
            Ok(values) => {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                self.tensors.push((self.path.0.join("."), shape, bytes));
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }
}

/// Puts the file's tensors into the module.
struct Replace<'a> {
    path: ModulePath,
    tensors: &'a SafeTensors<'a>,
    used: usize,
    error: Option<String>,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.0.join(".");
        let Ok(view) = self.tensors.tensor(&name) else {
            self.error = Some(format!("has no weights named {name}"));
            return param;
        };
        let shape = param.val().dims().to_vec();
        if view.shape() != shape || view.dtype() != Dtype::F32 {
            self.error = Some(format!(
                "has weights {name} of shape {:?} where the network needs {shape:?}",
                view.shape()
            ));
            return param;
        }
        self.used += 1;
        let values = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let values: Vec<f32> = values.collect();
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            self.error =
                Some(format!("has a weight {value} in {name}, which is no finite number"));
            return param;
        }
        let data = TensorData::new(values, shape);
        param.map(|old| Tensor::from_data(data, &old.device()))
    }
}
