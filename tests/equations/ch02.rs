//! Chapter 2: the evidence lower bound.

use std::f64::consts::TAU;

use elbo_to_diffusion::oracle::{
    Error, FiniteLatent, Gaussian, LinearGaussian, Matrix, Rule, Vector, discrete, matrix,
    vector,
};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    Outcome, assert_close, assert_relative, derivative, log_normal, normal, normal_matrix,
    normals, random_covariance, random_gaussian, random_table, rng,
};
use crate::tex::{Values, digest, tex};

/// p(z) = N(0, I) in two dimensions, p(x|z) = N(W z + b, s2 I) in three.
struct Example {
    weights: Matrix,
    offset: Vector,
    s2: f64,
    x: Vector,
}

impl Example {
    /// Any theta and any x.
    fn random(rng: &mut ChaCha8Rng) -> Self {
        Self {
            weights: normal_matrix(rng, 3, 2),
            offset: normals(rng, 3),
            s2: (0.7 * normal(rng)).exp(),
            x: normals(rng, 3) * 2.0,
        }
    }

    fn new() -> Result<Self, Error> {
        Ok(Self {
            weights: matrix(&[&[1.2, -0.4], &[0.3, 0.9], &[-0.8, 0.5]])?,
            offset: vector(&[0.1, -0.2, 0.4]),
            s2: 0.7,
            x: vector(&[1.1, -0.6, 0.9]),
        })
    }

    fn model(&self) -> Result<LinearGaussian, Error> {
        LinearGaussian::standard(self.weights.clone(), self.offset.clone(), self.s2)
    }

    /// log p(x, z) = log p(z) + log p(x|z), coordinate by coordinate.
    fn log_joint(&self, z: &Vector) -> f64 {
        let decoded = &self.weights * z + &self.offset;
        let log_prior: f64 = z.iter().map(|z| log_normal(*z, 0.0, 1.0)).sum();
        let pairs = self.x.iter().zip(decoded.iter());
        log_prior + pairs.map(|(x, m)| log_normal(*x, *m, self.s2)).sum::<f64>()
    }

    /// The definition of the bound, E_q log p(x, z)/q(z), by a product Gauss-Hermite rule.
    /// The integrand is quadratic in z, so four nodes a side leave only rounding.
    fn elbo(&self, q: &Gaussian, rule: &Rule) -> f64 {
        let factor = q.cholesky_factor();
        let log_scale = factor.diagonal().iter().map(|l| l.ln()).sum::<f64>();
        rule.integrate_2d(|e1, e2| {
            let z = q.mean() + &factor * vector(&[e1, e2]);
            let log_q = log_normal(e1, 0.0, 1.0) + log_normal(e2, 0.0, 1.0) - log_scale;
            self.log_joint(&z) - log_q
        })
    }
}

/// A q(z) on the line that is no Gaussian, with all that a test asks of it.
struct Law {
    log_density: Box<dyn Fn(f64) -> f64>,
    /// Where it is smooth, from one kink or end to the next.
    panels: Vec<(f64, f64)>,
    mean: f64,
    variance: f64,
    /// In closed form where there is one.
    entropy: Option<f64>,
}

impl Law {
    /// Two bumps, a Laplace distribution and a uniform one, moved at random.
    fn examples(rng: &mut ChaCha8Rng) -> [Self; 3] {
        let (first, second, share) =
            (-1.0 + 0.3 * normal(rng), 1.2 + 0.3 * normal(rng), 0.35);
        let (v1, v2): (f64, f64) = (0.2, 0.45);
        let bumps = move |z: f64| {
            let (a, b) = (log_normal(z, first, v1), log_normal(z, second, v2));
            (share * a.exp() + (1.0 - share) * b.exp()).ln()
        };
        let mean = share * first + (1.0 - share) * second;
        let squares = share * (first * first + v1) + (1.0 - share) * (second * second + v2);
        let (centre, scale) = (0.5 * normal(rng), 0.5);
        let (low, high) = (-1.0 + 0.3 * normal(rng), 1.0 + 0.3 * normal(rng));
        [
            Self {
                log_density: Box::new(bumps),
                panels: (0..8)
                    .map(|i| (2.0 * f64::from(i) - 8.0, 2.0 * f64::from(i) - 6.0))
                    .collect(),
                mean,
                variance: squares - mean * mean,
                entropy: None,
            },
            Self {
                log_density: Box::new(move |z| {
                    -(z - centre).abs() / scale - (2.0 * scale).ln()
                }),
                panels: (-8..8)
                    .map(|i| (centre + 3.0 * f64::from(i), centre + 3.0 * f64::from(i + 1)))
                    .collect(),
                mean: centre,
                variance: 2.0 * scale * scale,
                entropy: Some(1.0 + (2.0 * scale).ln()),
            },
            Self {
                log_density: Box::new(move |_| -(high - low).ln()),
                panels: vec![(low, high)],
                mean: 0.5 * (low + high),
                variance: (high - low).powi(2) / 12.0,
                entropy: Some((high - low).ln()),
            },
        ]
    }

