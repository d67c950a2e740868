//! The scale of an axis.

use std::ops::Range;

use plotters::{
    coord::{
        combinators::{BindKeyPoints, IntoLogRange, LogCoord, WithKeyPoints},
        ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::Ranged,
};

/// Linear or logarithmic: one type, with which all charts are drawn by the same code.
pub enum Scale {
    /// Linear.
    Linear(RangedCoordf64),
    /// Logarithmic.
    Log(WithKeyPoints<LogCoord<f64>>),
}

impl Scale {
    /// A linear scale from `low` to `high`.
    pub fn linear((low, high): (f64, f64)) -> Self {
        Self::Linear((low..high).into())
    }

    /// A logarithmic scale with a tick at each power of ten, or at 1, 2 and 5 times each
    /// where there are few powers.
    pub fn log((low, high): (f64, f64)) -> Self {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let steps: &[f64] = if high < 200.0 * low { &[1.0, 2.0, 5.0] } else { &[1.0] };
        // At most some eight labels have room.
        let stride = ((last - first) / 8 + 1) as usize;
        let powers = (first..=last).step_by(stride).map(|power| 10_f64.powi(power));
        let ticks = powers.flat_map(|power| steps.iter().map(move |step| step * power));
        let ticks = ticks.filter(|tick| (low..=high).contains(tick)).collect();
        Self::Log((low..high).log_scale().with_key_points(ticks))
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        match self {
            Self::Linear(scale) => scale.map(value, limit),
            Self::Log(scale) => scale.map(value, limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self {
            Self::Linear(scale) => scale.key_points(hint),
            Self::Log(scale) => scale.key_points(hint),
        }
    }

    fn range(&self) -> Range<f64> {
        match self {
            Self::Linear(scale) => scale.range(),
            Self::Log(scale) => scale.range(),
        }
    }

    fn axis_pixel_range(&self, limit: (i32, i32)) -> Range<i32> {
        match self {
            Self::Linear(scale) => scale.axis_pixel_range(limit),
            Self::Log(scale) => scale.axis_pixel_range(limit),
        }
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(value: &f64) -> String {
        RangedCoordf64::format(value)
    }
}
