//! The trained models that the other chapters ship, as codecs.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    autoencoder::{Hvae, HvaeConfig, Vae},
    chapter::{DataChoice, Preset, Setting},
    codec::{Codec, Diffusion, Kind, Latents, digest},
    data::{Dataset, Marginals},
    error::Result,
    random::{Stream, rng},
    vdm::{Denoiser, Schedule},
    weights,
};

/// Latents in the chain that files are coded with: half of chapter 5's, for speed.
pub const LATENTS: usize = 100;
/// Latents of chapter 3's model.
const VAE_LATENTS: usize = 16;
/// About how long an image is whose pixels are coded one by one.
const ALONE_BITS: f64 = 150.0;

const VAE: &[u8] = include_bytes!("../weights/ch03_vae.safetensors");
const HVAE: &[u8] = include_bytes!("../weights/ch04_hvae.safetensors");
const VDM: &[u8] = include_bytes!("../weights/ch05_vdm.safetensors");
const VDM_FULL: &[u8] = include_bytes!("../../tests/weights/ch05_vdm_full.safetensors");

/// What a file calls each model.
const NUMBERS: [u8; 4] = [0, 1, 2, 3];

// ANCHOR: placed
/// gamma at equal distances in t. Between them it runs in straight lines.
///
/// The best chains of 100 to 200 latents have their steps there; dynamic programming found
/// them from the errors of chapter 5's network on the validation images (exercise 10.6).
const PLACES: [f64; 17] = [
    -8.0, -7.45, -7.0, -6.62, -6.2, -5.78, -5.31, -4.84, -4.37, -3.92, -3.45, -2.88, -2.22,
    -1.5, -0.6, 0.5, 5.0,
];
// ANCHOR_END: placed

/// The schedule with short steps where long ones cost most.
pub struct Placed;

impl Schedule for Placed {
    fn gamma(&self, t: f64) -> f64 {
        let place = t * (PLACES.len() - 1) as f64;
        let i = (place as usize).min(PLACES.len() - 2);
        PLACES[i] + (place - i as f64) * (PLACES[i + 1] - PLACES[i])
    }

    fn slope(&self, t: f64) -> f64 {
        let parts = (PLACES.len() - 1) as f64;
        let i = ((t * parts) as usize).min(PLACES.len() - 2);
        (PLACES[i + 1] - PLACES[i]) * parts
    }
}

/// The diffusion model of chapter 5.
pub struct Vdm {
    denoiser: Denoiser,
    number: u8,
    weights: [u8; 4],
}

impl Vdm {
    /// With the shipped weights of a preset.
    pub fn load(data: &Dataset, preset: Preset, device: &Device) -> Result<Self> {
        let (number, file) = match preset {
            Preset::Quick => (NUMBERS[0], VDM),
            Preset::Full => (NUMBERS[1], VDM_FULL),
        };
        let setting = Setting::chosen(preset, DataChoice::Digits, 1, |steps| steps);
        let init = &mut rng(0, Stream::Initialisation, 0);
        let fresh = Denoiser::for_images(&data.train, setting.trunk, init, device);
        let denoiser = weights::shipped(fresh, "ch05_vdm", file)?;
        Ok(Self { denoiser, number, weights: digest(file) })
    }

    /// The model of the number that a file names, if it is one that files are coded with.
    pub fn preset(number: u8) -> Option<Preset> {
        let presets = [Preset::Quick, Preset::Full];
        presets.into_iter().zip(NUMBERS).find(|(_, n)| *n == number).map(|(p, _)| p)
    }

    /// Estimates x.
    pub fn denoise(&self, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        self.denoiser.denoise(z, gamma, None)
    }

    /// The chain of T latents with so many bins to a standard deviation.
    pub fn chain(
        &self,
        data: &Dataset,
        latents: usize,
        fineness: f64,
        device: &Device,
    ) -> Diffusion<impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync> {
        let denoise = |z, gamma| self.denoise(z, gamma);
        let (gammas, values) = (Placed.grid(latents), data.train.grey_values());
        Diffusion::new(denoise, gammas, values, data.train.dim(), fineness, device)
    }

    /// What codes files.
    pub fn codec(
        &self,
        data: &Dataset,
        device: &Device,
    ) -> Codec<Diffusion<impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync>> {
        let chain = self.chain(data, LATENTS, FINENESS, device);
        Codec::new(chain, self.number, self.weights, &alone(data), ALONE_BITS)
    }
}

/// Bins to a standard deviation, in files.
pub const FINENESS: f64 = 4.0;

/// The distribution of each pixel by itself, from the training images.
pub fn alone(data: &Dataset) -> Marginals {
    Marginals::fit(&data.train, 0.1)
}

/// The autoencoders of chapters 3 and 4.
pub struct Autoencoders {
    pub vae: Vae,
    pub hvae: Hvae,
}

impl Autoencoders {
    /// With the shipped weights.
    pub fn load(data: &Dataset, device: &Device) -> Result<Self> {
        let init = || rng(0, Stream::Initialisation, 0);
        let vae = Vae::new(&data.train, VAE_LATENTS, Vae::SIZES, &mut init(), device);
        let hvae = HvaeConfig::of_digits().init(&data.train, &mut init(), device);
        Ok(Self {
            vae: weights::shipped(vae, "ch03_vae", VAE)?,
            hvae: weights::shipped(hvae, "ch04_hvae", HVAE)?,
        })
    }

    /// What codes files with each.
    pub fn codecs(&self, data: &Dataset, device: &Device) -> [Codec<Latents<'_>>; 2] {
        let kind = Kind { values: data.train.grey_values(), dim: data.train.dim() };
        let vae = Latents::vae(&self.vae, VAE_LATENTS, kind.clone(), device);
        let widths = HvaeConfig::of_digits().latents;
        let hvae = Latents::hierarchy(&self.hvae, &widths, kind, device);
        let codec = |chain, number: usize, file| {
            Codec::new(chain, NUMBERS[number], digest(file), &alone(data), ALONE_BITS)
        };
        [codec(vae, 2, VAE), codec(hvae, 3, HVAE)]
    }
}
