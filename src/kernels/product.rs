//! Products of matrices for Burn's CPU backend, straight from the `gemm` crate that the backend itself uses.
//!
//! The backend fills the memory of each product with zeros and then copies it to another place, before anything is computed
//! (burn-flex 0.22.1, `FlexTensor::empty`; appendix "Where the time goes").
// gemm has no safe interface. This is the only unsafe code of the crate.
#![allow(unsafe_code)]

use burn::{
    backend::flex::{FlexTensor, Layout},
    tensor::{Bytes, DType, Shape},
};
use gemm::{Parallelism, gemm};

/// a b, and `bias` added to each row: [m, n] from [m, k], [k, n] and [n], of any strides.
///
/// `None` if the tensors are no such matrices of f32.
pub(super) fn product(a: &FlexTensor, b: &FlexTensor, bias: Option<&[f32]>) -> Option<FlexTensor> {
    let (a, b) = (Matrix::of(a)?, Matrix::of(b)?);
    let ([m, k], n) = (a.shape, b.shape[1]);
    if b.shape[0] != k || bias.is_some_and(|bias| bias.len() != n) {
        return None;
    }
    let mut out = Vec::with_capacity(m * n);
    if let Some(bias) = bias {
        (0..m).for_each(|_| out.extend_from_slice(bias));
    }
    let add = bias.is_some();
    if m * n * k == 0 {
        out.resize(m * n, 0.0);
    } else {
        // SAFETY: `out` has room for m n numbers, in rows of n, and they are set if they are to be read. `Matrix::of` made sure
        // that both factors lie within their memory. gemm writes all of the m n numbers, for no side is zero.
        unsafe {
            let out = out.as_mut_ptr();
            let ([a_row, a_column], [b_row, b_column]) = (a.strides, b.strides);
            gemm(
                m,
                n,
                k,
                out,
                1,
                n as isize,
                add,
                a.values.as_ptr(),
                a_column,
                a_row,
                b.values.as_ptr(),
                b_column,
                b_row,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        // SAFETY: the capacity is m n, and gemm has written as many numbers.
        unsafe { out.set_len(m * n) };
    }
    Some(FlexTensor::new(Bytes::from_elems(out), Layout::contiguous(Shape::new([m, n])), DType::F32))
}

/// A matrix somewhere in memory.
struct Matrix<'a> {
    /// From its first number on.
    values: &'a [f32],
    shape: [usize; 2],
    /// From one row to the next, and from one column to the next; neither goes back.
    strides: [isize; 2],
}

impl<'a> Matrix<'a> {
    /// `None` if it does not hold f32, is no matrix, is read backwards, or does not lie within its memory.
    fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        let (&[rows, columns], &[row, column]) = (layout.shape().as_slice(), layout.strides()) else { return None };
        if tensor.dtype() != DType::F32 || row < 0 || column < 0 {
            return None;
        }
        let values = tensor.storage::<f32>().get(layout.start_offset()..)?;
        let last = rows.saturating_sub(1) * row.unsigned_abs() + columns.saturating_sub(1) * column.unsigned_abs();
        (rows * columns == 0 || last < values.len()).then_some(Self {
            values,
            shape: [rows, columns],
            strides: [row, column],
        })
    }
}
