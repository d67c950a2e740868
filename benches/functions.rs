//! What the parts of a training step and of sampling cost, in the sizes of chapter 5:
//! `cargo bench --bench functions`.

use burn::{
    optim::GradientsParams,
    tensor::{
        Device, Tensor,
        module::{conv2d, linear},
        ops::ConvOptions,
    },
};
use divan::{Bencher, black_box, counter::ItemsCount};
use elbo_to_diffusion::{
    data::{Dataset, digits::digits},
    evaluation::{Bound, Draws, on_all_threads},
    host::upload,
    kernels::{self, GreyOdds, convolution, level_moments, rms_norm, silu, softmax},
    network::{Layers, TrunkConfig},
    random::{Stream, dropout_mask, normal, rng},
    training::{SHARDS, Shard, Training},
    vdm::{
        Denoiser, Linear, NoiseLevels, Schedule, ancestral, denoising_term, diffuse,
        terms::{decoder_log_probs, denoising_kl},
    },
};

/// The images of one shard of a batch.
const N: usize = 64;
const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn noise<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    normal(shape, &mut rng(0, Stream::Training, 0), &Device::flex())
}

fn gammas(n: usize) -> Tensor<1> {
    upload((0..n).map(|i| -8.0 + 13.0 * i as f64 / n as f64), &Device::flex())
}

fn data() -> Dataset {
    digits().expect("the embedded digits are whole")
}

fn denoiser(device: &Device, layers: Layers, hidden: usize, blocks: usize) -> Denoiser {
    let Linear { gamma_min, gamma_max } = SCHEDULE;
    let trunk = TrunkConfig { gamma_min, gamma_max, layers, hidden, blocks, dropout: 0.4 };
    Denoiser::for_images(
        &data().train,
        trunk,
        &mut rng(0, Stream::Initialisation, 0),
        device,
    )
}

fn quick(device: &Device) -> Denoiser {
    denoiser(device, Layers::Dense, 192, 2)
}

#[divan::bench]
fn normal_noise(bencher: Bencher) {
    bencher.counter(ItemsCount::new(N * 64)).bench_local(|| noise([N, 64]));
}

#[divan::bench]
fn dropout_masks(bencher: Bencher) {
    let device = Device::flex();
    bencher.bench_local(|| {
        dropout_mask([2, N, 192], 0.4, &mut rng(0, Stream::Dropout, 0), &device)
    });
}

#[divan::bench]
fn silu_of_hidden_units(bencher: Bencher) {
    let h = noise([N, 192]);
    bencher.bench_local(|| silu(black_box(h.clone())));
}

#[divan::bench]
fn softmax_over_levels(bencher: Bencher) {
    let logits = noise([N, 64, 17]);
    bencher.bench_local(|| softmax(black_box(logits.clone())));
}

#[divan::bench]
fn forward_process(bencher: Bencher) {
    let (x, gamma, eps) = (noise([N, 64]), gammas(N), noise([N, 64]));
    bencher.bench_local(|| diffuse(x.clone(), gamma.clone(), eps.clone()));
}

#[divan::bench(args = [[64, 17], [784, 256]])]
fn posterior_of_each_grey_level(bencher: Bencher, [d, v]: [usize; 2]) {
    let (seen, base, curves) = (noise([N, d]), noise([d, v]), noise([2, v]));
    let (mix, precision, values) = (noise([N, d, 2]), gammas(N).exp(), noise([v]));
    let odds = GreyOdds { seen, precision, base, mix, curves, values };
    bencher.bench_local(|| level_moments(odds.clone()));
}

#[divan::bench]
fn decoder(bencher: Bencher) {
    let (z, levels) = (noise([N, 64]), noise([17]));
    bencher.bench_local(|| decoder_log_probs(z.clone(), -8.0, levels.clone()));
}

#[divan::bench]
fn batch_of_images(bencher: Bencher) {
    let (data, device) = (data(), Device::flex());
    bencher.bench_local(|| {
        data.train.sample(N, &mut rng(0, Stream::Batch, 0)).values(&device)
    });
}

/// Rows, inputs and outputs of linear layers: of chapter 5, of W1, and one as large as it
/// takes to see what the machine can do.
const SIZES: [[usize; 3]; 4] =
    [[N, 192, 192], [N, 256, 256], [N, 256, 1088], [1024, 1024, 1024]];