    /// E_q f(z).
    fn mean_of(&self, f: impl Fn(f64) -> f64) -> f64 {
        let panel = |&(from, to): &(f64, f64)| {
            Rule::gauss_legendre(60, from, to)
                .integrate(|z| (self.log_density)(z).exp() * f(z))
        };
        self.panels.iter().map(panel).sum()
    }

    /// E_q log p(x, z)/q(z).
    fn elbo(&self, log_joint: impl Fn(f64) -> f64) -> f64 {
        self.mean_of(|z| log_joint(z) - (self.log_density)(z))
    }

    /// KL(q || N(m, v)) = -H(q) - E_q log N(z; m, v), the latter from the mean and the
    /// variance of q.
    fn kl_to_normal(&self, m: f64, v: f64) -> f64 {
        let entropy =
            self.entropy.unwrap_or_else(|| self.mean_of(|z| -(self.log_density)(z)));
        let squares = self.variance + (self.mean - m).powi(2);
        0.5 * ((TAU * v).ln() + squares / v) - entropy
    }
}

/// One latent, three pixels, p(x|z) = N(x; w z + b, s2 I).
struct OneLatent {
    w: Vector,
    b: Vector,
    s2: f64,
    x: Vector,
}

impl OneLatent {
    /// Any theta and any x.
    fn random(rng: &mut ChaCha8Rng) -> Self {
        Self {
            w: normals(rng, 3),
            b: normals(rng, 3),
            s2: (0.7 * normal(rng)).exp(),
            x: normals(rng, 3) * 1.5,
        }
    }

    fn model(&self) -> Result<LinearGaussian, Error> {
        let w = Matrix::from_column_slice(3, 1, self.w.as_slice());
        LinearGaussian::standard(w, self.b.clone(), self.s2)
    }

    fn log_joint(&self, z: f64) -> f64 {
        let pixel = |i: usize| log_normal(self.x[i], self.w[i] * z + self.b[i], self.s2);
        (0..3).map(pixel).sum::<f64>() + log_normal(z, 0.0, 1.0)
    }
}

/// The ELBO by quadrature of its definition, never above log p(x): for 40 random theta and
/// x with 25 Gaussian q each, where log p(x) is the closed form and the posterior alone
/// reaches it; for q with two bumps, Laplace and uniform; and for 20 decoders that bend,
/// where log p(x) is an integral over z. Kind: inequality.
#[test]
fn jensen() -> Outcome {
    digest("jensen", "dd0bb4a9ba09");
    const TOLERANCE: f64 = 1e-11;
    let (rule, mut rng) = (Rule::gauss_hermite(4), rng(201));
    for _ in 0..40 {
        let example = Example::random(&mut rng);
        let log_p_x = example.model()?.log_prob(&example.x)?;
        for _ in 0..25 {
            assert!(example.elbo(&random_gaussian(&mut rng, 2)?, &rule) < log_p_x);
        }
        let posterior = example.model()?.posterior(&example.x)?;
        assert_close(example.elbo(&posterior, &rule), log_p_x, TOLERANCE);
    }
    for _ in 0..20 {
        let example = OneLatent::random(&mut rng);
        let log_p_x = example.model()?.log_prob(&example.x)?;
        for q in Law::examples(&mut rng) {
            assert!(q.elbo(|z| example.log_joint(z)) < log_p_x);
        }
        let (bend, s2, x) = (
            1.0 + normal(&mut rng).abs(),
            (0.7 * normal(&mut rng)).exp(),
            normals(&mut rng, 2),
        );
        let log_joint = |z: f64| {
            log_normal(x[0], (bend * z).sin(), s2)
                + log_normal(x[1], bend * z * z - 1.0, s2)
                + log_normal(z, 0.0, 1.0)
        };
        let p_x: f64 = (-8..8)
            .map(|i| Rule::gauss_legendre(60, f64::from(i), f64::from(i + 1)))
            .map(|panel| panel.integrate(|z| log_joint(z).exp()))
            .sum();
        for q in Law::examples(&mut rng) {
            assert!(q.elbo(log_joint) < p_x.ln());
        }
    }
    Ok(())
}

