//! A posterior with two modes, and a q with one.

use std::f64::consts::LN_2;

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::Rule,
};

use super::{
    gap::{Ascent, GapMap},
    meters::PowerMeter,
    scalar_latent::{ScalarLatent, ScalarNormal},
};

/// Three ascents of one ELBO.
pub struct TwoModes {
    log_prob: f64,
    from_right: Path,
    from_left: Path,
    from_middle: Path,
    /// The largest |ELBO + KL - log p(x)| on the way.
    largest_error: f64,
}

/// One ascent; in nats.
struct Path {
    /// The mean of the first q.
    start: f64,
    path: Vec<ScalarNormal>,
    end: ScalarNormal,
    elbo: f64,
    kl: f64,
}

impl TwoModes {
    /// The q that ends on one of the modes.
    pub fn one_mode(&self) -> ScalarNormal {
        self.from_right.end
    }

    /// The q that stays between them.
    pub fn between(&self) -> ScalarNormal {
        self.from_middle.end
    }

    fn paths(&self) -> [&Path; 3] {
        [&self.from_right, &self.from_left, &self.from_middle]
    }
}

// ANCHOR: two_modes
/// Climbs from three starts.
pub fn ascend(meter: &PowerMeter) -> TwoModes {
    let z = Rule::gauss_legendre(1200, -14.0, 14.0);
    let log_prob = meter.log_prob(&z);
    let mut largest_error = 0.0_f64;
    let mut from = |start: f64| {
        let path = meter.ascend(ScalarNormal { mean: start, log_std: 0.0 }, 0.01, 1000);
        for &q in path.iter().step_by(10) {
            let sum = meter.elbo(q) + meter.kl_to_posterior(q, &z);
            largest_error = largest_error.max((sum - log_prob).abs());
        }
        let end = path[path.len() - 1];
        let (elbo, kl) = (meter.elbo(end), meter.kl_to_posterior(end, &z));
        Path { start, path, end, elbo, kl }
    };
    let (from_right, from_left, from_middle) = (from(0.5), from(-0.5), from(0.0));
    TwoModes { log_prob, from_right, from_left, from_middle, largest_error }
}
// ANCHOR_END: two_modes

/// Prints where the ascents end, and draws them.
pub fn report(chapter: &mut Chapter, meter: &PowerMeter, modes: &TwoModes) -> Result<()> {
    let report = &mut chapter.report;
    report.section("Two modes");
    let name = |path: &Path| format!("start {}", path.start);
    let row = |path: &Path| {
        (name(path), [path.end.mean, path.end.log_std.exp(), path.elbo, path.kl])
    };
    report.exact_table(&["ascent", "mean", "std", "ELBO", "KL"], 4, modes.paths().map(row));
    report.line("");
    report.row("log p(x)", &Number::exact(modes.log_prob, 4), "nats");
    report.row("log 2", &Number::exact(LN_2, 4), "nats");
    report.row(
        "largest |ELBO + KL - log p(x)|",
        &Number::exact(modes.largest_error, 10),
        "nats",
    );

    let grid = || (-240..=240).map(|i| f64::from(i) / 100.0);
    let density = |q: ScalarNormal| grid().map(move |z| (z, q.log_prob(z).exp()));
    let series = vec![
        Series::new(
            "p(z|x)",
            Style::Line,
            grid().map(|z| (z, (meter.log_joint(z) - modes.log_prob).exp())),
        ),
        Series::new("q(z), start 0.5", Style::Line, density(modes.one_mode())),
        Series::new("q(z), start 0", Style::Line, density(modes.between())),
    ];
    let plot = Plot { x: Axis::linear("amplitude z"), y: Axis::linear("density"), series };
    chapter.figure("posterior", &plot.draw()?)?;
    let map = GapMap {
        means: [-2.2, 2.2],
        log_stds: [-3.0, 0.3],
        gaps: vec![0.75, 1.0, 2.0, 3.5, 8.0, 16.0],
        ascents: modes
            .paths()
            .map(|path| Ascent { name: name(path), path: &path.path })
            .into(),
    };
    chapter.figure("two_modes", &map.draw(meter, modes.log_prob)?)
}
