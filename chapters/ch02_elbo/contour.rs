//! Contour lines of a function on a grid, by marching squares.

use std::collections::BTreeMap;

/// An edge of the grid: from the corner (i, j) to the right, or up.
type Edge = (usize, usize, bool);

/// The closed curves around the region where the function is below `height`; each runs with
/// the region on its left.
///
/// `values[j][i]` is the function at column i, row j; the curves are in these units. The
/// outside of the grid counts as above every height, so a region that reaches the border is
/// closed along it. Values that are not finite count as above.
pub fn contours(values: &[Vec<f64>], height: f64) -> Vec<Vec<(f64, f64)>> {
    let (rows, columns) = (values.len(), values.first().map_or(0, Vec::len));
    // A ring of corners above that surrounds the grid: corner (i, j) here is value (i - 1,
    // j - 1).
    let at = |i: usize, j: usize| {
        let value =
            values.get(j.wrapping_sub(1)).and_then(|row| row.get(i.wrapping_sub(1)));
        value.copied().filter(|v| v.is_finite())
    };
    let below = |(i, j): (usize, usize)| at(i, j).is_some_and(|v| v < height);

    let mut next: BTreeMap<Edge, Edge> = BTreeMap::new();
    for (i, j) in (0..=rows).flat_map(|j| (0..=columns).map(move |i| (i, j))) {
        let corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)].map(below);
        let edges = [(i, j, true), (i + 1, j, false), (i, j + 1, true), (i, j, false)];
        // Counterclockwise around the cell, the curve goes from where the region ends to
        // where it begins again.
        for leaving in (0..4).filter(|&k| corners[k] && !corners[(k + 1) % 4]) {
            if let Some(entering) = (1..4)
                .map(|k| (leaving + k) % 4)
                .find(|&k| !corners[k] && corners[(k + 1) % 4])
            {
                next.insert(edges[leaving], edges[entering]);
            }
        }
    }

    let point = |(i, j, right): Edge| {
        let (a, b) = (at(i, j), if right { at(i + 1, j) } else { at(i, j + 1) });
        let share = match (a, b) {
            (Some(a), Some(b)) => (height - a) / (b - a),
            (Some(_), None) => 0.0,
            _ => 1.0,
        };
        let (x, y) = (i as f64 - 1.0, j as f64 - 1.0);
        if right { (x + share, y) } else { (x, y + share) }
    };
    let mut curves = Vec::new();
    while let Some((start, _)) = next.first_key_value() {
        let (mut curve, mut edge) = (Vec::new(), *start);
        while let Some(following) = next.remove(&edge) {
            curve.push(point(edge));
            edge = following;
        }
        curves.push(curve);
    }
    curves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(f: impl Fn(f64, f64) -> f64) -> Vec<Vec<f64>> {
        (0..=40)
            .map(|j| (0..=60).map(|i| f(f64::from(i), f64::from(j))).collect())
            .collect()
    }

    /// The area inside a closed curve that runs counterclockwise (the shoelace formula).
    fn area(curve: &[(f64, f64)]) -> f64 {
        let ahead = curve.iter().cycle().skip(1);
        curve.iter().zip(ahead).map(|(a, b)| 0.5 * (a.0 * b.1 - b.0 * a.1)).sum()
    }

    #[test]
    fn a_circle_is_one_curve_with_its_area() {
        let curves = contours(&grid(|x, y| (x - 30.3).powi(2) + (y - 20.1).powi(2)), 144.0);
        assert_eq!(curves.len(), 1);
        let circle = std::f64::consts::PI * 144.0;
        assert!((area(&curves[0]) / circle - 1.0).abs() < 0.01, "{}", area(&curves[0]));
        assert!(
            curves[0].iter().all(|p| ((p.0 - 30.3).hypot(p.1 - 20.1) - 12.0).abs() < 0.05)
        );
    }

    #[test]
    fn a_region_at_the_border_is_closed_along_it() {
        let curves = contours(&grid(|x, _| x), 10.0);
        assert_eq!(curves.len(), 1);
        assert!((area(&curves[0]) - 10.0 * 40.0).abs() < 1e-9, "{}", area(&curves[0]));
    }

    #[test]
    fn two_valleys_are_two_curves_and_a_ring_has_a_hole() {
        let distance = |x: f64, y: f64, c: f64| (x - c).hypot(y - 20.0);
        assert_eq!(
            contours(&grid(|x, y| distance(x, y, 15.0).min(distance(x, y, 45.0))), 6.0)
                .len(),
            2
        );
        let ring = contours(&grid(|x, y| (distance(x, y, 30.0) - 12.0).abs()), 4.0);
        let areas: Vec<f64> = ring.iter().map(|curve| area(curve)).collect();
        assert_eq!(areas.len(), 2);
        let expected = std::f64::consts::PI * (16.0_f64.powi(2) - 8.0_f64.powi(2));
        assert!((areas.iter().sum::<f64>() / expected - 1.0).abs() < 0.02, "{areas:?}");
    }

    #[test]
    fn nothing_below_the_height_has_no_curve() {
        assert!(contours(&grid(|_, _| 1.0), 0.5).is_empty());
        assert!(contours(&grid(|_, _| f64::NAN), 0.5).is_empty());
        assert!(contours(&[], 0.5).is_empty());
    }
}
