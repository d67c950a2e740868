//! Chapter 7.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    error::Error,
    host::{download, upload},
    oracle::{NoiseLevel, Rule, ScalarMixture},
    vdm::{
        Parameterization::{self, Eps, Score, V, X},
        diffuse,
    },
};

// ANCHOR: min_snr
/// The weight of a head's own squared error that weighs the error of x by min(SNR, limit).
fn min_snr(head: Parameterization, gamma: Tensor<1>, limit: f64) -> Tensor<2> {
    let (_, scale) = head.coefficients(gamma.clone());
    scale.square() * (-gamma).exp().clamp_max(limit).unsqueeze_dim(1)
}

#[test]
fn one_weight_on_x_is_another_on_every_head() -> Result<(), Error> {
    for gamma in [-6.0, -2.0, -1.0, 0.0, 4.0] {
        let snr = f64::exp(-gamma);
        let weight = |head| -> Result<f64, Error> {
            Ok(download(min_snr(head, upload([gamma], &Device::flex()), 5.0))?[0])
        };
        let clipped = snr.min(5.0);
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-5;
        assert!(close(weight(X)?, clipped));
        assert!(close(weight(Eps)?, clipped / snr));
        assert!(close(weight(V)?, clipped / (snr + 1.0)));
        // A score is eps divided by -sqrt(1 - abar), and 1 - abar is 1 / (1 + SNR).
        assert!(close(weight(Score)?, clipped / snr / (1.0 + snr)));
        // The tempting form for v is another loss: as the SNR falls to zero, it stays at 1.
        let tempting = (snr + 1.0).min(5.0) / (snr + 1.0);
        assert_eq!(close(tempting, weight(V)?), snr > 5.0);
    }
    Ok(())
}
// ANCHOR_END: min_snr

// ANCHOR: clip
/// x_hat from a wrong eps_hat, clipped to where data can be; then the eps_hat that goes
/// with it.
fn clip(z: Tensor<2>, eps_hat: Tensor<2>, gamma: Tensor<1>) -> (Tensor<2>, Tensor<2>) {
    let x_hat = Eps.to_x(eps_hat, z.clone(), gamma.clone()).clamp(-1.0, 1.0);
    let eps_hat = Eps.from_x(x_hat.clone(), z, gamma);
    (x_hat, eps_hat)
}

#[test]
fn clipping_helps_x_and_needs_a_new_eps() -> Result<(), Error> {
    let device = Device::flex();
    let column = |values: [f64; 3]| upload(values, &device).unsqueeze_dim::<2>(1);
    let (x, eps, gamma) =
        (column([0.9, -0.2, -1.0]), column([0.3, 1.1, -0.7]), upload([4.0; 3], &device));
    let z = diffuse(x.clone(), gamma.clone(), eps.clone());
    let wrong = eps + column([0.2, -0.4, 0.1]);
    let before = Eps.to_x(wrong.clone(), z.clone(), gamma.clone());
    let (after, derived) = clip(z.clone(), wrong.clone(), gamma.clone());
    // An error of a tenth in eps_hat moves x_hat by e^2 / 10. Clipping brings every pixel
    // nearer to x, or leaves it.
    let error = |x_hat: &Tensor<2>| download((x_hat.clone() - x.clone()).abs());
    assert!(error(&before)?.iter().all(|e| *e > 0.7));
    assert!(
        error(&after)?.iter().zip(error(&before)?).all(|(after, before)| *after <= before)
    );
    // Together, x_hat and eps_hat must make up z again. With the old eps_hat they do not.
    let apart = |eps_hat| {
        download((diffuse(after.clone(), gamma.clone(), eps_hat) - z.clone()).abs())
    };
    assert!(apart(derived)?.iter().all(|gap| *gap < 1e-5));
    assert!(apart(wrong)?.iter().any(|gap| *gap > 0.05));
    Ok(())
}
// ANCHOR_END: clip

// ANCHOR: skip
/// E |x - skip z|^2: what is left for the network to predict if skip z is handed to it.
fn left(data: &ScalarMixture, level: NoiseLevel, skip: f64) -> f64 {
    let rule = Rule::gauss_hermite(60);
    let given = |x: f64| rule.integrate(|eps| (x - skip * level.noised(x, eps)).powi(2));
    data.components().map(|(w, m, v)| w * rule.normal(m, v.sqrt(), given)).sum()
}

#[test]
fn v_hands_over_as_much_of_z_as_is_best() -> Result<(), Error> {
    // Two bumps with mean 0 and variance 1.
    let data = ScalarMixture::new(&[0.5, 0.5], &[-0.8, 0.8], &[0.36, 0.36])?;
    for gamma in [-4.0, -1.0, 0.0, 2.0] {
        let level = NoiseLevel::new(gamma);
        let best = left(&data, level, level.abar().sqrt());
        // What is left has the variance 1 - abar: scaled by sqrt(1 - abar), the output is
        // of unit size.
        assert!((best / level.noise() - 1.0).abs() < 1e-9);
        for skip in [
            0.0,
            1.0 / level.abar().sqrt(),
            level.abar().sqrt() + 0.01,
            level.abar().sqrt() - 0.01,
        ] {
            assert!(left(&data, level, skip) > best);
        }
    }
    Ok(())
}
// ANCHOR_END: skip
