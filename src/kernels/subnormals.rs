//! Counts the subnormal numbers that enter the kernels, on every processor.
//! `tests/subnormals` asks an x86 processor instead, which also sees what happens between
//! two kernels.

use std::{cell::RefCell, collections::BTreeMap};

use burn::{
    backend::flex::FlexTensor,
    tensor::{DType, Device, Tensor},
};
use rayon::ThreadPoolBuilder;

use super::silu;

#[path = "../../tests/subnormals/workloads.rs"]
mod workloads;

/// For each kernel, how many numbers came in, and how many of them were subnormal.
type Counts = BTreeMap<&'static str, [usize; 2]>;

thread_local! {
    /// What this thread has counted, if it counts.
    static COUNTS: RefCell<Option<Counts>> = const { RefCell::new(None) };
}

/// Counts what a kernel takes in, on a thread that counts.
pub(super) fn watch<const N: usize>(kernel: &'static str, inputs: [&FlexTensor; N]) {
    COUNTS.with_borrow_mut(|counts| {
        let Some(counts) = counts else { return };
        let [seen, subnormal] = counts.entry(kernel).or_default();
        for input in inputs.into_iter().filter(|input| input.dtype() == DType::F32) {
            let input = input.to_contiguous();
            *seen += input.storage::<f32>().len();
            *subnormal +=
                input.storage::<f32>().iter().filter(|x| x.is_subnormal()).count();
        }
    });
}

/// What the kernels take in during this work, all of which is done on one thread.
fn counts(work: impl FnOnce() + Send) -> Counts {
    let alone = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    alone.install(|| {
        COUNTS.set(Some(Counts::new()));
        work();
        COUNTS.take().expect("the counts are still there")
    })
}

#[test]
fn no_subnormal_number_enters_a_kernel() {
    let mut all = Counts::new();
    for (name, work) in workloads::WORKLOADS {
        let counts = counts(|| work().expect("the work is done"));
        println!("{name}: {counts:?}");
        for (kernel, [seen, subnormal]) in counts {
            let sum = all.entry(kernel).or_default();
            *sum = [sum[0] + seen, sum[1] + subnormal];
        }
    }
    assert!(all.values().all(|[seen, _]| *seen > 0));
    let found: Vec<_> = all.iter().filter(|(_, [_, subnormal])| *subnormal > 0).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_planted_subnormal_number_is_counted() {
    let counts =
        counts(|| drop(silu(Tensor::<1>::from_floats([1.0, 1e-40, 0.0], &Device::flex()))));
    assert_eq!(counts, Counts::from([("silu", [3, 1])]));
}