/// log p(x) from the marginal covariance against ELBO + KL(q || p(z|x)): the ELBO by
/// quadrature of its definition, the posterior by conditioning the joint covariance. For 20
/// random theta and x with five Gaussian q each; and with 20 others for q with two bumps,
/// Laplace and uniform, whose KL comes from entropy, mean and variance.
/// Kind: closed form, quadrature.
#[test]
fn elbo_gap() -> Outcome {
    const TOLERANCE: f64 = 1e-11;
    let page = tex("elbo-gap");
    let compare = |log_p_x: f64, elbo: f64, kl: f64| {
        let values = Values::default()
            .number(r"p_\theta(x)", log_p_x.exp())
            .number(r"\ELBO(\theta, \phi; x)", elbo)
            .number(r"\KL{q_\phi(z \mid x)}{p_\theta(z \mid x)}", kl);
        let sides = page.sides(&values);
        assert_relative(sides[0], sides[1], TOLERANCE);
    };
    let (rule, mut rng) = (Rule::gauss_hermite(4), rng(202));
    for _ in 0..20 {
        let example = Example::random(&mut rng);
        let model = example.model()?;
        let (log_p_x, posterior) =
            (model.log_prob(&example.x)?, model.posterior(&example.x)?);
        for _ in 0..5 {
            let q = random_gaussian(&mut rng, 2)?;
            let elbo = example.elbo(&q, &rule);
            compare(log_p_x, elbo, q.kl(&posterior)?);
            // The oracle's own ELBO, which chapter programs use.
            assert_relative(elbo, model.elbo(&example.x, &q)?, TOLERANCE);
        }
    }
    for _ in 0..20 {
        let example = OneLatent::random(&mut rng);
        let model = example.model()?;
        let (log_p_x, posterior) =
            (model.log_prob(&example.x)?, model.posterior(&example.x)?);
        let (m, v) = (posterior.mean()[0], posterior.covariance()[(0, 0)]);
        for q in Law::examples(&mut rng) {
            let elbo = q.elbo(|z| example.log_joint(z));
            compare(log_p_x, elbo, q.kl_to_normal(m, v));
        }
    }
    Ok(())
}

/// log p(x) - ELBO(q) for q = the posterior with its mean moved by d, against (1/2) d^T
/// P^-1 d with P the posterior covariance, here (I + W^T W / s2)^-1. Kind: closed form.
#[test]
fn gap_shifted_posterior() -> Outcome {
    digest("gap-shifted-posterior", "cbbfacaf1bab");
    const TOLERANCE: f64 = 1e-12;
    let (example, rule, mut rng) = (Example::new()?, Rule::gauss_hermite(4), rng(203));
    let model = example.model()?;
    let posterior = model.posterior(&example.x)?;
    let w = &example.weights;
    let inverse_p = Matrix::identity(2, 2) + w.transpose() * w / example.s2;
    for _ in 0..20 {
        let d = normals(&mut rng, 2);
        let q = Gaussian::new(posterior.mean() + &d, posterior.covariance().clone())?;
        let gap = model.log_prob(&example.x)? - example.elbo(&q, &rule);
        assert_close(gap, 0.5 * d.dot(&(&inverse_p * &d)), TOLERANCE);
    }
    Ok(())
}