/// The rate counts operations: two for each product of two numbers.
#[divan::bench(args = SIZES)]
fn linear_layer(bencher: Bencher, [rows, inputs, outputs]: [usize; 3]) {
    let (x, w, b) = (noise([rows, inputs]), noise([inputs, outputs]), noise([outputs]));
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| kernels::linear(black_box(x.clone()), w.clone(), b.clone()));
}

/// The same with Burn's own operation.
#[divan::bench(args = SIZES)]
fn linear_layer_of_burn(bencher: Bencher, [rows, inputs, outputs]: [usize; 3]) {
    let (x, w, b) = (noise([rows, inputs]), noise([inputs, outputs]), noise([outputs]));
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| linear(black_box(x.clone()), w.clone(), Some(b.clone())));
}

/// The gradients of images and weights of a layer of 24 channels, as in the full preset of
/// chapter 5.
#[divan::bench(args = [true, false])]
fn convolution_forward_and_backward(bencher: Bencher, ours: bool) {
    let [images, weight] = [[N, 24, 8, 8], [24, 24, 3, 3]]
        .map(|shape| Tensor::from_inner(noise(shape)).require_grad());
    let bias = Tensor::from_inner(noise([24])).require_grad();
    bencher.bench_local(|| {
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let y = match ours {
            true => convolution(images.clone(), weight.clone(), bias.clone()),
            false => conv2d(images.clone(), weight.clone(), Some(bias.clone()), options),
        };
        y.sum().backward()
    });
}

#[divan::bench]
fn rms_norm_of_hidden_units(bencher: Bencher) {
    let h = noise([N, 192]);
    bencher.bench_local(|| rms_norm(black_box(h.clone())));
}

#[divan::bench(args = [1, 64, 256])]
fn network_forward(bencher: Bencher, n: usize) {
    let (model, z, gamma) = (quick(&Device::flex()), noise([n, 64]), gammas(n));
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| model.denoise(z.clone(), gamma.clone(), None));
}

#[divan::bench]
fn network_forward_and_backward(bencher: Bencher) {
    let device = Device::flex().autodiff();
    let model = quick(&device);
    let x = Tensor::from_inner(noise([N, 64]));
    let gamma = Tensor::from_inner(gammas(N));
    bencher.counter(ItemsCount::new(N)).bench_local(|| {
        let x_hat =
            model.denoise(x.clone(), gamma.clone(), Some(&mut rng(0, Stream::Dropout, 0)));
        let loss = denoising_kl(x.clone(), x_hat, gamma.clone().exp()).mean();
        GradientsParams::from_grads(loss.backward(), &model)
    });
}

/// Forward, backward, clipping, AdamW and the average of the weights, for 128 images on all
/// threads.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn training_steps_20(bencher: Bencher) {
    let (data, device) = (data(), Device::flex().autodiff());
    let (model, training) = (quick(&device), Training::new(20));
    bencher.counter(ItemsCount::new(20 * N * SHARDS)).bench_local(|| {
        let loss = |model: &Denoiser, shard: Shard| {
            let at = NoiseLevels::at(&SCHEDULE, &shard.times(N, 0), &device);
            let (x, eps) = shard.images_and_noise(&data.train, N, 0.0, 0, &device);
            let dropout = &mut shard.rng(0, Stream::Dropout);
            denoising_term(x, at, eps, |z, gamma| model.denoise(z, gamma, Some(dropout)))
                .mean()
        };
        training
            .run(training.begin(&model), &[], loss, |_| Ok(()))
            .map(|trained| trained.losses)
    });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn ancestral_samples_64_in_25_steps(bencher: Bencher) {
    let (model, device) = (quick(&Device::flex()), Device::flex());
    bencher.counter(ItemsCount::new(64_usize)).bench_local(|| {
        let denoise = on_all_threads(|z, gamma| model.denoise(z, gamma, None));
        ancestral(
            [64, 64],
            &SCHEDULE.grid(26),
            denoise,
            &mut rng(0, Stream::Sampling, 0),
            &device,
            |_, _, _| {},
        )
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn bound_of_the_test_images_with_10_latents(bencher: Bencher) {
    let (data, model, device) = (data(), quick(&Device::flex()), Device::flex());
    bencher.counter(ItemsCount::new(data.test.len())).bench_local(|| {
        let denoise = |z, gamma| model.denoise(z, gamma, None);
        Bound::discrete(
            &data.test,
            &SCHEDULE.grid(10),
            denoise,
            Draws { passes: 2, seed: 0 },
            &device,
        )
    });
}
