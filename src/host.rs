//! Numbers on their way between the host and the device.

use burn::tensor::{Device, Tensor, TensorData};

use crate::error::{Error, Result};

/// A tensor of shape `[n]` with these n values.
pub fn upload(values: impl IntoIterator<Item = f64>, device: &Device) -> Tensor<1> {
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// The values of a tensor, row after row. Fails with a sentence if the device cannot
/// deliver them.
pub fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>> {
    let values = tensor.try_into_vec_as::<f32>();
    let values = values.map_err(|e| {
        Error::failure(format!("cannot read a result from the device: {e}"))
    })?;
    Ok(values.into_iter().map(f64::from).collect())
}