/// log p(x) against ELBO + KL for a discrete latent with 7 states and random q, all sums
/// written out; the evidence and the posterior come from the oracle's tables. Kind:
/// enumeration.
#[test]
fn elbo_discrete() -> Outcome {
    digest("elbo-discrete", "49dbbff2ab83");
    const TOLERANCE: f64 = 1e-14;
    let mut rng = rng(204);
    let prior = random_table(&mut rng, 7);
    let likelihood: Vec<Vec<f64>> = (0..7).map(|_| random_table(&mut rng, 5)).collect();
    let model = FiniteLatent::new(&prior, &likelihood)?;
    let p_x_given_z = |x: usize, z: usize| likelihood[z][x];
    for x in 0..5 {
        let posterior = model.posterior(x)?;
        for _ in 0..20 {
            let q = random_table(&mut rng, 7);
            let elbo: f64 =
                (0..7).map(|z| q[z] * (prior[z] * p_x_given_z(x, z) / q[z]).ln()).sum();
            let kl: f64 = (0..7).map(|z| q[z] * (q[z] / posterior[z]).ln()).sum();
            assert_close(elbo + kl, model.log_prob(x)?, TOLERANCE);
            assert_close(elbo, model.elbo(x, &q)?, TOLERANCE);
            assert!(elbo <= model.log_prob(x)?);
        }
    }
    Ok(())
}

/// A q with parameters phi = (two means, two log deviations, a tilt of the Cholesky
/// factor).
fn q_of(phi: &[f64; 5]) -> Gaussian {
    let factor = Matrix::from_row_slice(2, 2, &[phi[2].exp(), 0.0, phi[4], phi[3].exp()]);
    Gaussian::new(vector(&phi[..2]), &factor * factor.transpose())
        .expect("a Cholesky factor with a positive diagonal")
}

/// d ELBO / d phi against -d KL(q || p(z|x)) / d phi at fixed theta, in each of the five
/// parameters of q: both by finite differences, the ELBO from quadrature of its definition,
/// the KL from the conditioned joint covariance. Kind: finite differences.
#[test]
fn elbo_gradient_phi() -> Outcome {
    digest("elbo-gradient-phi", "2e23a95bcdb7");
    const TOLERANCE: f64 = 1e-9;
    let (example, rule, mut rng) = (Example::new()?, Rule::gauss_hermite(4), rng(205));
    let posterior = example.model()?.posterior(&example.x)?;
    for _ in 0..10 {
        let phi: [f64; 5] = std::array::from_fn(|_| 0.5 * normal(&mut rng));
        for i in 0..5 {
            let at = |value: f64| {
                let mut moved = phi;
                moved[i] = value;
                q_of(&moved)
            };
            let elbo_slope = derivative(|value| example.elbo(&at(value), &rule), phi[i]);
            let kl_slope =
                derivative(|value| at(value).kl(&posterior).unwrap_or(f64::NAN), phi[i]);
            assert_close(elbo_slope, -kl_slope, TOLERANCE);
        }
    }
    Ok(())
}

/// d ELBO / d theta is NOT d log p(x) / d theta when q is not the posterior: theta is the
/// first weight or the noise, q is fixed and off, and the slopes differ by more than 0.1.
/// They agree where q is the posterior at that theta. Kind: negative, finite differences.
#[test]
fn elbo_gradient_theta() -> Outcome {
    digest("elbo-gradient-theta", "cf8969f85d35");
    const TOLERANCE: f64 = 1e-9;
    const LEAST_DIFFERENCE: f64 = 0.1;
    let (example, rule) = (Example::new()?, Rule::gauss_hermite(4));
    let posterior = example.model()?.posterior(&example.x)?;
    let off = Gaussian::new(
        posterior.mean() + vector(&[0.5, -0.3]),
        random_covariance(&mut rng(206), 2),
    )?;
    let change_weight = |value: f64| {
        let mut weights = example.weights.clone();
        weights[(0, 0)] = value;
        Example {
            weights,
            offset: example.offset.clone(),
            s2: example.s2,
            x: example.x.clone(),
        }
    };
    let change_noise = |s2: f64| Example {
        weights: example.weights.clone(),
        offset: example.offset.clone(),
        s2,
        x: example.x.clone(),
    };
    let evidence = |example: &Example| {
        example.model().and_then(|model| model.log_prob(&example.x)).unwrap_or(f64::NAN)
    };
    let weight = example.weights[(0, 0)];
    let slopes = [
        (
            derivative(|w| evidence(&change_weight(w)), weight),
            derivative(|w| change_weight(w).elbo(&posterior, &rule), weight),
            derivative(|w| change_weight(w).elbo(&off, &rule), weight),
        ),
        (
            derivative(|s2| evidence(&change_noise(s2)), example.s2),
            derivative(|s2| change_noise(s2).elbo(&posterior, &rule), example.s2),
            derivative(|s2| change_noise(s2).elbo(&off, &rule), example.s2),
        ),
    ];
    for (evidence, at_posterior, elsewhere) in slopes {
        assert_close(at_posterior, evidence, TOLERANCE);
        assert!(
            (elsewhere - evidence).abs() > LEAST_DIFFERENCE,
            "slopes {elsewhere} and {evidence} should differ"
        );
    }
    Ok(())
}

