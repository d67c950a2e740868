//! Products of matrices for Burn's CPU backend, straight from the `gemm` crate that the
//! backend itself uses.
//!
//! The backend fills the memory of each product with zeros and then copies it to another
//! place, before anything is computed (burn-flex 0.22.1, `FlexTensor::empty`; appendix
//! "Where the time goes").
// gemm has no safe interface. This is the only unsafe code of the crate.
#![allow(unsafe_code)]

use burn::{
    backend::flex::{FlexTensor, Layout},
    tensor::{Bytes, DType, Shape},
};
use gemm::{
    Parallelism, gemm, set_lhs_packing_threshold_single_thread, set_rhs_packing_threshold,
};

/// Multiplications from which on a product is worth several threads, where these are not
/// at work yet, and where they are.
#[cfg(not(target_family = "wasm"))]
const LARGE: [usize; 2] = [192 * 192 * 192, 128 * 128 * 128];

/// How many parts of the work run at once where the pool's threads compute products: the
/// shards of a batch. What else is shared out has at least as many parts.
#[cfg(not(target_family = "wasm"))]
const PARTS: usize = 2;

/// How many of gemm's tiles a product may have side by side before gemm first copies the
/// factor that it reads for each of them. With two tiles for one factor and eight for the
/// other, as it has it, the copy cost more than what it saved wherever this was measured
/// (appendix "Where the time goes").
const UNCOPIED_TILES: usize = 64;

/// a b, and `bias` added to each row: [m, n] from [m, k], [k, n] and [n], of any strides.
///
/// `None` if the tensors are no such matrices of f32.
pub(super) fn product(
    a: &FlexTensor,
    b: &FlexTensor,
    bias: Option<&[f32]>,
) -> Option<FlexTensor> {
    let (a, b) = (Matrix::of(a)?, Matrix::of(b)?);
    let [m, n] = [a.shape[0], b.shape[1]];
    if b.shape[0] != a.shape[1] || bias.is_some_and(|bias| bias.len() != n) {
        return None;
    }
    // gemm rearranges b first where the numbers of its rows are not side by side. If a is
    // smaller, better a, and then the result.
    if bias.is_none() && b.strides[1] != 1 && m < n {
        let columns = fresh_product(b.transposed(), a.transposed());
        return Some(tensor(columns, Shape::new([n, m])).transpose(0, 1).to_contiguous());
    }
    let out = match bias {
        None => fresh_product(a, b),
        Some(bias) => {
            let mut out = bias.repeat(m);
            add_product(&mut out, a, b);
            out
        }
    };
    Some(tensor(out, Shape::new([m, n])))
}

/// A tensor of these values, row after row.
pub(super) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// a b, row after row, in memory that was not filled with anything before.
fn fresh_product(a: Matrix, b: Matrix) -> Vec<f32> {
    let size = a.shape[0] * b.shape[1];
    if a.shape[1] != b.shape[0] || a.shape[1] == 0 {
        return vec![0.0; size];
    }
    let mut out = Vec::with_capacity(size);
    // SAFETY: `out` has room for the product's numbers, and the product writes them all.
    unsafe {
        write_product(out.as_mut_ptr(), a, b, false);
        out.set_len(size);
    }
    out
}

/// Adds a b, [m, n], to `out`, which has the m n numbers row after row. Does nothing where
/// the shapes do not fit.
pub(super) fn add_product(out: &mut [f32], a: Matrix, b: Matrix) {
    if a.shape[1] == b.shape[0] && out.len() == a.shape[0] * b.shape[1] {
        // SAFETY: `out` has the product's numbers, and the shapes fit.
        unsafe { write_product(out.as_mut_ptr(), a, b, true) };
    }
}

/// Writes a b, [m, n] from [m, k] and [k, n], row after row from `out` on, or adds it to
/// what is there.
///
/// # Safety
/// From `out` on there are m n numbers, which nobody else uses meanwhile. They need not be
/// initialised if nothing is added to them and k is not zero.
unsafe fn write_product(out: *mut f32, a: Matrix, b: Matrix, add: bool) {
    let ([m, k], n) = (a.shape, b.shape[1]);
    if m * n * k == 0 {
        return;
    }
    set_rhs_packing_threshold(UNCOPIED_TILES);
    set_lhs_packing_threshold_single_thread(UNCOPIED_TILES);
    let ([a_row, a_column], [b_row, b_column]) = (a.strides, b.strides);
    let parallelism = parallelism(m * n * k);
    // SAFETY: `out` has m n numbers in rows of n, as the caller says, and each factor lies within its memory, or it would be no `Matrix`.
    unsafe {
        let (a, b) = (a.values.as_ptr(), b.values.as_ptr());
        #[rustfmt::skip]
        gemm(
            m, n, k, out, 1, n as isize, add, a, a_column, a_row, b, b_column, b_row, 1.0, 1.0,
            false, false, false, parallelism,
        );
    }
}

/// On how many threads a product of so many multiplications is computed. `gemm` shares out
/// its tiles, so the result is the same on any number.
#[cfg(not(target_family = "wasm"))]
pub(super) fn parallelism(multiplications: usize) -> Parallelism {
    let threads = rayon::current_num_threads();
    // What runs on a thread of the pool is one of several parts, and has its share of the
    // threads: on two or three it keeps to its own.
    let (threads, large) = match rayon::current_thread_index() {
        None => (threads, LARGE[0]),
        Some(_) => (threads / PARTS, LARGE[1]),
    };
    if threads > 1 && multiplications >= large {
        Parallelism::Rayon(threads)
    } else {
        Parallelism::None
    }
}

/// On how many threads the parts of a loop of so many multiplications are computed.
pub(super) fn threads(multiplications: usize) -> usize {
    match parallelism(multiplications) {
        Parallelism::None => 1,
        #[cfg(not(target_family = "wasm"))]
        Parallelism::Rayon(threads) => threads,
    }
}

/// A page has one thread.
#[cfg(target_family = "wasm")]
fn parallelism(_multiplications: usize) -> Parallelism {
    Parallelism::None
}

/// A matrix somewhere in memory.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    /// From its first number on.
    values: &'a [f32],
    shape: [usize; 2],
    /// From one row to the next, and from one column to the next; neither goes back.
    strides: [isize; 2],
}

impl<'a> Matrix<'a> {
    /// `None` if it does not lie within the values.
    fn new(values: &'a [f32], shape: [usize; 2], strides: [isize; 2]) -> Option<Self> {
        let [last_row, last_column] =
            [0, 1].map(|i| shape[i].saturating_sub(1) * strides[i].unsigned_abs());
        let inside = shape[0] * shape[1] == 0 || last_row + last_column < values.len();
        (inside && strides[0] >= 0 && strides[1] >= 0).then_some(Self {
            values,
            shape,
            strides,
        })
    }

    /// The values row after row, so many columns in each; what is left over is left out.
    pub(super) fn rows(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            shape: [values.len() / columns.max(1), columns],
            strides: [columns as isize, 1],
        }
    }

    /// Rows become columns.
    pub(super) fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { shape: [columns, rows], strides: [column, row], ..self }
    }

    /// `None` if the tensor does not hold f32, is no matrix, is read backwards, or does not
    /// lie within its memory.
    fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        let (&[rows, columns], &[row, column]) =
            (layout.shape().as_slice(), layout.strides())
        else {
            return None;
        };
        if tensor.dtype() != DType::F32 {
            return None;
        }
        Self::new(
            tensor.storage::<f32>().get(layout.start_offset()..)?,
            [rows, columns],
            [row, column],
        )
    }
}
