//! What the library and the chapters use of rayon, by the same names, for a page: it has one
//! thread, and rayon's ways of sharing work would be sent to readers for nothing.

use std::{convert::Infallible, marker::PhantomData};

/// Iterators that are parallel elsewhere.
pub mod prelude {
    use std::slice::{Chunks, ChunksMut};

    /// What can be iterated over.
    pub trait IntoParallelIterator: IntoIterator + Sized {
        /// Its items, one after the other.
        fn into_par_iter(self) -> Self::IntoIter {
            self.into_iter()
        }
    }

    impl<T: IntoIterator> IntoParallelIterator for T {}

    /// Slices that are read in parts.
    pub trait ParallelSlice<T> {
        /// Parts of this length, but for the last.
        fn par_chunks(&self, length: usize) -> Chunks<'_, T>;
    }

    impl<T> ParallelSlice<T> for [T] {
        fn par_chunks(&self, length: usize) -> Chunks<'_, T> {
            self.chunks(length)
        }
    }

    /// Slices that are written in parts.
    pub trait ParallelSliceMut<T> {
        /// Parts of this length, but for the last.
        fn par_chunks_mut(&mut self, length: usize) -> ChunksMut<'_, T>;
    }

    impl<T> ParallelSliceMut<T> for [T] {
        fn par_chunks_mut(&mut self, length: usize) -> ChunksMut<'_, T> {
            self.chunks_mut(length)
        }
    }
}

/// A number of threads, which a page cannot choose.
#[derive(Debug, Default)]
pub struct ThreadPoolBuilder;

impl ThreadPoolBuilder {
    /// One thread.
    pub fn new() -> Self {
        Self
    }

    /// Still one thread.
    pub fn num_threads(self, _threads: usize) -> Self {
        self
    }

    /// Starts nothing.
    ///
    /// # Errors
    /// Never.
    pub fn build_global(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Where work could be handed to other threads.
#[derive(Debug)]
pub struct Scope<'scope>(PhantomData<&'scope ()>);

impl<'scope> Scope<'scope> {
    /// Does the work at once.
    pub fn spawn(&self, work: impl FnOnce(&Self) + Send + 'scope) {
        work(self);
    }
}

/// Does the work where it is called.
pub fn scope<'scope, R>(work: impl FnOnce(&Scope<'scope>) -> R) -> R {
    work(&Scope(PhantomData))
}

/// The same.
pub fn in_place_scope<'scope, R>(work: impl FnOnce(&Scope<'scope>) -> R) -> R {
    scope(work)
}
