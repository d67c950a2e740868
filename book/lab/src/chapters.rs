//! The programs of the chapters, as modules.
// Each is a program: here nobody calls its `main`, and labs use some of its parts.
#![allow(dead_code, unused_imports)]

#[path = "../../../chapters/ch01_latent_variables.rs"]
pub(crate) mod ch01_latent_variables;
#[path = "../../../chapters/ch02_elbo.rs"]
pub(crate) mod ch02_elbo;
#[path = "../../../chapters/ch03_vae.rs"]
pub(crate) mod ch03_vae;
#[path = "../../../chapters/ch04_hvae.rs"]
pub(crate) mod ch04_hvae;
#[path = "../../../chapters/ch05_vdm.rs"]
pub(crate) mod ch05_vdm;
#[path = "../../../chapters/ch06_learned_snr.rs"]
pub(crate) mod ch06_learned_snr;
#[path = "../../../chapters/ch07_three_parameterizations.rs"]
pub(crate) mod ch07_three_parameterizations;

// Parts of the chapters whose programs do not run in a page.
#[path = "parts/ch08_flow.rs"]
pub(crate) mod ch08_flow;
#[path = "../../../chapters/ch09_guidance/line.rs"]
pub(crate) mod ch09_line;
#[path = "../../../chapters/ch10_bits_back/small.rs"]
pub(crate) mod ch10_small;
#[path = "parts/ch11_flow_matching.rs"]
pub(crate) mod ch11_flow_matching;
