//! Two classifiers that everybody knows: the nearest neighbour and logistic regression.

use burn::tensor::{Device, Tensor, activation::softmax};
use elbo_to_diffusion::{
    data::{Dataset, Images},
    error::Result,
    host::{download, upload},
    network::one_hot,
};

use crate::{
    measure::{share, squared_distance},
    train::CLASSES,
};

/// The share of the test images whose nearest training image has their label.
pub fn nearest_neighbour(data: &Dataset) -> Result<f64> {
    let labels = data.train.known_labels()?;
    let nearest = |image: &[u8]| {
        let distance = |i: &usize| squared_distance(image, data.train.image(*i));
        labels[(0..labels.len()).min_by_key(distance).unwrap_or_default()]
    };
    let found: Vec<u8> = data.test.iter().map(nearest).collect();
    Ok(share(&found, data.test.known_labels()?))
}

// ANCHOR: logistic
/// The accuracy of logistic regression on the test images, with the weight decay that is
/// best on the validation images: gradient descent with momentum, on all training images
/// at once.
pub fn logistic_regression(data: &Dataset, device: &Device) -> Result<f64> {
    let some: Vec<_> = data.train.known_labels()?.iter().copied().map(Some).collect();
    let (x, y) = (with_one(&data.train, device), one_hot(&some, CLASSES, device));
    let n = data.train.len() as f64;
    let mut best = (0.0, 0.0);
    for decay in [1e-3, 1e-2, 1e-1] {
        let mut w = Tensor::<2>::zeros([x.dims()[1], CLASSES], device);
        let mut velocity = w.clone();
        for _ in 0..300 {
            let error = softmax(x.clone().matmul(w.clone()), 1) - y.clone();
            let gradient = x.clone().transpose().matmul(error) / n + w.clone() * decay;
            velocity = velocity * 0.9 - gradient * 0.1;
            w = w + velocity.clone();
        }
        let accuracy = |images: &Images| -> Result<f64> {
            let chosen = with_one(images, device).matmul(w.clone()).argmax(1).float();
            let chosen = download(chosen)?.into_iter().map(|class| class as u8);
            Ok(share(&chosen.collect::<Vec<_>>(), images.known_labels()?))
        };
        let (validation, test) = (accuracy(&data.validation)?, accuracy(&data.test)?);
        if validation > best.0 {
            best = (validation, test);
        }
    }
    Ok(best.1)
}
// ANCHOR_END: logistic

/// The images with a constant pixel of one more, `[n, d + 1]`.
fn with_one(images: &Images, device: &Device) -> Tensor<2> {
    let one = upload(vec![1.0; images.len()], device).reshape([images.len(), 1]);
    Tensor::cat(vec![images.values(device), one], 1)
}
