//! Unit tests of what chapter 11 alone uses.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    error::Result,
    host::{download, upload},
    oracle::{Gaussian, Mixture, NoiseLevel, vector},
    random::{Stream, rng},
    vdm::{Linear, Schedule, denoising_term, diffuse},
};

use crate::{
    blobs,
    line::{Straight, levels, time, x_from_velocity},
    pairs::Pairs,
    plane::{Path, euler},
};

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance, "{a} {b}");
}

fn points(values: &[[f64; 2]]) -> Tensor<2> {
    upload(values.iter().flatten().copied(), &Device::flex()).reshape([values.len(), 2])
}

#[test]
fn the_line_has_the_noise_levels_of_its_shares() {
    let line = Straight::between(-8.0, 5.0);
    close(line.gamma(0.0), -8.0, 1e-12);
    close(line.gamma(1.0), 5.0, 1e-12);
    for s in [0.1, 0.5, 0.9] {
        let (t, h) = (line.time(s), 1e-5);
        close(time(line.gamma(s)), t, 1e-12);
        close((-line.gamma(s)).exp(), ((1.0 - t) / t).powi(2), 1e-9);
        let slope = (line.gamma(s + h) - line.gamma(s - h)) / (2.0 * h);
        close(line.slope(s), slope, 1e-5 * slope);
    }
    // Even in t is not even in gamma.
    assert!(line.gamma(0.5) > Linear { gamma_min: -8.0, gamma_max: 5.0 }.gamma(0.5) + 0.5);
}

#[test]
fn the_right_velocity_is_read_as_x_and_a_wrong_one_costs_its_own_squared_error()
-> Result<()> {
    let (device, line) = (Device::flex(), Straight::between(-8.0, 5.0));
    let shares = [0.0, 0.2, 0.7, 1.0];
    let column = |values: [f64; 4]| upload(values, &device).unsqueeze_dim::<2>(1);
    let (x, eps) = (column([0.9, -0.2, -1.0, 0.4]), column([0.3, 1.1, -0.7, -2.0]));
    let at = levels(&line, &shares, &device);
    let z = diffuse(x.clone(), at.gamma.clone(), eps.clone());
    let u = eps.clone() - x.clone();
    let read = download(x_from_velocity(u.clone(), z, at.gamma.clone()))?;
    for (read, x) in read.iter().zip(download(x.clone())?) {
        close(*read, x, 1e-4);
    }
    let wrong = u + column([0.5, -0.25, 2.0, 1.0]);
    let cost = denoising_term(x, at, eps, |z, gamma| x_from_velocity(wrong, z, gamma));
    for (cost, square) in download(cost)?.iter().zip([0.25, 0.0625, 4.0, 1.0]) {
        close(*cost, square, 2e-3 * square);
    }
    Ok(())
}

#[test]
fn the_velocity_of_the_blobs_is_that_of_their_ideal_denoiser() -> Result<()> {
    let blob = |m: &[f64; 2]| Gaussian::isotropic(vector(m), blobs::VARIANCE);
    let middles = blobs::MIDDLES.iter().map(blob).collect::<std::result::Result<_, _>>()?;
    let data = Mixture::new(&[0.2; 5], middles)?;
    for t in [0.1_f64, 0.5, 0.9] {
        let level = NoiseLevel::new(2.0 * (t / (1.0 - t)).ln());
        for z in [[0.3, -0.8], [-1.0, 0.2]] {
            let found = download(blobs::velocity(points(&[z]), t))?;
            let scaled = vector(&z) / (1.0 - t).hypot(t);
            let x = data.posterior(&scaled, level)?.mean();
            for i in 0..2 {
                close(found[i], (z[i] - x[i]) / t, 2e-4);
            }
        }
    }
    Ok(())
}

/// Against all ways to pair six points with six.
#[test]
fn nearest_pairs_cost_least_and_leave_the_points_as_they_are() -> Result<()> {
    fn least(costs: &[Vec<f64>], row: usize, used: u32) -> f64 {
        if row == costs.len() {
            return 0.0;
        }
        let free = (0..costs.len()).filter(|j| used & (1 << j) == 0);
        free.map(|j| costs[row][j] + least(costs, row + 1, used | 1 << j))
            .fold(f64::MAX, f64::min)
    }
    let draws = &mut rng(5, Stream::Exact, 0);
    let pairs = Pairs::independent(6, draws, &Device::flex());
    let near = pairs.clone().nearest()?;
    let (x, eps) = (download(pairs.x)?, download(pairs.eps.clone())?);
    let cost = |x: &[f64], eps: &[f64]| (x[0] - eps[0]).powi(2) + (x[1] - eps[1]).powi(2);
    let costs: Vec<Vec<f64>> =
        x.chunks(2).map(|x| eps.chunks(2).map(|eps| cost(x, eps)).collect()).collect();
    close(6.0 * near.cost()?, least(&costs, 0, 0), 1e-4);
    assert_eq!(download(near.x.clone())?, x);
    let sorted = |points: Tensor<2>| -> Result<Vec<f64>> {
        let mut values = download(points)?;
        values.sort_by(f64::total_cmp);
        Ok(values)
    };
    assert_eq!(sorted(near.eps)?, sorted(pairs.eps)?);
    Ok(())
}

#[test]
fn a_straight_path_has_no_bend_and_a_bent_one_that_of_its_velocity() -> Result<()> {
    let start = points(&[[0.5, -1.0], [2.0, 0.0]]);
    let straight = |z: Tensor<2>, _: f64| z.ones_like() * 3.0;
    let path = Path::follow(&straight, start.clone())?;
    close(path.bend()?, 0.0, 1e-9);
    close(download(path.end())?[0], 0.5 - 3.0, 1e-5);
    close(download(euler(&straight, start.clone(), 1))?[0], 0.5 - 3.0, 1e-5);
    // The velocity 6 t in both dimensions: on average 3, and (6 t - 3)^2 is 3 on average.
    let bent = |z: Tensor<2>, t: f64| z.ones_like() * (6.0 * t);
    close(Path::follow(&bent, start.clone())?.bend()?, 2.0 * 3.0, 0.02);
    close(download(euler(&bent, start, 1))?[0], 0.5 - 6.0, 1e-5);
    Ok(())
}
