//! Smaller files for pictures of many pixels.

/// Joins the filled rectangles of one colour, opacity and height between two other elements
/// into one path of thick horizontal lines, which makes pictures of many pixels several
/// times smaller. Their order is lost: they must not overlap.
pub(super) fn merge_rectangles(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut paths: Vec<Lines> = Vec::new();
    for line in svg.lines() {
        match rectangle(line) {
            Some((style, [x, y, width, height])) => {
                let same = |path: &&mut Lines| path.style == style && path.height == height;
                match paths.iter_mut().find(same) {
                    Some(path) => path.add(x, y, width),
                    None => paths.push(Lines::new(style, [x, y, width, height])),
                }
            }
            None => {
                paths.drain(..).for_each(|path| path.write(&mut out));
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Horizontal lines of one style; each but the first is placed relative to the end of the
/// one before.
struct Lines {
    style: String,
    height: f64,
    data: String,
    /// The line that is not yet in `data`: left end, top and width.
    open: [f64; 3],
}

impl Lines {
    fn new(style: String, [x, y, width, height]: [f64; 4]) -> Self {
        Self {
            style,
            height,
            data: format!("M{x} {}", y + 0.5 * height),
            open: [x, y, width],
        }
    }

    fn add(&mut self, x: f64, y: f64, width: f64) {
        let [left, top, length] = &mut self.open;
        if y == *top && x == *left + *length {
            *length += width;
        } else {
            self.data.push_str(&format!("h{length}m{} {}", x - *left - *length, y - *top));
            self.open = [x, y, width];
        }
    }

    fn write(self, out: &mut String) {
        let Self { style, height, data, open: [_, _, length] } = self;
        out.push_str(&format!(
            "<path d=\"{data}h{length}\" fill=\"none\" stroke-width=\"{height}\"{style}/>\n"
        ));
    }
}

/// The opacity and colour of a filled `<rect>` as attributes of a line, and its x, y, width
/// and height; `None` for any other element.
fn rectangle(line: &str) -> Option<(String, [f64; 4])> {
    let rest = line.strip_prefix("<rect ")?.strip_suffix("/>")?;
    let attribute = |name: &str| {
        let start = rest.find(&format!("{name}=\""))? + name.len() + 2;
        Some(&rest[start..start + rest[start..].find('"')?])
    };
    if attribute("stroke")? != "none" {
        return None;
    }
    let number = |name| attribute(name)?.parse().ok();
    let style =
        format!(" opacity=\"{}\" stroke=\"{}\"", attribute("opacity")?, attribute("fill")?);
    Some((style, [number("x")?, number("y")?, number("width")?, number("height")?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_of_one_style_become_one_path() {
        let rect = |x: i32, y: i32, opacity: &str| {
            format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"3\" height=\"4\" opacity=\"{opacity}\" fill=\"#222222\" stroke=\"none\"/>\n"
            )
        };
        // Two that touch, one of another shade, and one in the next row to the left.
        let rects =
            [rect(1, 2, "1"), rect(4, 2, "1"), rect(9, 2, "0.5"), rect(1, 6, "1")].concat();
        let expected = "<svg>\n<path d=\"M1 4h6m-6 4h3\" fill=\"none\" stroke-width=\"4\" opacity=\"1\" stroke=\"#222222\"/>\n\
                        <path d=\"M9 4h3\" fill=\"none\" stroke-width=\"4\" opacity=\"0.5\" stroke=\"#222222\"/>\n</svg>\n";
        assert_eq!(merge_rectangles(&format!("<svg>\n{rects}</svg>\n")), expected);
    }

    #[test]
    fn outlines_stay() {
        let svg = "<rect x=\"1\" y=\"2\" width=\"3\" height=\"4\" opacity=\"1\" fill=\"none\" stroke=\"#222222\"/>\n";
        assert_eq!(merge_rectangles(svg), svg);
    }
}
