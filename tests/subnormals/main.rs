//! No subnormal number, which is smaller than 1.2e-38 but not zero, takes part in what the
//! book computes.
//!
//! On some processors an instruction with such a number takes a hundred times as long; on
//! others it does not, and a clock shows nothing. But every x86 processor raises a flag in
//! its register MXCSR when an operand was subnormal, and another when a result would have
//! been, and both stay raised until they are cleared. `src/kernels/subnormals.rs` counts
//! the numbers themselves, on any processor.
#![cfg(target_arch = "x86_64")]

use std::arch::asm;

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::kernels::silu;
use rayon::ThreadPoolBuilder;

mod workloads;

/// A subnormal operand.
const DENORMAL: u32 = 1 << 1;
/// A result that is subnormal, or so small that it became zero.
const UNDERFLOW: u32 = 1 << 4;
/// All flags.
const FLAGS: u32 = 0x3f;

/// The flags that this thread has raised since it was last asked, of the two above.
// No safe function of the standard library reads this register. Only its flags are changed,
// not its modes.
#[allow(unsafe_code)]
fn flags() -> u32 {
    let mut register = 0_u32;
    // SAFETY: writes the 32 bits of the register into `register`.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack)) };
    let cleared = register & !FLAGS;
    // SAFETY: reads 32 bits from `cleared`. Without the option `preserves_flags`, assembly may change the flags.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const cleared, options(nostack)) };
    register & (DENORMAL | UNDERFLOW)
}

/// The flags that this work raises, all of which is done on one thread.
fn raised(work: impl FnOnce() + Send) -> u32 {
    let alone = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    alone.install(|| {
        flags();
        work();
        flags()
    })
}

#[test]
fn no_operand_and_no_result_is_subnormal() {
    let flags = workloads::WORKLOADS
        .map(|(name, work)| (name, raised(|| work().expect("the work is done"))));
    let found: Vec<_> = flags.iter().filter(|(_, flags)| *flags != 0).collect();
    assert!(found.is_empty(), "{found:?} (2: operands, 16: results)");
}

#[test]
fn planted_numbers_raise_the_flags() {
    let of = |x: f32| {
        raised(|| drop(silu(Tensor::<1>::from_floats([1.0, x, 0.0], &Device::flex()))))
    };
    // The square of the second is too small.
    assert_eq!([of(1e-40) & DENORMAL, of(1e-30), of(1e-10)], [DENORMAL, UNDERFLOW, 0]);
}
