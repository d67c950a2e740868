//! The posterior of each pixel's grey level on the CPU, in one loop over the grey levels.
//!
//! As tensors, the probabilities of all grey levels of all pixels are [B, d, V]. With 256
//! of them, going through such tensors for each operation took longer than all layers of the
//! network (appendix "Where the time goes").

use burn::{
    backend::{TensorMetadata, flex::FlexTensor},
    tensor::{DType, Shape},
};

use super::{
    odds::{Odds, OddsGradients},
    product::tensor,
    vector::{dot, exp, flush, vectorized},
};

/// Pixels that are computed side by side. A round of the loops must be long enough for the
/// processor's vectors, and the probabilities of all their levels fit into its cache.
const SIDE_BY_SIDE: usize = 64;

/// A mean nearer to zero than 2^-27 = 7.5e-9 is zero: one of 1/16 is no more exact.
const LEAST_MEAN: f32 = 1.0 / (1_u64 << 27) as f32;

/// What the posterior of the grey level of each of B d pixels depends on; the names are
/// those of [`super::GreyOdds`].
pub(super) struct GreyLoop<'a> {
    seen: &'a [f32],
    precision: &'a [f32],
    base: &'a [f32],
    mix: &'a [f32],
    /// Transposed, [V, J].
    curves: Vec<f32>,
    values: &'a [f32],
    /// [B, d, J, V].
    sizes: [usize; 4],
}

impl<'a> GreyLoop<'a> {
    /// From odds that lie in one piece each. `None` if they do not hold f32 or do not fit
    /// together.
    pub(super) fn of(odds: &'a Odds<FlexTensor>) -> Option<Self> {
        let Odds { seen, precision, base, mix, curves, values } = odds;
        let (&[b, d], &[j, v]) = (seen.shape().as_slice(), curves.shape().as_slice())
        else {
            return None;
        };
        let is = |tensor: &FlexTensor, shape: &[usize]| tensor.shape().as_slice() == shape;
        let fits = is(precision, &[b])
            && is(base, &[d, v])
            && is(mix, &[b, d, j])
            && is(values, &[v]);
        let all_f32 = odds.all().iter().all(|tensor| tensor.dtype() == DType::F32);
        if !fits || !all_f32 || b * d * j * v == 0 {
            return None;
        }
        let curves = curves.storage::<f32>();
        Some(Self {
            seen: seen.storage(),
            precision: precision.storage(),
            base: base.storage(),
            mix: mix.storage(),
            curves: (0..v)
                .flat_map(|grey| curves.iter().skip(grey).step_by(v))
                .copied()
                .collect(),
            values: values.storage(),
            sizes: [b, d, j, v],
        })
    }

    // ANCHOR: pixels
    /// The probability of each level for some pixels of an image, side by side, and the
    /// mean and the variance of its value.
    #[inline(always)]
    fn pixels(&self, precision: f32, of: &mut Pixels) {
        let Pixels { width, seen, base, mix, p, shared, mean, variance } = of;
        let rows = base.chunks_exact(*width).zip(self.curves.chunks_exact(self.sizes[2]));
        shared.fill(f32::NEG_INFINITY);
        for ((p, x), (base, curves)) in
            p.chunks_exact_mut(*width).zip(self.values).zip(rows)
        {
            // How often the level occurs at this pixel, and how well it fits what is seen
            // of it...
            for ((p, base), seen) in p.iter_mut().zip(base).zip(&*seen) {
                *p = base - precision * (seen - x) * (seen - x);
            }
            // ... and what the other pixels say.
            for (mix, curve) in mix.chunks_exact(*width).zip(curves) {
                p.iter_mut().zip(mix).for_each(|(p, mix)| *p += mix * curve);
            }
            for (largest, p) in shared.iter_mut().zip(&*p) {
                *largest = if p > largest { *p } else { *largest };
            }
        }
        for p in p.chunks_exact_mut(*width) {
            p.iter_mut().zip(&*shared).for_each(|(p, largest)| *p = exp(*p - largest));
        }
        for sum in [&mut *shared, &mut *mean, &mut *variance] {
            sum.fill(0.0);
        }
        for (p, x) in p.chunks_exact(*width).zip(self.values) {
            for ((p, total), mean) in p.iter().zip(&mut *shared).zip(&mut *mean) {
                *total += p;
                *mean += p * x;
            }
        }
        for (mean, total) in mean.iter_mut().zip(&mut *shared) {
            *total = 1.0 / *total;
            *mean *= *total;
            *mean = if mean.abs() < LEAST_MEAN { 0.0 } else { *mean };
        }
        for (p, x) in p.chunks_exact_mut(*width).zip(self.values) {
            let shared = shared.iter().zip(&*mean);
            for ((p, (factor, mean)), variance) in
                p.iter_mut().zip(shared).zip(&mut *variance)
            {
                *p *= factor;
                *variance += *p * (x - mean) * (x - mean);
            }
        }
    }
    // ANCHOR_END: pixels

