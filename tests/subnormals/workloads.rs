//! What the book trains, bounds and samples, in a small way.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use elbo_to_diffusion::{
    autoencoder::{
        Autoencoder, CategoricalDecoder, Fit, GaussianNetwork, HvaeConfig, Importance,
        ImportanceWeighted, Size, Vae,
    },
    data::{Dataset, digits::digits},
    error::Result,
    evaluation::{Bound, Draws},
    host::{download, upload},
    masks::{CausalNetwork, Masked, MaskedNetwork, process::random_order},
    network::{
        Layers, Regressor, TrunkConfig,
        layers::{Convolution, linear},
    },
    optimizer::{Optimizer, StepSettings},
    random::{Stream, normal, rng},
    training::{Shard, Training},
    vdm::{
        Denoiser, Learned, Linear, NoiseLevels, Parameterization, Schedule, ancestral,
        decode, denoising_term,
    },
};

#[path = "../../benches/w1.rs"]
mod w1;

/// What it is called and does.
pub type Workload = (&'static str, fn() -> Result<()>);

/// All of them.
pub const WORKLOADS: [Workload; 10] = [
    ("the denoiser of chapter 5", dense),
    ("the learned schedule of chapter 6", learned_schedule),
    ("the heads of chapter 7", heads),
    ("images that are all but known", known),
    ("a U-Net", unet),
    ("the reference workload", reference),
    ("the VAE of chapter 3", vae),
    ("a hierarchy with convolutions", hierarchy),
    ("an optimizer whose gradients vanish", optimizer),
    ("the networks of chapter 12", masks),
];

const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
const DENSE: TrunkConfig = TrunkConfig {
    gamma_min: -8.0,
    gamma_max: 5.0,
    layers: Layers::Dense,
    hidden: 192,
    blocks: 2,
    dropout: 0.4,
};
const DRAWS: Draws = Draws { passes: 2, seed: 0 };

fn tape() -> Device {
    Device::flex().autodiff()
}

/// Trains at the highest learning rate from the first step on.
fn train<M: Module + Sync>(
    model: &M,
    steps: usize,
    loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
) -> Result<M> {
    let training = Training { warmup: 0, ..Training::new(steps) };
    Ok(training.run(training.begin(model), &[], loss, |_| Ok(()))?.model)
}

/// The diffusion loss of each of 32 images, in bits/dim.
fn diffusion_loss(
    data: &Dataset,
    shard: Shard,
    at: NoiseLevels,
    denoise: impl FnOnce(Tensor<2>, Tensor<1>) -> Tensor<2>,
) -> Tensor<1> {
    let (x, eps) = shard.images_and_noise(&data.train, 32, 0.0, 0, &tape());
    denoising_term(x, at, eps, denoise) * data.bits_per_dim(1.0)
}

fn times(shard: Shard) -> Vec<f64> {
    shard.times(32, 0)
}

/// The bound on some images, and samples to the last pixel.
fn bound_and_sample(
    data: &Dataset,
    denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
) -> Result<()> {
    let device = Device::flex();
    Bound::continuous(&data.test.first(64), &SCHEDULE, 16, &denoise, DRAWS, &device)?;
    let noise = &mut rng(0, Stream::Sampling, 0);
    let z = ancestral(
        [40, data.train.dim()],
        &SCHEDULE.grid(40),
        &denoise,
        noise,
        &device,
        |_, _, _| {},
    );
    decode(z, SCHEDULE.gamma_min, &data.train.grey_values())?;
    Ok(())
}

fn denoiser(data: &Dataset, trunk: TrunkConfig) -> Denoiser {
    Denoiser::for_images(
        &data.train,
        trunk,
        &mut rng(0, Stream::Initialisation, 0),
        &tape(),
    )
}

fn train_denoiser(trunk: TrunkConfig, steps: usize) -> Result<()> {
    let data = digits()?;
    let loss = |model: &Denoiser, shard: Shard| {
        let denoise =
            |z, gamma| model.denoise(z, gamma, Some(&mut shard.rng(0, Stream::Dropout)));
        diffusion_loss(
            &data,
            shard,
            NoiseLevels::at(&SCHEDULE, &times(shard), &tape()),
            denoise,
        )
        .mean()
    };
    let model = train(&denoiser(&data, trunk), steps, loss)?;
    bound_and_sample(&data, |z, gamma| model.denoise(z, gamma, None))
}

fn dense() -> Result<()> {
    train_denoiser(DENSE, 100)
}

fn unet() -> Result<()> {
    train_denoiser(
        TrunkConfig { layers: Layers::UNet(2), hidden: 8, blocks: 1, ..DENSE },
        10,
    )
}

fn learned_schedule() -> Result<()> {
    let data = digits()?;
    let model = (
        denoiser(&data, DENSE),
        Learned::new(SCHEDULE.gamma_min, SCHEDULE.gamma_max, &tape()),
    );
    let loss = |(denoiser, schedule): &(Denoiser, Learned), shard: Shard| {
        let at = NoiseLevels::of_learned(schedule, upload(times(shard), &tape()));
        let draw = |at| {
            diffusion_loss(&data, shard, at, |z, gamma| denoiser.denoise(z, gamma, None))
        };
        draw(at.clone().detach()).mean() + draw(at).clamp_min(1e-6).square().mean() * 0.01
    };
    let (denoiser, schedule) = train(&model, 80, loss)?;
    let denoise = |z, gamma| denoiser.denoise(z, gamma, None);
    Bound::continuous(
        &data.test.first(64),
        &schedule.fixed()?,
        16,
        denoise,
        DRAWS,
        &Device::flex(),
    )?;
    let noise = &mut rng(0, Stream::Evaluation, 0);
    Bound::end_point_slopes(
        &data.test.first(64),
        [-5.0, 2.0],
        denoise,
        noise,
        &Device::flex(),
    )?;
    Ok(())
}

fn heads() -> Result<()> {
    let data = digits()?;
    use Parameterization::{Eps, Score, V, X};
    for head in [X, Eps, Score, V] {
        let fresh = Regressor::new(
            DENSE,
            data.train.dim(),
            &mut rng(0, Stream::Initialisation, 0),
            &tape(),
        );
        let x_hat = |model: &Regressor, z: Tensor<2>, gamma: Tensor<1>| {
            head.to_x(model.forward(z.clone(), gamma.clone(), None), z, gamma)
        };
        let model = train(&fresh, 10, |model, shard| {
            let at = NoiseLevels::at(&SCHEDULE, &times(shard), &tape());
            diffusion_loss(&data, shard, at, |z, gamma| x_hat(model, z, gamma)).mean()
        })?;
        bound_and_sample(&data, |z, gamma| x_hat(&model, z, gamma))?;
    }
    Ok(())
}

/// The noise is far below the distance of the grey levels, so that few probabilities are neither zero nor one.
fn known() -> Result<()> {
    let (data, quiet) = (digits()?, Linear { gamma_min: -13.0, gamma_max: -6.0 });
    let at = |shard| NoiseLevels::at(&quiet, &times(shard), &tape());
    train(&denoiser(&data, DENSE), 5, |model, shard| {
        diffusion_loss(&data, shard, at(shard), |z, gamma| model.denoise(z, gamma, None))
            .mean()
    })?;
    train(
        &w1::W1::new(&mut rng(0, Stream::Initialisation, 0), &tape()),
        5,
        |model, shard| {
            diffusion_loss(&data, shard, at(shard), |z, gamma| {
                model.denoise(z, gamma, None)
            })
            .mean()
        },
    )?;
    Ok(())
}

fn reference() -> Result<()> {
    let data = digits()?;
    let fresh = w1::W1::new(&mut rng(0, Stream::Initialisation, 0), &tape());
    let training = w1::training(40);
    let loss = |model: &w1::W1, shard: Shard| model.loss(&data, shard, &tape());
    let model = training.run(training.begin(&fresh), &[], loss, |_| Ok(()))?.model;
    bound_and_sample(&data, |z, gamma| model.denoise(z, gamma, None))
}

/// Trains an autoencoder, bounds with it, and draws from its decoder.
fn autoencoder<M: Autoencoder>(
    data: &Dataset,
    fresh: &M,
    steps: usize,
    decoder: impl Fn(&M) -> &CategoricalDecoder,
    latents: usize,
) -> Result<()> {
    let fit = Fit::new(steps, 0.3);
    let model = train(fresh, steps, fit.loss(&data.train, 0, &Device::flex()))?;
    ImportanceWeighted::estimate(
        &model,
        &data.test.first(64),
        Importance { draws: 2, seed: 0 },
        &Device::flex(),
    )?;
    let noise = &mut rng(0, Stream::Sampling, 0);
    let z = normal([16, latents], noise, &Device::flex());
    download(decoder(&model).mean(z.clone(), &data.train.grey_values()))?;
    decoder(&model).sample(z, noise)?;
    Ok(())
}

fn vae() -> Result<()> {
    let data = digits()?;
    let fresh = Vae::new(
        &data.train,
        16,
        Vae::SIZES,
        &mut rng(0, Stream::Initialisation, 0),
        &tape(),
    );
    autoencoder(&data, &fresh, 200, |model| &model.decoder, 16)
}

fn hierarchy() -> Result<()> {
    let (data, init) = (digits()?, &mut rng(0, Stream::Initialisation, 0));
    let size = Size { hidden: 8, blocks: 1, dropout: 0.1 };
    let config =
        HvaeConfig { latents: vec![8, 4], encoder: size, between: size, decoder: size };
    let mut fresh = config.init(&data.train, init, &tape());
    fresh.encoders[0] =
        GaussianNetwork::convolutional(data.train.side(), 8, size, init, &tape());
    fresh.decoder = CategoricalDecoder::convolutional(8, &data.train, size, init, &tape());
    autoencoder(&data, &fresh, 20, |model| &model.decoder, 8)
}

/// Large gradients once, then small ones, and then none, until all running means have run
/// out: AdamW's, and the momentum of Muon.
fn optimizer() -> Result<()> {
    let draws = || rng(0, Stream::Initialisation, 0);
    vanishing(linear(5, 7, 1.0, &mut draws(), &tape()), false, 10_000)?;
    vanishing(Convolution::new([2, 7], 3, 1.0, &mut draws(), &tape()), true, 3000)
}

/// Steps along gradients that vanish.
fn vanishing<M: Module>(mut model: M, muon: bool, steps: usize) -> Result<()> {
    /// Each weight times a factor.
    struct Scaled(f64, GradientsParams);
    impl ModuleVisitor for Scaled {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.register(param.id, param.val().inner() * self.0);
        }
    }
    let mut optimizer = Optimizer::default();
    for step in 1..=steps {
        let size = [1.0, 1e-10, 1e-15, 1e-18, 1e-20].get(step - 1).copied().unwrap_or(0.0);
        let mut gradients = Scaled(size, GradientsParams::new());
        model.visit(&mut gradients);
        let settings = StepSettings {
            step,
            learning_rate: 2e-3,
            weight_decay: 0.01,
            average_decay: 0.999,
            muon,
        };
        let half = upload([0.5], &Device::flex());
        model = optimizer.step(model, gradients.1, half, settings);
    }
    Ok(())
}

/// The masked network and the causal one, trained for some steps.
fn masks() -> Result<()> {
    let (data, device) = (digits()?, tape());
    let init = &mut rng(0, Stream::Initialisation, 0);
    let masked = MaskedNetwork::for_images(&data.train, DENSE, init, &device);
    train(&masked, 30, |network, shard| {
        let rng = &mut shard.rng(0, Stream::Masks);
        let mut batch = Masked::default();
        for (n, image) in data.train.sample(32, rng).iter().enumerate() {
            batch.push(image, &random_order(64, rng)[..1 + 2 * n]);
        }
        network.cost(&batch, Some(rng)).mean() * data.bits_per_dim(1.0)
    })?;
    let causal = CausalNetwork::for_images(&data.train, DENSE, init, &device);
    train(&causal, 30, |network, shard| {
        let rng = &mut shard.rng(0, Stream::Masks);
        let images = data.train.sample(4, rng);
        let places = images.iter().flat_map(|x| (0..64).map(move |pixel| (x, pixel)));
        network.cost(&places.collect::<Vec<_>>(), Some(rng)).mean()
    })?;
    Ok(())
}
