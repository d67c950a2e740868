//! The bound of the flow on digits, beside that of the chain.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    evaluation::{Bound, Difference, Draws, OdeBound, Trace},
    flow::Probe,
    random::{Stream, rng},
    vdm::Schedule,
};

use crate::model::Model;

/// Steps of Runge-Kutta, of four calls each.
const STEPS: usize = 32;
/// Images on which the trace is exact.
const EXACT: usize = 16;

/// Images on which the steps are halved.
const HALVED: usize = 64;

/// What was estimated, in nats per image.
pub struct Bounds {
    /// Of the flow, on all test images, with estimated traces.
    flow: OdeBound,
    /// Of the chain of the same network.
    chain: Bound,
    /// Flow less chain.
    gain: Difference,
    /// What halving the steps changes.
    halving: Difference,
    /// On a few images from the same z_0: the estimate less the exact trace.
    estimate: Difference,
    /// What one draw's deviation gets from the estimate of the trace: by fresh signs, by
    /// fresh normal numbers, and by signs that stay.
    deviations: [f64; 3],
}

pub fn bounds(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<Bounds> {
    let (device, seed) = (chapter.device.clone(), chapter.seed());
    let draws = Draws { passes: 2, seed };
    // ANCHOR: bounds
    let bound = |images, steps: usize, trace| {
        let gammas = model.schedule.grid(steps + 1);
        let denoise = |z, gamma| model.denoise_on_tape(z, gamma);
        OdeBound::estimate(images, &gammas, denoise, trace, draws, &device)
    };
    let [fresh, normal, fixed] = [
        Trace::Fresh(Probe::Rademacher),
        Trace::Fresh(Probe::Gaussian),
        Trace::Fixed(Probe::Rademacher),
    ];
    let flow = bound(&data.test, STEPS, fresh)?;
    // Drawn at random: the test images are sorted by writer.
    let drawn = |n| data.test.sample(n, &mut rng(seed, Stream::Batch, n as u64));
    let few = drawn(EXACT);
    let exact = bound(&few, STEPS, Trace::Exact)?;
    let some = drawn(HALVED);
    let halving = bound(&some, STEPS, fixed)?.less(&bound(&some, 2 * STEPS, fixed)?)?;
    // ANCHOR_END: bounds
    let estimate = bound(&few, STEPS, fresh)?;
    let deviations = [
        estimate.deviation_from(&exact)?,
        bound(&few, STEPS, normal)?.deviation_from(&exact)?,
        bound(&few, STEPS, fixed)?.deviation_from(&exact)?,
    ];
    let chain = Bound::continuous(
        &data.test,
        &model.schedule,
        64,
        |z, gamma| model.denoise(z, gamma),
        draws,
        &device,
    )?;
    Ok(Bounds {
        gain: flow.less_chain(&chain)?,
        flow,
        chain,
        halving,
        estimate: estimate.less(&exact)?,
        deviations,
    })
}

pub fn report(chapter: &mut Chapter, data: &Dataset, bounds: &Bounds) -> Result<()> {
    let bits = |nats: f64, tolerance, decimals| {
        Number::within(data.bits_per_dim(nats), tolerance, decimals)
    };
    let draws = (2 * data.test.len()) as f64;
    let Bounds { flow, chain, gain, halving, estimate, deviations } = bounds;
    let report = &mut chapter.report;
    report.section("The bound of the flow");
    for (name, number) in [
        ("-log P(x given z_0)", bits(flow.reconstruction, 0.0005, 4)),
        ("log q(z_0 given x)", bits(flow.log_encoder, 0.001, 3)),
        ("-log p(z_0)", bits(flow.flow, 0.001, 3)),
        ("flow", bits(flow.total(), 0.001, 4)),
        ("chain", bits(chain.total(), 0.001, 4)),
        ("flow less chain", bits(gain.mean, 0.001, 4)),
        ("its error of the noise", bits(gain.noise_error, 0.0002, 4)),
        ("its error of the test set", bits(gain.set_error, 0.0002, 4)),
    ] {
        report.row(name, &number, "bits/dim");
    }
    report.section("What the error is made of");
    for (name, number) in [
        ("noise, all draws", bits(flow.noise_error, 0.0002, 5)),
        ("trace alone, random signs", bits(deviations[0] / draws.sqrt(), 0.0002, 5)),
        ("trace alone, normal vectors", bits(deviations[1] / draws.sqrt(), 0.0002, 5)),
        ("trace alone, signs that stay", bits(deviations[2] / draws.sqrt(), 0.0002, 5)),
        ("estimated less exact trace", bits(estimate.mean, 0.0002, 5)),
        ("its error of the noise", bits(estimate.noise_error, 0.0002, 5)),
        ("halving the steps", bits(halving.mean, 0.0002, 5)),
        ("its deviation", bits(halving.set_error, 0.0002, 5)),
        ("the test set", bits(flow.set_error, 0.0005, 4)),
    ] {
        report.row(name, &number, "bits/dim");
    }
    chapter.metric("flow_test_bits_per_dim", data.bits_per_dim(flow.total()));
    chapter.metric("flow_test_bits_per_dim_stderr", data.bits_per_dim(flow.noise_error));
    chapter.metric("test_bits_per_dim", data.bits_per_dim(chain.total()));
    chapter.metric("test_bits_per_dim_stderr", data.bits_per_dim(chain.noise_error));
    Ok(())
}
