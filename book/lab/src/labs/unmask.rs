//! Chapter 12: a digit is unmasked, in few steps or in many, in one order or another.

use burn::{module::Module, tensor::Device};
use elbo_to_diffusion::{
    chapter::{DataChoice, Preset, Setting},
    data::{Dataset, digits::digits},
    error::Result,
    host::download,
    masks::{MaskSchedule, MaskedNetwork, draw_level, unmask},
    random::{Stream, rng},
};
use serde_json::{Value, json};

use super::{Files, Lab, drawn, read_part, whole};

/// The most steps: one for each pixel.
const MOST: usize = 64;

/// What is seen before each step, and the log probabilities of what it draws.
type Step = (Vec<Option<u8>>, Vec<f64>);

/// A digit on its way from nothing.
struct Walk {
    of: [usize; 3],
    /// From t = T down to 1.
    steps: Vec<Step>,
    digit: Vec<u8>,
}

pub struct Unmask {
    data: Dataset,
    network: MaskedNetwork,
    walk: Option<Walk>,
}

impl Unmask {
    /// With the shipped weights. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let data = digits()?;
        let setting = Setting::chosen(Preset::Quick, DataChoice::Digits, 1, |steps| steps);
        let init = &mut rng(0, Stream::Initialisation, 0);
        let device = &Device::flex();
        let fresh = MaskedNetwork::for_images(&data.train, setting.trunk, init, device);
        let network = read_part(fresh, files, "ch12_masks", "masked")?.valid();
        Ok(Self { data, network, walk: None })
    }

    fn log_probs(&self, seen: &[Option<u8>]) -> Result<Vec<f64>> {
        download(self.network.log_probs(seen, None))
    }

    fn draw(&self, of: [usize; 3]) -> Result<Walk> {
        let [order, count, seed] = of;
        let (d, rng) = (self.data.train.dim(), &mut rng(seed as u64, Stream::Sampling, 0));
        let mut steps = Vec::new();
        let schedule = match order {
            0 => Some(MaskSchedule::Linear),
            1 => Some(MaskSchedule::Cosine),
            _ => None,
        };
        let digit = if let Some(schedule) = schedule {
            let log_probs = |seen: &[Option<u8>]| self.log_probs(seen);
            unmask([1, d], &schedule.grid(count), log_probs, rng, |_, seen, log_probs| {
                steps.push((seen.to_vec(), log_probs.to_vec()));
            })?
        } else {
            // From the top left on, in equal parts.
            let mut seen = vec![None; d];
            for i in 0..count {
                let log_probs = self.log_probs(&seen)?;
                let before = seen.clone();
                let levels = log_probs.len() / d;
                let part = d * i / count..d * (i + 1) / count;
                for (pixel, log_probs) in seen
                    .iter_mut()
                    .zip(log_probs.chunks(levels))
                    .take(part.end)
                    .skip(part.start)
                {
                    *pixel = Some(draw_level(log_probs, rng));
                }
                steps.push((before, log_probs));
            }
            seen.into_iter().map(Option::unwrap_or_default).collect()
        };
        Ok(Walk { of, steps, digit })
    }
}

impl Lab for Unmask {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let count = whole(request, "steps", 8, [1, MOST]);
        let of = [
            whole(request, "order", 0, [0, 2]),
            count,
            whole(request, "seed", 0, [0, 1_000_000]),
        ];
        let at = whole(request, "at", 0, [0, count]);
        let walk = match self.walk.take() {
            Some(walk) if walk.of == of => walk,
            _ => self.draw(of)?,
        };
        let (d, values) = (self.data.train.dim(), self.data.train.grey_values());
        let digit: Vec<Option<u8>> = walk.digit.iter().copied().map(Some).collect();
        let seen = |step: usize| walk.steps.get(step).map_or(&digit, |(seen, _)| seen);
        let shown = |step: usize| seen(step).iter().flatten().count();
        // What each pixel cost in the step that drew it.
        let nats: f64 = (0..count)
            .flat_map(|step| {
                let (before, log_probs) = &walk.steps[step];
                let levels = log_probs.len() / d;
                let drawn = before.iter().zip(seen(step + 1)).enumerate();
                drawn.filter_map(move |(i, pixels)| match pixels {
                    (None, Some(level)) => {
                        Some(-log_probs[i * levels + usize::from(*level)])
                    }
                    _ => None,
                })
            })
            .sum();
        let value = |level: &Option<u8>| level.map(|level| values[usize::from(level)]);
        let expected: Vec<f64> = match walk.steps.get(at) {
            Some((seen, log_probs)) => {
                let of_pixel = |(level, log_probs): (&Option<u8>, &[f64])| {
                    value(level).unwrap_or_else(|| {
                        log_probs.iter().zip(&values).map(|(l, x)| l.exp() * x).sum()
                    })
                };
                seen.iter()
                    .zip(log_probs.chunks(log_probs.len() / d))
                    .map(of_pixel)
                    .collect()
            }
            None => walk.digit.iter().map(|&level| values[usize::from(level)]).collect(),
        };
        // A pixel that is not there yet has no value.
        let visible = |step: usize| -> Vec<Value> {
            seen(step)
                .iter()
                .map(|level| json!(value(level).map(|v| drawn([v])[0])))
                .collect()
        };
        let next = match at {
            at if at < count => {
                format!("The next step draws {} at once", shown(at + 1) - shown(at))
            }
            _ => "The digit is drawn".into(),
        };
        let bits = self.data.bits_per_dim(nats);
        let after = at.saturating_add(1).min(count);
        let answer = json!({
            "says": format!(
                "After {at} of {count} {}, {} of {d} pixels are seen. {next}. All pixels of this walk cost {bits:.3} \
                 bits per dimension as they were drawn.",
                if count == 1 { "step" } else { "steps" }, shown(at),
            ),
            "pictures": [
                {"name": "what is seen", "values": visible(at)},
                {"name": "what the network expects", "values": drawn(expected)},
                {"name": "after the next step", "values": visible(after)},
            ],
            "seen": shown(at), "bits": bits,
        });
        self.walk = Some(walk);
        Ok(answer)
    }
}
