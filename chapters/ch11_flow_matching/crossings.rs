//! What the flows of the plane reach: how bent their paths are, and where few steps lead.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    host::download,
    oracle::Estimate,
    random::{Stream, normal, rng},
};

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
    let [data, others] = [1, 2].map(|step| {
        let draws = &mut rng(chapter.seed(), Stream::Exact, step);
        blobs::draw(POINTS, draws, &chapter.device)
    });
    let draws = &mut rng(chapter.seed(), Stream::Exact, 3);
    let eps = normal([POINTS, 2], draws, &chapter.device);
    let row = |name, velocity: &Velocity| -> Result<Row> {
        let path = Path::follow(velocity, eps.clone())?;
        let few = |steps| energy_distance(&euler(velocity, eps.clone(), steps), &data);
        Ok(Row {
            name,
            cost: Pairs { x: path.end(), eps: eps.clone() }.cost()?,
            bend: path.bend()?,
            distances: [
                few(1)?,
                few(2)?,
                few(4)?,
                few(8)?,
                energy_distance(&path.end(), &data)?,
            ],
        })
    };
    let rows = [
        row("at random, exact", &blobs::velocity)?,
        row("at random", &read(&plane.independent))?,
        row("nearest", &read(&plane.nearest))?,
        row("reflow of exact", &read(&plane.of_exact))?,
        row("reflow of at random", &read(&plane.of_independent))?,
        row("rough", &read(&plane.rough))?,
        row("reflow of rough", &read(&plane.of_rough))?,
    ];
    let independent = Pairs { x: data.clone(), eps: eps.clone() }.cost()?;
    let mut near = 0.0;
    for batch in 0..8 {
        let draws = &mut rng(chapter.seed(), Stream::Exact, 10 + batch);
        near += Pairs::independent(128, draws, &chapter.device).nearest()?.cost()? / 8.0;
    }
    report(chapter, &rows, independent, near, energy_distance(&others, &data)?);
    draw(chapter, plane)
}

fn report(
    chapter: &mut Chapter,
    rows: &[Row],
    independent: f64,
    near: f64,
    same: (f64, f64),
) {
    let report = &mut chapter.report;
    report.section("Bent and straight paths");
    report.row(
        "|eps - x|^2 of pairs at random",
        &Number::within(independent, 0.002, 3),
        "",
    );
    report.row("of nearest pairs in a batch", &Number::within(near, 0.002, 3), "");
    let bent = |row: &Row| {
        let numbers =
            [Number::within(row.cost, 0.002, 3), Number::within(row.bend, 0.003, 3)];
        (row.name.to_string(), numbers.to_vec())
    };
    let table: Vec<_> = rows.iter().map(bent).collect();
    report.table(&["pairs", "|eps - x|^2 of the flow", "bend"], &table);
    report.section("Few steps in the plane");
    let few = |row: &Row| {
        let distances =
            row.distances.iter().map(|d| Number::within(d.0, (0.002 * d.0).max(5e-4), 4));
        let error = Number::within(row.distances[4].1, 2e-4, 4);
        (row.name.to_string(), distances.chain([error]).collect())
    };
    let table: Vec<_> = rows.iter().map(few).collect();
    report.table(
        &["pairs", "1 step", "2 steps", "4 steps", "8 steps", "flow", "s.e."],
        &table,
    );
    report.row("other points of the data", &Number::within(same.0, 2e-4, 4), "");
    report.row("its standard error", &Number::within(same.1, 2e-4, 4), "");
}

/// The energy distance of some points to data, all `[n, 2]`, and its standard error from
/// the number of points: as [`elbo_to_diffusion::evaluation::samples`] has it for images.
fn energy_distance(points: &Tensor<2>, data: &Tensor<2>) -> Result<(f64, f64)> {
    let (points, data) = (download(points.clone())?, download(data.clone())?);
    let mean = |from: &[f64], to: &[f64]| {
        let sum: f64 =
            to.chunks(2).map(|to| (from[0] - to[0]).hypot(from[1] - to[1])).sum();
        sum / (to.len() / 2) as f64
    };
    // A point has no distance to itself.
    let (n, m) = (points.len() as f64 / 2.0, data.len() as f64 / 2.0);
    let mut parts = Estimate::default();
    points.chunks(2).for_each(|p| {
        parts.push(2.0 * mean(p, &data) - 2.0 * n / (n - 1.0) * mean(p, &points));
    });
    let mut within = Estimate::default();
    points.chunks(2).for_each(|p| within.push(n / (n - 1.0) * mean(p, &points)));
    let mut among = Estimate::default();
    data.chunks(2).for_each(|p| among.push(m / (m - 1.0) * mean(p, &data)));
    // Each part counts the distances within the points twice.
    let value = parts.mean() + within.mean() - among.mean();
    Ok((value, parts.standard_error()))
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
