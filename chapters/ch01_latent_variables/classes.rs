//! How many classes the mixture of the digits needs, and what they look like.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::{Error, Result},
    figure::{Axis, ImageRow, Plot, Series, Style, image_rows},
    random::{Stream, rng},
};

use super::class_mixture::ClassMixture;

/// Numbers of imaginary images that each class also holds.
const STRENGTHS: [f64; 3] = [4.0, 16.0, 64.0];

/// All models that were fitted, and the chosen one.
pub struct Choice {
    /// For each number of classes, one model for each of [`STRENGTHS`].
    candidates: Vec<Candidate>,
    best: Candidate,
    /// What the chosen model costs on the test images, in bits per dimension.
    test: f64,
    /// The same for models fitted from other starts.
    other_starts: Vec<f64>,
    looks: Vec<Look>,
}

/// A fitted model; costs are in bits per dimension.
#[derive(Clone)]
struct Candidate {
    strength: f64,
    model: ClassMixture,
    train: f64,
    validation: f64,
}

/// What one class looks like.
struct Look {
    /// The mean grey level of each pixel.
    mean: Vec<f64>,
    /// One image drawn from the class.
    drawn: Vec<u8>,
    /// The training image x with the highest p(x, c).
    most_at_home: Vec<u8>,
}

// ANCHOR: choose
/// Fits 21 models to the training images. The validation images decide between them.
pub fn choose(data: &Dataset, seed: u64) -> Result<Choice> {
    let bits = |model: &ClassMixture, x: &Images| data.bits_per_dim(model.nats(x));
    let fit = |classes: usize, strength: f64, start: u64| {
        let sorting = &mut rng(seed, Stream::Initialisation, start);
        ClassMixture::fit(&data.train, classes, strength, 60, sorting)
    };
    let mut candidates = Vec::new();
    for classes in [1, 2, 5, 10, 15, 20, 30] {
        candidates.extend(STRENGTHS.map(|strength| {
            let model = fit(classes, strength, 0);
            let train = bits(&model, &data.train);
            let validation = bits(&model, &data.validation);
            Candidate { strength, model, train, validation }
        }));
    }
    let best = candidates.iter().min_by(|a, b| a.validation.total_cmp(&b.validation));
    let none = || Error::failure("there is no model to choose from");
    let best = best.ok_or_else(none)?.clone();
    // ANCHOR_END: choose

    let test = bits(&best.model, &data.test);
    let start = |start| bits(&fit(best.model.classes(), best.strength, start), &data.test);
    let (other_starts, looks) =
        ((1..=5).map(start).collect(), looks(data, &best.model, seed));
    Ok(Choice { candidates, best, test, other_starts, looks })
}

// ANCHOR: generate
/// What each class looks like: on average, in one draw, and in the training images.
fn looks(data: &Dataset, model: &ClassMixture, seed: u64) -> Vec<Look> {
    let noise = &mut rng(seed, Stream::Sampling, 0);
    let mut look = |c: usize| {
        let fit = |x: &&[u8]| model.log_joint(x)[c];
        let most_at_home = data.train.iter().max_by(|a, b| fit(a).total_cmp(&fit(b)));
        Look {
            mean: model.mean_grey_levels(c),
            drawn: model.sample(c, noise),
            most_at_home: most_at_home.unwrap_or_default().to_vec(),
        }
    };
    (0..model.classes()).map(&mut look).collect()
}
// ANCHOR_END: generate

/// Prints the costs, and draws them and the classes.
pub fn report(chapter: &mut Chapter, data: &Dataset, choice: &Choice) -> Result<()> {
    let cell = |value: f64| Number::exact(value, 3);
    let names = ["train, 4", "validation, 4", "validation, 16", "validation, 64"];
    let table: Vec<(usize, [f64; 4])> =
        choice.candidates.chunks_exact(STRENGTHS.len()).map(row).collect();
    let report = &mut chapter.report;
    report.section("Classes");
    let header = [&["classes"], names.as_slice()].concat();
    report.exact_table(
        &header,
        3,
        table.iter().map(|&(classes, costs)| (classes.to_string(), costs)),
    );
    report.line("");
    report.row("classes chosen", &Number::count(choice.best.model.classes()), "");
    report.row("imaginary images chosen", &Number::exact(choice.best.strength, 0), "");
    report.row("validation, chosen model", &cell(choice.best.validation), "bits/dim");
    report.row("test, chosen model", &cell(choice.test), "bits/dim");
    let whole_image = choice.test * data.test.dim() as f64;
    report.row("test, chosen model, whole image", &Number::exact(whole_image, 1), "bits");
    let lowest = choice.other_starts.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = choice.other_starts.iter().copied().fold(0.0, f64::max);
    report.row("test, lowest of 5 other starts", &cell(lowest), "bits/dim");
    report.row("test, highest of 5 other starts", &cell(highest), "bits/dim");
    chapter.metric("validation_bits_per_dim", choice.best.validation);
    chapter.metric("test_bits_per_dim", choice.test);

    let curve =
        |j: usize| table.iter().map(move |&(classes, costs)| (classes as f64, costs[j]));
    let series =
        (0..4).map(|j| Series::new(names[j], Style::LineAndDots, curve(j))).collect();
    let plot =
        Plot { x: Axis::linear("number of classes"), y: Axis::linear("bits/dim"), series };
    chapter.figure("classes_and_bits", &plot.draw()?)?;

    let grey_levels = data.train.grey_level_count();
    let shade = |look: &Look| {
        look.mean.iter().map(|mean| mean / (grey_levels - 1) as f64).collect()
    };
    let sheet = |label: &str, image: fn(&Look) -> &[u8]| {
        ImageRow::from_grey_levels(label, choice.looks.iter().map(image), grey_levels)
    };
    let rows = [
        ImageRow {
            label: "The mean image of each class".into(),
            images: choice.looks.iter().map(shade).collect(),
        },
        sheet("One draw from each class", |look| &look.drawn),
        sheet("The training image most at home in it", |look| &look.most_at_home),
    ];
    chapter.figure("classes", &image_rows(&rows, data.train.side())?)
}

/// The number of classes of these candidates, and their costs: training of the first,
/// validation of all.
fn row(candidates: &[Candidate]) -> (usize, [f64; 4]) {
    let [weak, middle, strong] = [0, 1, 2].map(|i| &candidates[i]);
    (
        weak.model.classes(),
        [weak.train, weak.validation, middle.validation, strong.validation],
    )
}
