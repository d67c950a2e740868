//! Tests of what is drawn, beside the data of the figures, which the tests of the programs
//! hold.

use super::*;

/// The place of a text in an SVG.
fn place(svg: &str, text: &str) -> (i32, i32) {
    let before = &svg[..svg.find(&format!("\n{text}\n")).expect("the text")];
    let element = &before[before.rfind("<text ").expect("an element")..];
    let number = |name: &str| {
        let from = &element[element.find(name).expect("a number") + name.len()..];
        from[..from.find('"').expect("its end")].parse().expect("a whole number")
    };
    (number(" x=\""), number(" y=\""))
}

#[test]
fn entries_of_a_legend_stand_in_two_columns_beside_their_lines() {
    let (unit, line) = (FINE as i32, TEXT as i32 + 6);
    let curve = |name: &str| Series::new(name, Style::Line, [(0.0, 0.0), (1.0, 1.0)]);
    let plot = Plot {
        series: ["one", "two", "three"].map(curve).to_vec(),
        ..Plot::curve("x", "y", [])
    };
    let (svg, frame) = plot.draw_framed().expect("a chart");
    let [one, two, three] = ["one", "two", "three"].map(|name| place(&svg, name));
    assert_eq!((one.0, two.0, three.0), (98 * unit, (98 + 206) * unit, 98 * unit));
    assert_eq!((two.1, three.1), (one.1, one.1 + line * unit));
    for (row, column) in [(0, 0), (0, 1), (1, 0)] {
        let left = unit * (72 + 206 * column);
        let middle = unit * (8 + row * line) + unit * TEXT as i32 / 2;
        let ends = format!("{left},{middle} {},{middle}", left + 20 * unit);
        assert!(svg.contains(&ends), "{ends}");
    }
    // The legend, the labels of the axes and the margins leave this to the curves.
    let legend = 2 * line + 6;
    let expected = [8 + 68, 480 - 16, legend + 8, legend + 300 - 8 - 44];
    let found = [frame.x.0, frame.x.1, frame.y.0, frame.y.1];
    for (found, expected) in found.into_iter().zip(expected) {
        let expected = f64::from(expected * unit);
        assert!((found - expected).abs() <= f64::from(unit), "{found} {expected}");
    }
}

#[test]
fn pixels_are_drawn_where_they_are_and_as_dark() {
    let picture = |image: [f64; 4]| {
        let row = ImageRow { label: String::new(), images: vec![image.to_vec()] };
        image_rows(&[row], 2).expect("a picture")
    };
    let alone = |at: usize| {
        let mut image = [0.0; 4];
        image[at] = 1.0;
        picture(image)
    };
    let blank = picture([0.0; 4]);
    let one: Vec<Figure> = (0..4).map(alone).collect();
    for (i, figure) in one.iter().enumerate() {
        assert_ne!(figure.svg, blank.svg);
        assert_ne!(figure.svg, one[(i + 1) % 4].svg);
        assert_ne!(figure.svg, one[(i + 2) % 4].svg);
        assert!(figure.data.contains(",2.500000e-1,"), "{}", figure.data);
    }
    assert_ne!(picture([0.5, 0.0, 0.0, 0.0]).svg, one[0].svg);
    // Values from -1 to 1.
    let row = ImageRow::from_values("", &[-1.0, 0.0, 0.5, 3.0], 4);
    assert_eq!(row.images, [[0.0, 0.5, 0.75, 1.0]]);
}

#[test]
fn a_short_logarithmic_axis_has_ticks_between_the_powers_of_ten() {
    let ticks = |low: f64, high: f64| {
        let points = [(low, 0.31), (high, 0.33)];
        let x = Axis::log("x").range(low, high);
        let plot = Plot { x, ..Plot::curve("x", "y", points) };
        plot.draw_framed().expect("a chart").0
    };
    let has = |svg: &str, tick: &str| svg.contains(&format!("\n{tick}\n"));
    let short = ticks(3.0, 60.0);
    for (tick, expected) in
        [("2", false), ("5", true), ("10", true), ("20", true), ("50", true)]
    {
        assert_eq!(has(&short, tick), expected, "{tick}");
    }
    let long = ticks(1.0, 2000.0);
    for (tick, expected) in [("10", true), ("50", false), ("1000", true)] {
        assert_eq!(has(&long, tick), expected, "{tick}");
    }
}

#[test]
fn a_label_stands_nearer_to_its_own_row_than_to_the_one_above() {
    let row = |label: &str| ImageRow::from_values(label, &[1.0; 64], 64);
    let bare = image_rows(&[row("one")], 8).expect("a picture").svg;
    let both = image_rows(&[row("one"), row("two")], 8).expect("a picture").svg;
    let height = |svg: &str| -> i32 {
        let from = &svg[svg.find("height=\"").expect("a height") + 8..];
        from[..from.find('"').expect("its end")].parse().expect("a whole number")
    };
    let ([one, two], first) =
        (["one", "two"].map(|label| place(&both, label).1), height(&bare));
    // The first row ends five units above the end of its picture; letters are drawn from
    // their upper edge on, and their row begins a line below that.
    assert!(two - (first - 5) > one, "{one} {two} {first}");
}
