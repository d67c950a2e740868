//! Chapter 6.

use elbo_to_diffusion::{
    oracle::Rule,
    vdm::{Cosine, Linear, Schedule, process::diffusion_weight, signal_power},
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LINEAR: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
const COSINE: Cosine = Cosine { gamma_min: -8.0, gamma_max: 5.0 };

// ANCHOR: own_schedule
/// gamma(t) = gamma_min + (gamma_max - gamma_min) (t + t^3) / 2.
struct Cubic {
    gamma_min: f64,
    gamma_max: f64,
}

impl Schedule for Cubic {
    fn gamma(&self, t: f64) -> f64 {
        self.gamma_min + (self.gamma_max - self.gamma_min) * 0.5 * (t + t.powi(3))
    }

    fn slope(&self, t: f64) -> f64 {
        (self.gamma_max - self.gamma_min) * 0.5 * (1.0 + 3.0 * t * t)
    }
}

/// L_inf of N(0, 1) data per dimension. The ideal denoiser errs by Var(x | z) = 1 - abar.
fn diffusion_loss(schedule: &impl Schedule) -> f64 {
    let mmse = |t| signal_power(-schedule.gamma(t));
    Rule::gauss_legendre(400, 0.0, 1.0)
        .integrate(|t| diffusion_weight(schedule, t) * mmse(t))
}

#[test]
fn the_loss_of_gaussian_data_does_not_depend_on_the_schedule() {
    let exact = 0.5 * ((1.0 + 8.0_f64.exp()) / (1.0 + (-5.0_f64).exp())).ln();
    let cubic = Cubic { gamma_min: -8.0, gamma_max: 5.0 };
    for loss in [diffusion_loss(&cubic), diffusion_loss(&LINEAR), diffusion_loss(&COSINE)] {
        assert!((loss - exact).abs() < 1e-6, "{loss} is not {exact}");
    }
}
// ANCHOR_END: own_schedule

// ANCHOR: best_schedule
/// The schedule on which log(1 + SNR) falls at a constant rate.
struct EvenInformation;

impl EvenInformation {
    /// log(1 + SNR) at time t.
    fn log_power(t: f64) -> f64 {
        (1.0 - t) * 8.0_f64.exp().ln_1p() + t * (-5.0_f64).exp().ln_1p()
    }
}

impl Schedule for EvenInformation {
    fn gamma(&self, t: f64) -> f64 {
        -Self::log_power(t).exp_m1().ln()
    }

    fn slope(&self, t: f64) -> f64 {
        // d log(1 + SNR) / d gamma = -abar.
        (Self::log_power(0.0) - Self::log_power(1.0)) / signal_power(self.gamma(t))
    }
}

/// Variance of one draw for N(0, 1) data: x - x_hat is N(0, 1 - abar), and E of its fourth
/// power is 3 (1 - abar)^2.
fn draw_variance(schedule: &impl Schedule) -> f64 {
    let square = |t: f64| {
        3.0 * (diffusion_weight(schedule, t) * signal_power(-schedule.gamma(t))).powi(2)
    };
    Rule::gauss_legendre(400, 0.0, 1.0).integrate(square) - diffusion_loss(schedule).powi(2)
}

#[test]
fn even_steps_of_information_have_the_least_variance() {
    let (best, loss) = (draw_variance(&EvenInformation), diffusion_loss(&EvenInformation));
    assert!((loss - diffusion_loss(&LINEAR)).abs() < 1e-9);
    // The draw is loss * chi^2 at every t, so what is left is the variance of chi^2.
    assert!((best / (2.0 * loss * loss) - 1.0).abs() < 1e-9);
    assert!(
        best < draw_variance(&LINEAR) && draw_variance(&LINEAR) < draw_variance(&COSINE)
    );
}
// ANCHOR_END: best_schedule

// ANCHOR: times
/// k independent times, k times at equal distances from one random start, and one time in
/// each of k equal parts.
fn times(k: usize, rng: &mut impl Rng) -> [Vec<f64>; 3] {
    let independent = (0..k).map(|_| rng.random()).collect();
    let start: f64 = rng.random();
    let spaced = (0..k).map(|i| (i as f64 + start) / k as f64).collect();
    let stratified = (0..k).map(|i| (i as f64 + rng.random::<f64>()) / k as f64).collect();
    [independent, spaced, stratified]
}

#[test]
fn one_random_start_beats_independent_times_and_k_starts_beat_one() {
    const RUNS: usize = 20_000;
    let (rng, k, mean) = (&mut ChaCha8Rng::seed_from_u64(6), 8, 1.0_f64.exp() - 1.0);
    let mut variance = [0.0; 3];
    for _ in 0..RUNS {
        for (variance, times) in variance.iter_mut().zip(times(k, rng)) {
            let estimate = times.iter().map(|t| t.exp()).sum::<f64>() / k as f64;
            *variance += (estimate - mean).powi(2) / RUNS as f64;
        }
    }
    // For f(t) = e^t: Var f / k, (f(1) - f(0))^2 / (12 k^2), and the mean of f'^2 / (12
    // k^3).
    let e = 1.0_f64.exp();
    let second = (e * e - 1.0) / 2.0;
    let k = k as f64;
    let predicted = [
        (second - mean * mean) / k,
        mean * mean / (12.0 * k * k),
        second / (12.0 * k.powi(3)),
    ];
    for (variance, predicted) in variance.iter().zip(predicted) {
        assert!((variance / predicted - 1.0).abs() < 0.1, "{variance} is not {predicted}");
    }
}
// ANCHOR_END: times
