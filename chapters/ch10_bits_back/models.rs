//! The trained models that the other chapters ship, as codecs.

use burn::{module::Module, tensor::{Device, Tensor}};
use elbo_to_diffusion::{
    autoencoder::{Hvae, HvaeConfig, Size, Vae},
    chapter::{DataChoice, Preset, Setting},
    codec::{Codec, Diffusion, digest},
    data::{Dataset, Marginals},
    error::Result,
    random::{Stream, rng},
    vdm::{Denoiser, Schedule},
    weights,
};

/// Number of latents in the chain that files are coded with.
pub const LATENTS: usize = 100;

const VDM: &[u8] = include_bytes!("../weights/ch05_vdm.safetensors");
const VDM_FULL: &[u8] = include_bytes!("../../tests/weights/ch05_vdm_full.safetensors");

/// The diffusion model of chapter 5 with the weights of a preset.
pub struct Vdm {
    pub denoiser: Denoiser,
    pub gammas: Vec<f64>,
    weights: [u8; 4],
    number: u8,
}

impl Vdm {
    pub fn load(data: &Dataset, preset: Preset, latents: usize, device: &Device) -> Result<Self> {
        let (number, bytes) = match preset {
            Preset::Quick => (0, VDM),
            Preset::Full => (1, VDM_FULL),
        };
        let setting = Setting::chosen(preset, DataChoice::Digits, 1, |steps| steps);
        let init = &mut rng(0, Stream::Initialisation, 0);
        let fresh = Denoiser::for_images(&data.train, setting.trunk, init, device);
        let denoiser = weights::from_bytes(fresh, "ch05_vdm", "the shipped file", bytes)?;
        Ok(Self { denoiser, gammas: setting.linear().grid(latents), weights: digest(bytes), number })
    }
}
