//! How far long work is. What works for long says so here, from any thread; a program with
//! a terminal listens, and elsewhere nobody does.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// Hears how far one piece of work is, until it is dropped.
pub trait Listener: Send + Sync {
    /// So much of the total is done; a total of 0 is not known. The calls of several
    /// threads may come out of order.
    fn hear(&self, done: usize, total: usize);
    /// Something to show beside that, such as the loss.
    fn note(&self, _note: &str) {}
}

/// Makes a listener for a piece of work from its name.
type Open = fn(&str) -> Box<dyn Listener>;

static OPEN: OnceLock<Open> = OnceLock::new();

/// From now on, `open(what)` makes a listener for each piece of work. Only the first call
/// in a program counts.
pub fn listen(open: Open) {
    OPEN.get_or_init(|| open);
}

/// A listener to a piece of work, if anybody listens.
pub fn open(what: &str) -> Option<Box<dyn Listener>> {
    OPEN.get().map(|open| open(what))
}

/// A piece of work that is being done. It is over when this is dropped.
pub struct Work {
    listener: Option<Box<dyn Listener>>,
    done: AtomicUsize,
    total: usize,
}

/// Begins a piece of work of `total` equal parts; 0 if nobody knows how many.
pub fn work(what: &str, total: usize) -> Work {
    let listener = open(what);
    if let Some(listener) = &listener {
        listener.hear(0, total);
    }
    Work { listener, done: AtomicUsize::new(0), total }
}

impl Work {
    /// One more part is done.
    pub fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(listener) = &self.listener {
            listener.hear(done, self.total);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::{
        data::digits::digits,
        evaluation::{in_groups, on_all_threads},
    };

    static HEARD: Mutex<Vec<(String, usize, usize)>> = Mutex::new(Vec::new());

    struct Record(String);

    impl Listener for Record {
        fn hear(&self, done: usize, total: usize) {
            HEARD.lock().unwrap().push((self.0.clone(), done, total));
        }
    }

    #[test]
    fn every_evaluation_says_how_far_it_is() {
        listen(|what| Box::new(Record(what.into())));
        // 1000 images are 16 groups, which no other test has. Other tests may be heard as
        // well.
        let data = digits().unwrap();
        in_groups(&data.train, 0, |images, _| Ok(images.len())).unwrap();
        let heard: Vec<_> =
            HEARD.lock().unwrap().iter().filter(|heard| heard.2 == 16).cloned().collect();
        assert!(
            (0..=16).all(|done| heard.contains(&("evaluation".into(), done, 16))),
            "{heard:?}"
        );

        // How many steps a sampler takes, it alone knows.
        let denoise = on_all_threads(|z: Tensor<2>, _| z);
        let (z, gamma) =
            (Tensor::zeros([2, 2], &Device::flex()), Tensor::zeros([2], &Device::flex()));
        (0..7777).for_each(|_| drop(denoise(z.clone(), gamma.clone())));
        assert!(HEARD.lock().unwrap().contains(&("sampling".into(), 7777, 0)));
    }
}