    /// Calls `f(pixels, image, first pixel)` for all pixels of all images, with the moments
    /// of these pixels.
    #[inline(always)]
    fn for_each(&self, mut f: impl FnMut(&mut Pixels, usize, usize)) {
        let [b, d, j, v] = self.sizes;
        for first in (0..d).step_by(SIDE_BY_SIDE) {
            let mut pixels = Pixels::new((d - first).min(SIDE_BY_SIDE), j, v);
            let width = pixels.width;
            turn(&self.base[first * v..][..width * v], &mut pixels.base, v);
            for b in 0..b {
                let at = b * d + first;
                pixels.seen.copy_from_slice(&self.seen[at..][..width]);
                turn(&self.mix[at * j..][..width * j], &mut pixels.mix, j);
                self.pixels(self.precision[b], &mut pixels);
                f(&mut pixels, b, first);
            }
        }
    }

    /// [B, 2 d]: the means of all pixels of an image, then their variances.
    pub(super) fn moments(&self) -> FlexTensor {
        let [b, d, ..] = self.sizes;
        let moments = vec![0.0; b * 2 * d];
        // A closure that gives away what it took is compiled where it is called, for the
        // vector unit found there.
        let moments = vectorized(
            #[inline(always)]
            move || {
                let mut moments = moments;
                self.for_each(
                    #[inline(always)]
                    |pixels, b, first| {
                        let row = &mut moments[b * 2 * d + first..];
                        row[..pixels.width].copy_from_slice(&pixels.mean);
                        row[d..][..pixels.width].copy_from_slice(&pixels.variance);
                    },
                );
                moments
            },
        );
        tensor(moments, Shape::new([b, 2 * d]))
    }

