//! What the flows of the plane reach: how bent their paths are, and where few steps lead.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    host::download,
    oracle::Estimate,
    random::{Stream, normal, rng},
};

use rayon::prelude::*;

use crate::{
    blobs,
    pairs::Pairs,
    pictures::{Panel, panels},
    plane::{Path, Plane, Velocity, euler, read},
};

/// Points of each flow.
const POINTS: usize = 2000;
/// Lines that are drawn.
const DRAWN: usize = 64;

/// What one flow reaches.
struct Row {
    name: &'static str,
    /// The mean of |eps - x|^2 of the ends of its paths.
    cost: f64,
    /// How bent they are.
    bend: f64,
    /// The energy distance to the data after 1, 2, 4 and 8 steps of Euler, and of the flow.
    distances: [(f64, f64); 5],
}

pub fn crossings(chapter: &mut Chapter, plane: &Plane) -> Result<()> {
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    let draws = |step| rng(seed, Stream::Exact, step);
    let [x, others] = [1, 2].map(|step| blobs::draw(POINTS, &mut draws(step), &device));
    let eps = normal([POINTS, 2], &mut draws(3), &device);
    let independent = Pairs { x: x.clone(), eps: eps.clone() }.cost()?;
    let near = (10..18)
        .map(|step| Pairs::independent(128, &mut draws(step), &device).nearest()?.cost());
    let near = near.sum::<Result<f64>>()? / 8.0;
    let data = Data::new(&x)?;
    let row = |name, velocity: &Velocity| -> Result<Row> {
        let path = Path::follow(velocity, eps.clone())?;
        let few = |steps| data.energy_distance(&euler(velocity, eps.clone(), steps));
        let flow = data.energy_distance(&path.end())?;
        Ok(Row {
            name,
            cost: Pairs { x: path.end(), eps: eps.clone() }.cost()?,
            bend: path.bend()?,
            distances: [few(1)?, few(2)?, few(4)?, few(8)?, flow],
        })
    };
    let [independently, nearest, of_exact, of_independent, rough, of_rough] = [
        &plane.independent,
        &plane.nearest,
        &plane.of_exact,
        &plane.of_independent,
        &plane.rough,
        &plane.of_rough,
    ]
    .map(read);
    let flows: [(&'static str, &Velocity); 7] = [
        ("at random, exact", &blobs::velocity),
        ("at random", &independently),
        ("nearest", &nearest),
        ("reflow of exact", &of_exact),
        ("reflow of learned", &of_independent),
        ("rough", &rough),
        ("reflow of rough", &of_rough),
    ];
    let rows = flows.into_par_iter().map(|(name, velocity)| row(name, velocity));
    let rows: Vec<Row> = rows.collect::<Result<_>>()?;
    report(chapter, &rows, [independent, near], data.energy_distance(&others)?);
    draw(chapter, plane)
}

fn report(
    chapter: &mut Chapter,
    rows: &[Row],
    [independent, near]: [f64; 2],
    same: (f64, f64),
) {
    let report = &mut chapter.report;
    report.section("Bent and straight paths");
    report.row(
        "squared length of random pairs",
        &Number::within(independent, 0.002, 3),
        "",
    );
    report.row("squared length of nearest pairs", &Number::within(near, 0.002, 3), "");
    let bent = |row: &Row| {
        let numbers =
            [Number::within(row.cost, 0.002, 3), Number::within(row.bend, 0.003, 3)];
        (row.name.to_string(), numbers.to_vec())
    };
    let table: Vec<_> = rows.iter().map(bent).collect();
    report.table(&["pairs", "squared length of the flow", "bend"], &table);
    report.section("Few steps in the plane");
    let thousandths =
        |distance: f64| Number::within(1000.0 * distance, (2.0 * distance).max(0.3), 1);
    let few = |row: &Row| {
        let distances = row.distances.iter().map(|d| thousandths(d.0));
        let error = Number::within(1000.0 * row.distances[4].1, 0.1, 1);
        (row.name.to_string(), distances.chain([error]).collect())
    };
    let table: Vec<_> = rows.iter().map(few).collect();
    let header = ["pairs", "1 step", "2 steps", "4 steps", "8 steps", "flow", "s.e."];
    report.table(&header, &table);
    report.row("other points of the data", &thousandths(same.0), "");
    report.row("its standard error", &Number::within(1000.0 * same.1, 0.1, 1), "");
}

/// Points of the data, and their mean distance to each other.
struct Data {
    points: Vec<[f64; 2]>,
    among: f64,
}

impl Data {
    fn new(x: &Tensor<2>) -> Result<Self> {
        let points = host(x)?;
        let mut among = Estimate::default();
        points.iter().for_each(|p| among.push(mean_distance(p, &points)));
        let m = points.len() as f64;
        // A point has no distance to itself.
        Ok(Self { points, among: among.mean() * m / (m - 1.0) })
    }

    /// The energy distance of some points, `[n, 2]`, to the data, and its standard error
    /// from the number of points: as [`elbo_to_diffusion::evaluation::samples`] has it for
    /// images.
    fn energy_distance(&self, points: &Tensor<2>) -> Result<(f64, f64)> {
        let points = host(points)?;
        let n = points.len() as f64;
        let (mut parts, mut within) = (Estimate::default(), Estimate::default());
        for p in &points {
            let others = mean_distance(p, &points) * n / (n - 1.0);
            parts.push(2.0 * mean_distance(p, &self.points) - 2.0 * others);
            within.push(others);
        }
        // Each part counts the distances within the points twice.
        Ok((parts.mean() + within.mean() - self.among, parts.standard_error()))
    }
}

fn host(points: &Tensor<2>) -> Result<Vec<[f64; 2]>> {
    Ok(download(points.clone())?.chunks(2).map(|p| [p[0], p[1]]).collect())
}

fn mean_distance([x, y]: &[f64; 2], to: &[[f64; 2]]) -> f64 {
    let distance = |p: &[f64; 2]| ((x - p[0]).powi(2) + (y - p[1]).powi(2)).sqrt();
    to.iter().map(distance).sum::<f64>() / to.len() as f64
}

/// Pairs as lines, and the flows that come of them.
fn draw(chapter: &Chapter, plane: &Plane) -> Result<()> {
    let draws = &mut rng(chapter.seed(), Stream::Exact, 4);
    let pairs = Pairs::independent(DRAWN, draws, &chapter.device);
    let near = pairs.clone().nearest()?;
    let flow = |velocity: &Velocity| Path::follow(velocity, pairs.eps.clone());
    let random = flow(&blobs::velocity)?;
    let ends = Pairs { x: random.end(), eps: pairs.eps.clone() };
    let lines =
        |title, pairs: &Pairs| Panel::new(title, &[pairs.eps.clone(), pairs.x.clone()]);
    let paths = |title, path: &Path| Panel::new(title, &path.points);
    let first = [
        lines("pairs at random", &pairs)?,
        paths("their flow", &random)?,
        lines("nearest pairs", &near)?,
        paths("their flow", &flow(&read(&plane.nearest))?)?,
    ];
    chapter.figure("crossings", &panels(&first, 2.6)?)?;
    let second = [
        lines("ends of the flow, joined", &ends)?,
        paths("flow learned from them", &flow(&read(&plane.of_exact))?)?,
    ];
    chapter.figure("reflow", &panels(&second, 2.6)?)?;
    let third = [
        paths("a rough velocity", &flow(&read(&plane.rough))?)?,
        paths("its reflow", &flow(&read(&plane.of_rough))?)?,
    ];
    chapter.figure("rough", &panels(&third, 2.6)?)
}