/// L_K for K = 1..5, summed over how often each state is drawn (multinomial counts),
/// against the enumeration of all 3^K sequences; then L_1 = ELBO <= L_2 <= ... <= L_5 <=
/// log p(x). Kind: enumeration, inequality.
#[test]
fn importance_weighted_chain() -> Outcome {
    const TOLERANCE: f64 = 1e-13;
    let page = tex("importance-weighted-chain");
    let (prior, x) = ([0.5, 0.3, 0.2], 0);
    let likelihood = [vec![0.8, 0.2], vec![0.5, 0.5], vec![0.1, 0.9]];
    let q = [0.2, 0.3, 0.5];
    let model = FiniteLatent::new(&prior, &likelihood)?;
    let weight: Vec<f64> = (0..3).map(|z| prior[z] * likelihood[z][x] / q[z]).collect();
    let factorial = |n: usize| -> f64 { (1..=n).map(|i| i as f64).product() };

    let mut previous: f64 = (0..3).map(|z| q[z] * weight[z].ln()).sum();
    assert_close(model.importance_weighted_bound(x, &q, 1)?, previous, TOLERANCE);
    let mut bounds = vec![previous];
    for k in 2..=5 {
        let mut bound = 0.0;
        for a in 0..=k {
            for b in 0..=k - a {
                let c = k - a - b;
                let counts = [a, b, c];
                let probability = factorial(k)
                    * (0..3)
                        .map(|z| q[z].powi(counts[z] as i32) / factorial(counts[z]))
                        .product::<f64>();
                let sum: f64 = (0..3).map(|z| counts[z] as f64 * weight[z]).sum();
                bound += probability * (sum / k as f64).ln();
            }
        }
        assert_close(model.importance_weighted_bound(x, &q, k)?, bound, TOLERANCE);
        assert!(previous < bound, "L_{k} is not above L_{}", k - 1);
        assert!(bound < model.log_prob(x)?);
        previous = bound;
        bounds.push(bound);
    }
    for k in 1..5 {
        let values = Values::default()
            .number(r"\ELBO", model.elbo(x, &q)?)
            .number("K", k as f64)
            .function(r"\mathcal{L}", |k| bounds[k[0] as usize - 1])
            .number("p(x)", model.log_prob(x)?.exp());
        // The page's inequalities are checked where it is read.
        let sides = page.sides(&values);
        assert_close(sides[0], sides[1], TOLERANCE);
    }
    Ok(())
}

/// The mean KL of q(z|x_n) to the prior, against I(n; z) + KL(q(z) || p(z)), with the
/// mutual information from the joint table of n and z; and against the oracle, which finds
/// the mutual information from entropies. Kind: enumeration.
#[test]
fn elbo_surgery() -> Outcome {
    digest("elbo-surgery", "c2b35f5ce904");
    const TOLERANCE: f64 = 1e-14;
    let mut rng = rng(207);
    let (n, states) = (9, 6);
    let prior = random_table(&mut rng, states);
    let q: Vec<Vec<f64>> = (0..n).map(|_| random_table(&mut rng, states)).collect();
    let mut mean_kl = 0.0;
    for row in &q {
        mean_kl +=
            (0..states).map(|z| row[z] * (row[z] / prior[z]).ln()).sum::<f64>() / n as f64;
    }

    let aggregate: Vec<f64> =
        (0..states).map(|z| q.iter().map(|row| row[z]).sum::<f64>() / n as f64).collect();
    let mut information = 0.0;
    for row in &q {
        for z in 0..states {
            let joint = row[z] / n as f64;
            information += joint * (joint / (aggregate[z] / n as f64)).ln();
        }
    }
    let marginal_kl: f64 =
        (0..states).map(|z| aggregate[z] * (aggregate[z] / prior[z]).ln()).sum();
    assert_close(mean_kl, information + marginal_kl, TOLERANCE);
    let by_entropies = discrete::mutual_information(&q)?
        + discrete::kl(&discrete::aggregate(&q)?, &prior)?;
    assert_close(mean_kl, by_entropies, TOLERANCE);
    Ok(())
}
