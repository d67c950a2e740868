//! Models without a latent, and what a density would claim.

use std::f64::consts::{LN_2, TAU};

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Marginals},
    oracle::log_sum_exp,
};

/// What each model costs, in bits per dimension.
pub struct Baselines {
    uniform: f64,
    independent_validation: f64,
    independent_test: f64,
    spiked: Vec<Spiked>,
}

/// The independent pixels as a density of spikes, on the test images.
struct Spiked {
    /// The standard deviation of a spike, in grey levels.
    width: f64,
    /// -log2 of the density, per dimension.
    claimed: f64,
}

/// Fits the baselines to the training images.
pub fn measure(data: &Dataset) -> Baselines {
    let independent = Marginals::fit(&data.train, 0.1);
    let bits = |images| data.bits_per_dim(independent.nats(images));
    let spiked = [0.1, 0.01, 0.001]
        .map(|width| Spiked { width, claimed: spiked(data, &independent, width) });
    Baselines {
        uniform: (data.train.grey_level_count() as f64).log2(),
        independent_validation: bits(&data.validation),
        independent_test: bits(&data.test),
        spiked: spiked.into(),
    }
}

// ANCHOR: spikes
/// A density with a narrow Gaussian spike on every grey level, as heavy as the level.
fn spiked(data: &Dataset, independent: &Marginals, width: f64) -> f64 {
    let (d, grey_levels) = (data.test.dim(), data.test.grey_level_count());
    let mut log_density = 0.0;
    for (i, &x) in data.test.iter().flat_map(|image| image.iter().enumerate()) {
        let spike = |v: usize| {
            let distance = (f64::from(x) - v as f64) / width;
            independent.log_probs[i * grey_levels + v] - 0.5 * distance * distance
        };
        let terms: Vec<f64> = (0..grey_levels).map(spike).collect();
        log_density += log_sum_exp(&terms) - (width * TAU.sqrt()).ln();
    }
    -log_density / (data.test.len() * d) as f64 / LN_2
}
// ANCHOR_END: spikes

/// Prints them.
pub fn report(chapter: &mut Chapter, found: &Baselines) {
    let report = &mut chapter.report;
    report.section("Baselines");
    for (name, value) in [
        ("uniform levels", found.uniform),
        ("independent pixels, validation", found.independent_validation),
        ("independent pixels, test", found.independent_test),
    ] {
        report.row(name, &Number::exact(value, 3), "bits/dim");
    }
    report.section("A density is not a probability");
    let rows =
        found.spiked.iter().map(|spiked| (format!("{}", spiked.width), [spiked.claimed]));
    report.exact_table(&["width (levels)", "-log2 density / d"], 3, rows);
    chapter.metric("uniform_bits_per_dim", found.uniform);
    chapter.metric("independent_test_bits_per_dim", found.independent_test);
}
