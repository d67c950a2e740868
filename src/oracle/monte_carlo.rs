//! Monte Carlo means with their standard errors.

/// A running mean and variance (Welford's update, stable for any number of values).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Estimate {
    /// Calls `draw` this many times and keeps the moments of what it returns.
    pub fn of(count: usize, mut draw: impl FnMut() -> f64) -> Self {
        let mut estimate = Self::default();
        for _ in 0..count {
            estimate.push(draw());
        }
        estimate
    }

    /// Takes one more value.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// How many values were taken.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 where there is none.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their unbiased sample variance; NaN below two values.
    pub fn variance(&self) -> f64 {
        self.squares / (self.count as f64 - 1.0).max(0.0)
    }

    /// The square root of the sample variance.
    pub fn deviation(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The standard error of the mean.
    pub fn standard_error(&self) -> f64 {
        (self.variance() / self.count as f64).sqrt()
    }

    /// How many standard errors the mean lies from `value`.
    pub fn z_score(&self, value: f64) -> f64 {
        (self.mean - value) / self.standard_error()
    }
}

#[cfg(test)]
mod tests {
    use super::Estimate;

    #[test]
    fn welford_agrees_with_two_passes_far_from_zero() {
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 7)).collect();
        let mut iterator = values.iter();
        let estimate = Estimate::of(1000, || *iterator.next().unwrap_or(&0.0));
        let mean = values.iter().sum::<f64>() / 1000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 999.0;
        assert!((estimate.mean() - mean).abs() < 1e-6);
        assert!((estimate.variance() / variance - 1.0).abs() < 1e-6);
        assert!(Estimate::default().standard_error().is_nan());
    }
}
