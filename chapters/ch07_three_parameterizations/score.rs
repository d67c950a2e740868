//! The score of three blobs in the plane: by Tweedie's formula, and as a network learns it.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    host::{download, upload},
    network::{Layers, Regressor, TrunkConfig},
    oracle::{Gaussian, Mixture, NoiseLevel, vector},
    random::{Stream, normal, rng},
    training::{Shard, Training},
    vdm::diffuse,
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::field::{Field, fields};

/// Three blobs in the plane, whose score is known exactly at every noise level.
pub(crate) fn blobs() -> Result<Mixture> {
    let blob = |x: f64, y: f64| Gaussian::isotropic(vector(&[x, y]), 0.05);
    Ok(Mixture::new(
        &[0.4, 0.35, 0.25],
        vec![blob(-1.0, -0.6)?, blob(1.0, -0.4)?, blob(0.1, 1.0)?],
    )?)
}

// ANCHOR: tweedie
pub fn tweedie(chapter: &mut Chapter) -> Result<()> {
    const DRAWS: usize = 50_000;
    let (data, level) = (blobs()?, NoiseLevel::new(-1.5));
    let marginal = data.marginal(level)?;
    let noise = &mut rng(chapter.seed(), Stream::Exact, 1);
    let (mut gap, mut squared, mut mmse, mut product) = (0.0_f64, 0.0, 0.0, 0.0);
    for _ in 0..DRAWS {
        let x = data.sample(noise);
        let eps = vector(&[StandardNormal.sample(noise), StandardNormal.sample(noise)]);
        let z = &x * level.abar().sqrt() + &eps * level.noise().sqrt();
        let (score, posterior) = (marginal.score(&z)?, data.posterior(&z, level)?);
        // Tweedie: the posterior mean from the score, against the posterior mean from
        // Bayes' rule.
        let from_score = (&z + &score * level.noise()) / level.abar().sqrt();
        gap = gap.max((from_score - posterior.mean()).amax());
        let difference = &score + &eps / level.noise().sqrt();
        squared += difference.norm_squared() / DRAWS as f64;
        product += score.dot(&difference) / DRAWS as f64;
        mmse += posterior.covariance().trace() / DRAWS as f64;
    }
    // ANCHOR_END: tweedie
    let report = &mut chapter.report;
    report.section("Tweedie");
    report.row(
        "posterior means apart, at most",
        &Number::within(1e10 * gap, 1.0, 2),
        "x 1e-10",
    );
    report.row("mean squared difference of the scores", &Number::exact(squared, 2), "");
    report.row(
        "the same from the mmse",
        &Number::exact(level.snr() / level.noise() * mmse, 2),
        "",
    );
    report.row("mean product with the marginal score", &Number::exact(product, 2), "");

    score_field(chapter, &data, level, noise)
}

/// Draws the exact score beside one that a network learned, and compares them where z lies
/// and on an even grid.
fn score_field(
    chapter: &mut Chapter,
    data: &Mixture,
    level: NoiseLevel,
    noise: &mut ChaCha8Rng,
) -> Result<()> {
    let (marginal, network) = (data.marginal(level)?, score_network(chapter, data, level)?);
    let exact = |z: &[[f64; 2]]| -> Result<Vec<[f64; 2]>> {
        z.iter().map(|z| Ok(marginal.score(&vector(z)).map(|s| [s[0], s[1]])?)).collect()
    };
    let device = chapter.device.clone();
    let learned = |z: &[[f64; 2]]| -> Result<Vec<[f64; 2]>> {
        let (rows, gamma) = (
            upload(z.iter().flatten().copied(), &device),
            Tensor::full([z.len()], level.gamma, &device),
        );
        let score = download(
            -network.forward(rows.reshape([z.len(), 2]), gamma, None)
                / level.noise().sqrt(),
        )?;
        Ok(score.chunks(2).map(|s| [s[0], s[1]]).collect())
    };
    let place = |i: usize| 0.4 * i as f64 - 2.4;
    let grid: Vec<[f64; 2]> =
        (0..13 * 13).map(|i| [place(i / 13), place(i % 13)]).collect();
    let drawn: Vec<[f64; 2]> =
        (0..2000).map(|_| marginal.sample(noise)).map(|z| [z[0], z[1]]).collect();
    for (place, z) in [("where z lies", &drawn), ("on an even grid", &grid)] {
        let (mut error, mut power) = (0.0, 0.0);
        for (s, s_hat) in exact(z)?.into_iter().zip(learned(z)?) {
            error += (s[0] - s_hat[0]).powi(2) + (s[1] - s_hat[1]).powi(2);
            power += s[0].powi(2) + s[1].powi(2);
        }
        let percent = Number::within(100.0 * f64::sqrt(error / power), 1.0, 0);
        chapter.report.row(&format!("error of the learned score {place}"), &percent, "%");
    }
    let picture = |title: &str, score: Vec<[f64; 2]>| Field {
        title: title.into(),
        arrows: grid.iter().copied().zip(score).collect(),
        points: drawn[..150].to_vec(),
    };
    let pictures =
        [picture("exact score", exact(&grid)?), picture("learned score", learned(&grid)?)];
    chapter.figure("score_field", &fields(&pictures, 2.8, 0.75)?)
}

// ANCHOR: score_network
/// Learns eps_hat at one noise level by regression on eps alone: the exact score is never
/// shown to it.
fn score_network(
    chapter: &mut Chapter,
    data: &Mixture,
    level: NoiseLevel,
) -> Result<Regressor> {
    const N: usize = 128;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let trunk = TrunkConfig {
        gamma_min: -8.0,
        gamma_max: 5.0,
        layers: Layers::Dense,
        hidden: 64,
        blocks: 1,
        dropout: 0.0,
    };
    let network =
        Regressor::new(trunk, 2, &mut rng(seed, Stream::Initialisation, 1), &device);
    let loss = |network: &Regressor, shard: Shard| {
        let noise = &mut shard.rng(seed, Stream::Training);
        let x: Vec<f64> =
            (0..N).map(|_| data.sample(noise)).flat_map(|x| [x[0], x[1]]).collect();
        let (x, eps) = (upload(x, &device).reshape([N, 2]), normal([N, 2], noise, &device));
        let gamma = Tensor::<1>::full([N], level.gamma, &device);
        let z = diffuse(x, gamma.clone(), eps.clone());
        (network.forward(z, gamma, None) - eps).square().mean()
    };
    Ok(chapter.stage("score", &Training::new(600)).train(&network, loss)?.model)
}
// ANCHOR_END: score_network
