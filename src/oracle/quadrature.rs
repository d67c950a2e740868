//! Gauss-Hermite and Gauss-Legendre quadrature.
//!
//! Nodes and weights are good to about 1e-14 for n up to several hundred (checked against
//! moments in the tests below), so smooth integrands are exact to rounding.

use std::f64::consts::PI;

use nalgebra::SymmetricEigen;

use super::algebra::Matrix;

/// Nodes and weights: an integral is the weighted sum of the integrand at the nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    nodes: Vec<f64>,
    weights: Vec<f64>,
}

impl Rule {
    /// Gauss-Hermite for the standard normal: E f(eps) = sum w_i f(x_i), exact for
    /// polynomials of degree 2n - 1. The weights sum to 1. n = 0 gives the empty rule.
    ///
    /// Golub & Welsch (1969): the nodes are the eigenvalues of the Jacobi matrix of the
    /// orthonormal Hermite polynomials h_j; the weights are 1 / sum_j h_j(x_i)^2. Costs
    /// O(n^3).
    pub fn gauss_hermite(n: usize) -> Self {
        let jacobi = Matrix::from_fn(n, n, |i, j| {
            if i.abs_diff(j) == 1 { (i.max(j) as f64).sqrt() } else { 0.0 }
        });
        let mut nodes: Vec<f64> = if n == 0 {
            Vec::new()
        } else {
            SymmetricEigen::new(jacobi).eigenvalues.iter().copied().collect()
        };
        nodes.sort_by(f64::total_cmp);
        // The rule is symmetric; averaging the mirror images removes half the rounding.
        let nodes: Vec<f64> = (0..n).map(|i| 0.5 * (nodes[i] - nodes[n - 1 - i])).collect();
        let weights = nodes.iter().map(|&x| hermite_weight(n, x)).collect();
        Self { nodes, weights }
    }

    /// Gauss-Legendre on [a, b], exact for polynomials of degree 2n - 1. The weights sum to
    /// b - a. n = 0 gives the empty rule. Newton's method on the Legendre recurrence.
    pub fn gauss_legendre(n: usize, a: f64, b: f64) -> Self {
        let (centre, half) = (0.5 * (a + b), 0.5 * (b - a));
        let mut nodes = vec![0.0; n];
        let mut weights = vec![0.0; n];
        for i in 0..n.div_ceil(2) {
            let mut x = -((i as f64 + 0.75) / (n as f64 + 0.5) * PI).cos();
            // Newton converges quadratically from this start: 4 steps reach rounding for
            // every n.
            for _ in 0..6 {
                let (value, slope) = legendre(n, x);
                x -= value / slope;
            }
            let (_, slope) = legendre(n, x);
            let weight = 2.0 / ((1.0 - x * x) * slope * slope);
            let mirror = n - 1 - i;
            nodes[i] = centre + half * x;
            nodes[mirror] = centre - half * x;
            weights[i] = half * weight;
            weights[mirror] = half * weight;
        }
        Self { nodes, weights }
    }

    /// The pairs (node, weight); nodes increase where a < b.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.nodes.iter().copied().zip(self.weights.iter().copied())
    }

    /// The weighted sum of f: the integral over [a, b] for Gauss-Legendre, the mean under
    /// N(0, 1) for Gauss-Hermite.
    pub fn integrate(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.points().map(|(x, w)| w * f(x)).sum()
    }

    /// For a Gauss-Hermite rule: E f(z) under N(mean, deviation^2).
    pub fn normal(&self, mean: f64, deviation: f64, f: impl Fn(f64) -> f64) -> f64 {
        self.integrate(|x| f(mean + deviation * x))
    }

    /// The weighted sum of f over the product of this rule with itself.
    pub fn integrate_2d(&self, f: impl Fn(f64, f64) -> f64) -> f64 {
        self.integrate(|x| self.integrate(|y| f(x, y)))
    }
}

/// 1 / sum_{j<n} h_j(x)^2, with h_j orthonormal under N(0, 1).
fn hermite_weight(n: usize, x: f64) -> f64 {
    let (mut before, mut current, mut sum) = (0.0, 1.0, 0.0);
    for j in 0..n {
        sum += current * current;
        if sum > 1e300 {
            // Weights below 1e-300 are zero for every purpose; stop before h_j overflows.
            return 0.0;
        }
        let next = (x * current - (j as f64).sqrt() * before) / (j as f64 + 1.0).sqrt();
        before = current;
        current = next;
    }
    1.0 / sum
}

/// P_n(x) and P_n'(x) for |x| < 1.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut current) = (0.0, 1.0);
    for j in 0..n {
        let j = j as f64;
        let next = ((2.0 * j + 1.0) * x * current - j * before) / (j + 1.0);
        before = current;
        current = next;
    }
    (current, n as f64 * (before - x * current) / (1.0 - x * x))
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn hermite_moments_are_the_normal_moments() {
        for n in [5, 20, 80, 200, 400] {
            let rule = Rule::gauss_hermite(n);
            let mut moment = 1.0;
            for power in (0..20.min(2 * n as i32)).step_by(2) {
                let found = rule.integrate(|x| x.powi(power));
                assert!(
                    (found / moment - 1.0).abs() < 1e-12,
                    "n = {n}, power {power}: {found}"
                );
                moment *= f64::from(power + 1);
            }
            let cosine = rule.integrate(f64::cos);
            if n >= 20 {
                assert!((cosine - (-0.5_f64).exp()).abs() < 1e-14, "n = {n}: {cosine}");
            }
        }
    }

    #[test]
    fn legendre_integrates_polynomials_and_exponentials() {
        for n in [1, 2, 5, 20, 100, 400, 1000] {
            let rule = Rule::gauss_legendre(n, -1.0, 3.0);
            assert!((rule.integrate(|_| 1.0) - 4.0).abs() < 1e-13);
            assert!((rule.integrate(|x| x) - 4.0).abs() < 1e-13);
            if n >= 20 {
                let exact = 3.0_f64.exp() - (-1.0_f64).exp();
                assert!((rule.integrate(f64::exp) - exact).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn the_empty_rule_is_zero() {
        assert_eq!(Rule::gauss_hermite(0).integrate(|_| 1.0), 0.0);
        assert_eq!(Rule::gauss_legendre(0, 0.0, 1.0).integrate(|_| 1.0), 0.0);
    }
}
