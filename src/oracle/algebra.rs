//! Vectors, matrices, and sums in logarithms.

use super::error::{Error, same};

/// A column of f64.
pub type Vector = nalgebra::DVector<f64>;

/// A dense matrix of f64.
pub type Matrix = nalgebra::DMatrix<f64>;

/// A column with these entries.
pub fn vector(entries: &[f64]) -> Vector {
    Vector::from_column_slice(entries)
}

/// A matrix with these rows.
///
/// # Errors
/// [`Error::Dimension`] where the rows differ in length.
pub fn matrix(rows: &[&[f64]]) -> Result<Matrix, Error> {
    let columns = rows.first().map_or(0, |row| row.len());
    for row in rows {
        same("the length of a matrix row", columns, row.len())?;
    }
    Ok(Matrix::from_row_iterator(
        rows.len(),
        columns,
        rows.iter().flat_map(|row| row.iter().copied()),
    ))
}

/// log(exp(a_1) + ... + exp(a_n)) without overflow; minus infinity where there is no term.
pub fn log_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    // exp(-100) adds nothing to one, and exp(-740) would be subnormal.
    let exp = |a: f64| if a < -100.0 { 0.0 } else { a.exp() };
    largest + terms.iter().map(|a| exp(a - largest)).sum::<f64>().ln()
}
