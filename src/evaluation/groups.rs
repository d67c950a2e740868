//! How images are cut into groups and shared out to threads.

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{
    data::Images,
    error::{Error, Result},
    progress,
    random::{Stream, rng},
};

/// Images that are evaluated together. Small enough for the processor's cache, and the unit
/// that threads share out; the noise is drawn per group, so the result does not depend on
/// the number of threads.
const GROUP: usize = 64;

/// How carefully something is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// Independent repetitions, at least 2: their spread gives the standard error.
    pub passes: usize,
    /// Seed of the noise.
    pub seed: u64,
}

impl Draws {
    /// Fails with a sentence if there are too few passes.
    pub fn check(self) -> Result<Self> {
        if self.passes < 2 {
            let passes = self.passes;
            return Err(Error::usage(format!(
                "{passes} passes show no spread; give 2 or more for a standard error"
            )));
        }
        Ok(self)
    }
}

/// `evaluate(images, rng)` for one group of images after the other, on all threads; the
/// results in their order. Each group has a generator of its own.
pub fn in_groups<T: Send>(
    images: &Images,
    seed: u64,
    evaluate: impl Fn(&Images, &mut ChaCha8Rng) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let groups = images.len().div_ceil(GROUP);
    let work = progress::work("evaluation", groups);
    let group = |group: usize| {
        let images = images.range(group * GROUP, ((group + 1) * GROUP).min(images.len()));
        let result = evaluate(&images, &mut rng(seed, Stream::Evaluation, group as u64));
        work.advance();
        result
    };
    (0..groups).into_par_iter().map(group).collect()
}

/// `denoise` for many rows at once, as a sampler needs it: on the CPU in groups of rows, on
/// all threads; elsewhere in one piece.
pub fn on_all_threads(
    denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
) -> impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> {
    /// Few enough rows for the processor's cache.
    const ROWS: usize = 32;
    let work = progress::work("sampling", 0);
    move |z, gamma| {
        work.advance();
        let n = z.dims()[0];
        if n <= ROWS || z.device() != Device::flex() {
            return denoise(z, gamma);
        }
        let rows = |group: usize| {
            let (start, length) = (group * ROWS, ROWS.min(n - group * ROWS));
            denoise(
                z.clone().narrow(0, start, length),
                gamma.clone().narrow(0, start, length),
            )
        };
        Tensor::cat((0..n.div_ceil(ROWS)).into_par_iter().map(rows).collect(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::{download, upload},
        random::normal,
    };

    #[test]
    fn rows_on_all_threads_come_back_whole_and_in_order() -> Result<()> {
        let device = Device::flex();
        for n in [0, 1, 32, 33, 91] {
            let (z, gamma) = (
                normal([n, 3], &mut rng(0, Stream::Sampling, 0), &device),
                upload((0..n).map(|i| i as f64), &device),
            );
            let f = |z: Tensor<2>, gamma: Tensor<1>| z * gamma.unsqueeze_dim(1);
            let together = download(f(z.clone(), gamma.clone()))?;
            assert_eq!(download(on_all_threads(f)(z, gamma))?, together, "{n} rows");
        }
        Ok(())
    }
}
