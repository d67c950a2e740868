//! Says that the programs of the chapters are modules here.

fn main() {
    println!("cargo:rustc-cfg=lab");
    println!("cargo:rerun-if-changed=build.rs");
}