    /// The gradients of the odds from that of the moments, [B, 2 d].
    pub(super) fn gradients(&self, grad: &[f32]) -> Option<OddsGradients<FlexTensor>> {
        let [images, d, j, v] = self.sizes;
        if grad.len() != images * 2 * d {
            return None;
        }
        let sums = [images * d, images, d * v, images * d * j, j * v].map(|n| vec![0.0; n]);
        let [of_seen, of_precision, of_base, of_mix, of_curves] = vectorized(
            #[inline(always)]
            move || {
                let [mut of_seen, mut of_precision, mut of_base, mut of_mix, mut of_curves] =
                    sums;
                let [mut along, mut across, mut mix_sum, mut base_sum] =
                    [1, 1, j, v].map(|n| vec![0.0; n * SIDE_BY_SIDE]);
                self.for_each(
                    #[inline(always)]
                    |pixels, b, first| {
                        let Pixels { width, seen, mix, p, mean, variance, .. } = pixels;
                        let (width, at) = (*width, b * d + first);
                        let [of_mean, of_variance] =
                            [0, d].map(|part| &grad[b * 2 * d + part + first..][..width]);
                        along.fill(0.0);
                        across.fill(0.0);
                        mix_sum.fill(0.0);
                        if b == 0 {
                            base_sum.fill(0.0);
                        }
                        let (along, across) = (&mut along[..width], &mut across[..width]);
                        let sums = base_sum
                            .chunks_exact_mut(width)
                            .zip(of_curves.chunks_exact_mut(j));
                        let curves = self.curves.chunks_exact(j).zip(sums);
                        for ((p, x), (curves, (base_sum, of_curves))) in
                            p.chunks_exact_mut(width).zip(self.values).zip(curves)
                        {
                            // The gradient of the logit. Over all levels, these sum to
                            // zero.
                            let of_moments = of_mean
                                .iter()
                                .zip(of_variance)
                                .zip(mean.iter().zip(&*variance));
                            for (
                                (p, ((of_mean, of_variance), (mean, variance))),
                                (along, across),
                            ) in p
                                .iter_mut()
                                .zip(of_moments)
                                .zip(along.iter_mut().zip(&mut *across))
                            {
                                let x = x - mean;
                                *p = flush(
                                    *p * (of_mean * x + of_variance * (x * x - variance)),
                                );
                                *along += *p * x;
                                *across += *p * x * x;
                            }
                            base_sum.iter_mut().zip(&*p).for_each(|(sum, p)| *sum += p);
                            let rows = mix
                                .chunks_exact(width)
                                .zip(mix_sum.chunks_exact_mut(width));
                            for ((mix, mix_sum), (curve, of_curve)) in
                                rows.zip(curves.iter().zip(of_curves))
                            {
                                mix_sum
                                    .iter_mut()
                                    .zip(&*p)
                                    .for_each(|(sum, p)| *sum += curve * p);
                                *of_curve += dot(p, mix);
                            }
                        }
                        for (((seen, mean), (along, across)), of_seen) in seen
                            .iter()
                            .zip(&*mean)
                            .zip(along.iter().zip(&*across))
                            .zip(&mut of_seen[at..])
                        {
                            *of_seen = 2.0 * self.precision[b] * along;
                            of_precision[b] += 2.0 * (seen - mean) * along - across;
                        }
                        turn(
                            &mix_sum[..width * j],
                            &mut of_mix[at * j..][..width * j],
                            width,
                        );
                        if b + 1 == images {
                            turn(
                                &base_sum[..width * v],
                                &mut of_base[first * v..][..width * v],
                                width,
                            );
                        }
                    },
                );
                [of_seen, of_precision, of_base, of_mix, of_curves]
            },
        );
        let of_curves = (0..j)
            .flat_map(|curve| of_curves.iter().skip(curve).step_by(j))
            .copied()
            .collect();
        Some(OddsGradients {
            seen: tensor(of_seen, Shape::new([images, d])),
            precision: tensor(of_precision, Shape::new([images])),
            base: tensor(of_base, Shape::new([d, v])),
            mix: tensor(of_mix, Shape::new([images, d, j])),
            curves: tensor(of_curves, Shape::new([j, v])),
        })
    }
}

/// Some pixels of an image side by side: each number below is there once for each of them,
/// in one row.
struct Pixels {
    /// How many pixels.
    width: usize,
    /// [width].
    seen: Vec<f32>,
    /// [V, width].
    base: Vec<f32>,
    /// [J, width].
    mix: Vec<f32>,
    /// The probability of each level, [V, width].
    p: Vec<f32>,
    /// What all levels share: the largest logit, then the sum of all exponentials and at
    /// last its inverse, [width].
    shared: Vec<f32>,
    /// The mean of the level's value, [width].
    mean: Vec<f32>,
    /// Its variance, [width].
    variance: Vec<f32>,
}

impl Pixels {
    fn new(width: usize, j: usize, v: usize) -> Self {
        let [seen, shared, mean, variance, mix, base, p] =
            [1, 1, 1, 1, j, v, v].map(|n| vec![0.0; n * width]);
        Self { width, seen, base, mix, p, shared, mean, variance }
    }
}

/// Transposes a matrix with rows of so many numbers.
#[inline(always)]
fn turn(from: &[f32], to: &mut [f32], columns: usize) {
    let rows = from.len() / columns;
    for (i, row) in from.chunks_exact(columns).enumerate() {
        to[i..].iter_mut().step_by(rows).zip(row).for_each(|(to, from)| *to = *from);
    }
}
