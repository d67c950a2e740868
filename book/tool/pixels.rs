//! Draws the pixels of images and heat maps as one path per shade.
//!
//! A sheet of samples is thousands of small squares, each an element of its own: most of a page's bytes. Squares
//! that do not overlap may be drawn in any order, so those of one shade become one path.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesStart, Event};

/// Shorter runs of rectangles stay as they are.
const WORTH_IT: usize = 16;

/// A run of neighbouring `<rect>` elements.
#[derive(Default)]
pub struct Pixels(Vec<Pixel>);

struct Pixel {
    element: BytesStart<'static>,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    /// Everything but place and size.
    shade: Vec<(String, String)>,
}

impl Pixels {
    /// Takes a filled rectangle without an outline; whether it did.
    pub fn take(&mut self, element: &BytesStart<'static>) -> bool {
        let pixel = Pixel::read(element);
        let taken = pixel.is_some();
        self.0.extend(pixel);
        taken
    }

    /// Writes what was taken since the last time.
    ///
    /// # Errors
    /// Where the writer fails.
    pub fn write(&mut self, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let pixels = std::mem::take(&mut self.0);
        if pixels.len() < WORTH_IT || overlap(&pixels) {
            for pixel in pixels {
                writer.write_event(Event::Empty(pixel.element))?;
            }
            return Ok(());
        }
        let mut paths: Vec<(Vec<(String, String)>, String)> = Vec::new();
        for pixel in pixels {
            let Pixel { x, y, width, height, shade, .. } = pixel;
            let square = format!("M{x} {y}h{width}v{height}h-{width}z");
            match paths.iter_mut().find(|(other, _)| *other == shade) {
                Some((_, path)) => path.push_str(&square),
                None => paths.push((shade, square)),
            }
        }
        for (shade, path) in paths {
            let mut element = BytesStart::new("path");
            for (key, value) in &shade {
                element.push_attribute((key.as_str(), value.as_str()));
            }
            element.push_attribute(("d", path.as_str()));
            writer.write_event(Event::Empty(element))?;
        }
        Ok(())
    }
}

impl Pixel {
    fn read(element: &BytesStart<'static>) -> Option<Self> {
        if element.name().as_ref() != "rect" {
            return None;
        }
        let mut place = [None; 4];
        let mut shade = Vec::new();
        for attribute in element.attributes().flatten() {
            let value = quick_xml::escape::unescape(&attribute.value).ok()?.into_owned();
            let key = attribute.key.as_ref();
            match ["x", "y", "width", "height"].iter().position(|name| *name == key) {
                Some(index) => place[index] = Some(value.parse::<f64>().ok().filter(|number| number.is_finite())?),
                None if key == "stroke" && value == "none" => {}
                None if key == "opacity" && value == "1" => {}
                None if matches!(key, "fill" | "opacity") => shade.push((key.to_owned(), value)),
                // Outlines, ids and clips belong to one rectangle alone.
                None => return None,
            }
        }
        let [Some(x), Some(y), Some(width), Some(height)] = place else {
            return None;
        };
        shade.sort();
        let element = element.clone();
        (width > 0.0 && height > 0.0).then_some(Self { element, x, y, width, height, shade })
    }
}

/// Whether any two of the rectangles cover a common area.
fn overlap(pixels: &[Pixel]) -> bool {
    let mut by_x: Vec<&Pixel> = pixels.iter().collect();
    by_x.sort_by(|a, b| a.x.total_cmp(&b.x));
    by_x.iter().enumerate().any(|(index, one)| {
        by_x[index + 1..]
            .iter()
            .take_while(|other| other.x < one.x + one.width)
            .any(|other| other.y < one.y + one.height && one.y < other.y + other.height)
    })
}

#[cfg(test)]
mod tests {
    fn written(rects: &str) -> String {
        let svg = format!("<svg viewBox=\"0 0 9 9\">{rects}<line/></svg>");
        crate::figure::inline(&svg, "f", "alt").expect("a drawing").svg
    }

    fn grid(shade: impl Fn(usize) -> &'static str) -> String {
        let square = |i: usize| {
            let (x, y, shade) = (i % 4 * 2, i / 4 * 2, shade(i));
            format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"2\" height=\"2\" opacity=\"{shade}\" fill=\"#222222\" stroke=\"none\"/>\n"
            )
        };
        (0..16).map(square).collect()
    }

    #[test]
    fn squares_of_one_shade_become_one_path() {
        let svg = written(&grid(|i| if i == 5 { "0.5" } else { "1" }));
        assert_eq!(svg.matches("<path").count(), 2, "{svg}");
        assert_eq!(svg.matches("<rect").count(), 0, "{svg}");
        let half = "<path fill=\"var(--fig-ink, #222222)\" opacity=\"0.5\" d=\"M2 2h2v2h-2z\"/>";
        assert!(svg.contains(half), "{svg}");
        assert_eq!(svg.matches('z').count(), 16, "{svg}");
    }

    #[test]
    fn rectangles_that_overlap_or_are_few_stay_in_their_order() {
        let one = "<rect x=\"1\" y=\"1\" width=\"2\" height=\"2\" fill=\"#ffffff\"/>";
        assert_eq!(written(&format!("{}{one}", grid(|_| "1"))).matches("<rect").count(), 17);
        assert_eq!(written(one).matches("<rect").count(), 1);
    }
}
