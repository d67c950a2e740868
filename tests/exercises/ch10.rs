//! Chapter 10.

use burn::tensor::Device;
use elbo_to_diffusion::{
    chapter::Preset,
    codec::{Categorical, Chain, Stack},
    data::digits::digits,
    error::Result,
    evaluation::{Bound, Draws},
    random::{Stream, rng},
    vdm::{Linear, Schedule, process::denoising_weight, signal_power},
};
use rand::RngExt;

use crate::models::{FINENESS, LATENTS, Placed, Vdm};

// ANCHOR: labels
#[test]
fn three_labels_make_a_number_of_three_digits() {
    let push = |s: u32, label: u32| 10 * s + label;
    assert_eq!([4, 0, 7].into_iter().fold(0, push), 407);
    assert_eq!(999_u32.ilog2() + 1, 10);
}
// ANCHOR_END: labels

// ANCHOR: stack
/// A stack as one number. Units and places of three symbols, out of 2^4.
struct Number(u128);

const UNITS: [u128; 3] = [10, 5, 1];
const PLACES: [u128; 3] = [0, 10, 15];

impl Number {
    fn push(&mut self, symbol: usize) {
        let (f, from) = (UNITS[symbol], PLACES[symbol]);
        self.0 = ((self.0 / f) << 4) + from + self.0 % f;
    }

    fn pop(&mut self) -> usize {
        let u = self.0 % 16;
        let symbol = PLACES.iter().rposition(|from| *from <= u).unwrap_or(0);
        self.0 = UNITS[symbol] * (self.0 >> 4) + u - PLACES[symbol];
        symbol
    }
}

#[test]
fn a_number_gives_back_what_was_pushed_and_is_as_long_as_it_should_be() {
    let rng = &mut rng(0, Stream::Exact, 0);
    let symbols: Vec<usize> = (0..20).map(|_| [0, 0, 1][rng.random_range(0..3)]).collect();
    let mut stack = Number(1);
    symbols.iter().for_each(|symbol| stack.push(*symbol));
    let ideal: f64 = symbols.iter().map(|k| 4.0 - (UNITS[*k] as f64).log2()).sum();
    // While the number is small, quotients are rounded coarsely.
    assert!(((stack.0 as f64).log2() - ideal).abs() < 4.0);
    let popped: Vec<usize> = (0..20).map(|_| stack.pop()).collect();
    assert!(popped.iter().rev().eq(&symbols) && stack.0 == 1);
}
// ANCHOR_END: stack

// ANCHOR: two_names
#[test]
fn a_choice_between_two_names_is_worth_a_bit() -> Result<()> {
    let p = [0.5, 0.3, 0.2];
    let code = |q: [f64; 2]| -> Result<f64> {
        let rng = &mut rng(0, Stream::Exact, 1);
        let (x_model, z_model) = ([Categorical::new(p)], [Categorical::uniform(2)]);
        let mut stack = Stack::new(true);
        for _ in 0..20_000 {
            let u: f64 = rng.random();
            let x = usize::from(u >= p[0]) + usize::from(u >= p[0] + p[1]);
            let z = stack.borrow(&[Categorical::new(q)]);
            stack.push(&[x], &x_model)?;
            stack.push(&z, &z_model)?;
        }
        Ok(stack.bits() / 20_000.0)
    };
    let entropy: f64 = p.iter().map(|p| -p * f64::log2(*p)).sum();
    assert!((code([0.5, 0.5])? - entropy).abs() < 0.02);
    assert!((code([1.0, 0.0])? - entropy - 1.0).abs() < 0.02);
    Ok(())
}
// ANCHOR_END: two_names

// ANCHOR: all_layers
/// The entropies of q(z_1|x), q(z_2|z_1), ..., in bits, where bins are as narrow as in the
/// middle.
fn entropies(gammas: &[f64], bins: impl Fn(usize) -> f64) -> f64 {
    use std::f64::consts::{E, TAU};
    let layer = |t: usize| {
        let noise = signal_power(-gammas[t - 1]);
        let variance = match t {
            1 => noise,
            _ => -noise * (gammas[t - 2] - gammas[t - 1]).exp_m1(),
        };
        let width = 2.0 * TAU.sqrt() / bins(t);
        64.0 * ((TAU * E * variance).sqrt() / width).log2()
    };
    (1..=gammas.len()).map(layer).sum()
}
// ANCHOR_END: all_layers

