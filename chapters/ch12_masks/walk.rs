//! Masking and unmasking, step by step, on one digit each.

use elbo_to_diffusion::{
    chapter::Chapter,
    data::Dataset,
    error::Result,
    figure::{ImageRow, image_rows},
    host::download,
    masks::{MaskSchedule, Masked, MaskedNetwork, process::random_order, unmask},
    random::{Stream, rng},
};

/// Pictures in a row.
const PICTURES: usize = 10;

pub fn step_by_step(
    chapter: &Chapter,
    data: &Dataset,
    network: &MaskedNetwork,
) -> Result<()> {
    let (d, greys) = (data.train.dim(), data.train.grey_level_count());
    let values = data.train.grey_values();
    let log_probs = |seen: &[Option<u8>]| download(network.log_probs(seen, None));
    // What is seen, and the mean of what the network says of each masked pixel.
    let guess = |seen: &[Option<u8>], log_probs: &[f64]| -> Vec<f64> {
        let pixel = |(pixel, log_probs): (&Option<u8>, &[f64])| match pixel {
            Some(level) => values[usize::from(*level)],
            None => log_probs.iter().zip(&values).map(|(l, x)| l.exp() * x).sum(),
        };
        seen.iter().zip(log_probs.chunks(greys)).map(pixel).collect()
    };

    let rng = &mut rng(chapter.seed(), Stream::Sampling, 1000);
    let (image, order) = (data.test.image(0), random_order(d, rng));
    let mut rows: [Vec<Vec<Option<u8>>>; 2] = Default::default();
    let mut guesses: [Vec<f64>; 2] = Default::default();
    for i in 0..PICTURES {
        let mut masked = Masked::default();
        masked.push(image, &order[..d * i / (PICTURES - 1)]);
        let seen = masked.seen();
        guesses[0].extend(guess(&seen, &log_probs(&seen)?));
        rows[0].push(seen);
    }
    // One walk down the reverse chain, from t = T to 1, and where it ends.
    let abar = MaskSchedule::Linear.grid(d);
    let mut walk = Vec::new();
    let drawn = unmask([1, d], &abar, log_probs, rng, |_, seen, log_probs| {
        walk.push((seen.to_vec(), guess(seen, log_probs)));
    })?;
    let seen: Vec<_> = drawn.iter().copied().map(Some).collect();
    walk.push((seen.clone(), guess(&seen, &vec![0.0; d * greys])));
    for i in (0..PICTURES).rev() {
        let (seen, guess) = &walk[(walk.len() - 1) * i / (PICTURES - 1)];
        rows[1].push(seen.clone());
        guesses[1].extend(guess);
    }
    let labels = [
        ["A test digit, masked (blue) pixel by pixel", "What the network expects there"],
        [
            "Sampling: unmasking from nothing (right) to a digit (left)",
            "What the network expects at each of these steps",
        ],
    ];
    let mut pictures = Vec::new();
    for ((rows, guesses), [seen, expected]) in rows.iter().zip(&guesses).zip(labels) {
        let rows = rows.iter().map(Vec::as_slice);
        pictures.push(ImageRow::from_seen(seen, rows, greys));
        pictures.push(ImageRow::from_values(expected, guesses, d));
    }
    chapter.figure("unmasking", &image_rows(&pictures, data.train.side())?)
}