/// The formula against the entropies of the very bins under the very Gaussians, for means in
/// the middle.
#[test]
fn all_layers_at_once_borrow_thousands_of_bits() -> Result<()> {
    let (data, device) = (digits()?, Device::flex());
    let vdm = Vdm::load(&data, Preset::Quick, &device)?;
    let chain = vdm.chain(&data, LATENTS, FINENESS, &device);
    let bits = entropies(&Placed.grid(LATENTS), |t| chain.bins(t).count() as f64);
    let entropy = |t: usize| -> Result<f64> {
        let normals = match t {
            1 => chain.first(&[8; 64])?,
            _ => chain.up(t, &[0.0; 64])?,
        };
        let bins = chain.bins(t);
        let of = |normal| {
            let model = bins.under(normal);
            (0..bins.count()).map(|k| model.bits(k)).map(|b| b * (-b).exp2()).sum::<f64>()
        };
        Ok(normals.into_iter().map(of).sum())
    };
    let exact = (1..=LATENTS).map(entropy).sum::<Result<f64>>()?;
    assert!((bits / exact - 1.0).abs() < 0.01, "{bits} {exact}");
    assert!(bits > 6400.0 * 4.0 && bits < 6400.0 * 5.1, "{bits}");
    Ok(())
}

// ANCHOR: best_steps
/// The places of the best chain of so many latents among these noise levels, from the least
/// to the most, and its denoising terms. `error[j]` is E|x - x_hat|^2 at level j.
fn best_chain(gammas: &[f64], error: &[f64], latents: usize) -> (Vec<usize>, f64) {
    let last = gammas.len() - 1;
    let step = |i: usize, j: usize| denoising_weight(gammas[i], gammas[j]) * error[j];
    // The cost of the best chain of one latent more that ends at each level, and where its
    // last step began.
    let mut cost = vec![f64::INFINITY; last + 1];
    cost[0] = 0.0;
    let mut began = Vec::new();
    for _ in 1..latents {
        let best = |j: usize| {
            let chains = (0..j).map(|i| (cost[i] + step(i, j), i));
            chains.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0))
        };
        let (costs, places): (Vec<f64>, Vec<usize>) = (0..=last).map(best).unzip();
        cost = costs;
        began.push(places);
    }
    let mut places = vec![last];
    for began in began.iter().rev() {
        places.push(began[places[places.len() - 1]]);
    }
    places.reverse();
    (places, cost[last])
}

#[test]
fn the_best_steps_for_gaussian_data_lose_equally() {
    let gammas = Linear { gamma_min: -8.0, gamma_max: 5.0 }.grid(1301);
    let error: Vec<f64> = gammas.iter().map(|gamma| signal_power(-gamma)).collect();
    let (places, cost) = best_chain(&gammas, &error, 9);
    let even = gammas.iter().step_by(1300 / 8).collect::<Vec<_>>();
    let even: f64 = even
        .windows(2)
        .map(|pair| denoising_weight(*pair[0], *pair[1]) * signal_power(-pair[1]))
        .sum();
    assert!(cost < 0.8 * even, "{cost} {even}");
    let log_power: Vec<f64> = places.iter().map(|&j| (-gammas[j]).exp().ln_1p()).collect();
    let lost: Vec<f64> = log_power.windows(2).map(|pair| pair[0] - pair[1]).collect();
    assert!(lost.iter().all(|lost| (lost - 1.0).abs() < 0.02), "{lost:?}");
}
// ANCHOR_END: best_steps

/// The best chain for the errors of the network on validation images, the seventeen places
/// that the program keeps, and equal steps, all bounded with other noise on the same images:
/// the places cost hardly more than the best, equal steps do.
#[test]
fn the_places_are_near_the_best() -> Result<()> {
    let (data, device) = (digits()?, Device::flex());
    let vdm = Vdm::load(&data, Preset::Quick, &device)?;
    let linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
    let (fine, images) = (linear.grid(261), data.validation.first(128));
    let bound = |gammas: &[f64], seed| {
        let denoise = |z, gamma| vdm.denoise(z, gamma);
        Bound::discrete(&images, gammas, denoise, Draws { passes: 2, seed }, &device)
    };
    let seen = bound(&fine, 1)?;
    let steps = fine.windows(2).zip(&seen.denoising);
    let errors = steps.map(|(pair, nats)| nats / denoising_weight(pair[0], pair[1]));
    let error: Vec<f64> = [0.0].into_iter().chain(errors).collect();
    let (places, _) = best_chain(&fine, &error, LATENTS);
    let best: Vec<f64> = places.iter().map(|&j| fine[j]).collect();
    let [best, placed, even] =
        [best, Placed.grid(LATENTS), linear.grid(LATENTS)].map(|gammas| bound(&gammas, 2));
    let best = best?;
    let above = |other: Bound| data.bits_per_dim(other.total() - best.total());
    let (placed, even) = (above(placed?), above(even?));
    // The noise of a difference is a hundredth of a bit.
    assert!(placed.abs() < 0.02, "{placed}");
    assert!(even > 0.03, "{even}");
    Ok(())
}
