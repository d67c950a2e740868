//! A stack of bits: the asymmetric numeral systems of Duda (2009), as the crate
//! `constriction` codes them.

use constriction::{
    UnwrapInfallible,
    stream::{
        Decode, Encode,
        model::{DecoderModel, EncoderModel},
        stack::AnsCoder,
    },
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Probabilities are whole multiples of 2^-PRECISION.
pub const PRECISION: usize = 48;

// ANCHOR: stack
/// Bits of which the last ones pushed are the first ones popped.
///
/// The top is a number of 128 bits, the rest words of 64. A number of 64 bits would leave
/// too little room above the 48 of a probability, and every push would lose a part of a bit.
#[derive(Clone)]
pub struct Stack {
    ans: AnsCoder<u64, u128>,
    /// A shared sequence of random words. Each symbol that is borrowed takes one.
    pads: Option<ChaCha8Rng>,
    /// Symbols borrowed so far.
    borrowed: u64,
}
// ANCHOR_END: stack

/// A distribution of symbols that can be pushed and popped.
pub trait Model:
    EncoderModel<PRECISION, Symbol = usize, Probability = u64> + DecoderModel<PRECISION>
{
}

impl<M> Model for M where
    M: EncoderModel<PRECISION, Symbol = usize, Probability = u64> + DecoderModel<PRECISION>
{
}

impl Stack {
    /// An empty stack. With pads, what is borrowed is made random by a shared sequence.
    pub fn new(pads: bool) -> Self {
        let pads = pads.then(|| ChaCha8Rng::seed_from_u64(0));
        Self { ans: AnsCoder::new(), pads, borrowed: 0 }
    }

    /// The stack whose words these are, from which so many symbols were borrowed. Fails
    /// where no stack has such words.
    pub fn from_words(words: Vec<u64>, pads: bool, borrowed: u64) -> Result<Self> {
        let ans = AnsCoder::from_compressed(words).map_err(|_| {
            Error::failure("the last word of a stack is never zero; the file is damaged")
        })?;
        Ok(Self { ans, borrowed, ..Self::new(pads) })
    }

    /// Its words. A stack that holds nothing has none.
    pub fn into_words(self) -> Vec<u64> {
        self.ans.into_compressed().unwrap_infallible()
    }

    /// Its length.
    pub fn bits(&self) -> f64 {
        self.ans.num_valid_bits() as f64
    }

    /// True where everything that was pushed was popped, and everything borrowed put back.
    pub fn is_empty(&self) -> bool {
        self.ans.is_empty() && self.borrowed == 0
    }

    // ANCHOR: push
    /// Pushes these symbols, each of its own distribution, the last one first.
    pub fn push<M: Model>(&mut self, symbols: &[usize], models: &[M]) -> Result<()> {
        for (symbol, model) in symbols.iter().zip(models).rev() {
            self.push_one(*symbol, model)?;
        }
        Ok(())
    }

    /// Pops a symbol of each distribution: what [`Self::push`] pushed, in that order.
    pub fn pop<M: Model>(&mut self, models: &[M]) -> Vec<usize> {
        models.iter().map(|model| self.pop_one(model)).collect()
    }
    // ANCHOR_END: push

    // ANCHOR: borrow
    /// Draws a symbol of each distribution, with the bits on the stack as the source of
    /// randomness. Equation `bits-back`.
    pub fn borrow<M: Model>(&mut self, models: &[M]) -> Vec<usize> {
        let pads = self.pads(self.borrowed, models.len());
        self.borrowed += models.len() as u64;
        let draw = |(model, pad): (&M, u64)| {
            self.flip(pad);
            self.pop_one(model)
        };
        models.iter().zip(pads).map(draw).collect()
    }

    /// Puts back what [`Self::borrow`] took: after this the stack is what it was before.
    pub fn put_back<M: Model>(&mut self, symbols: &[usize], models: &[M]) -> Result<()> {
        let before = self.borrowed.checked_sub(models.len() as u64).ok_or_else(|| {
            Error::failure("more is put back than was borrowed; the file is damaged")
        })?;
        self.borrowed = before;
        let pads = self.pads(before, models.len());
        for ((symbol, model), pad) in symbols.iter().zip(models).zip(pads).rev() {
            self.push_one(*symbol, model)?;
            self.flip(pad);
        }
        Ok(())
    }

    /// Exchanges the bits of the top for others where the pad has ones. Twice does nothing.
    fn flip(&mut self, pad: u64) {
        let (bulk, top) = std::mem::take(&mut self.ans).into_raw_parts();
        self.ans = AnsCoder::from_raw_parts(bulk, top ^ u128::from(pad));
    }
    // ANCHOR_END: borrow

    /// Words of the shared sequence; zeros without pads.
    fn pads(&mut self, from: u64, count: usize) -> Vec<u64> {
        match &mut self.pads {
            Some(rng) => {
                // Two words of 32 bits for each.
                rng.set_word_pos(2 * u128::from(from));
                (0..count).map(|_| rng.next_u64() >> (64 - PRECISION)).collect()
            }
            None => vec![0; count],
        }
    }

    fn push_one<M: Model>(&mut self, symbol: usize, model: &M) -> Result<()> {
        self.ans.encode_symbol(symbol, model).map_err(|_| {
            Error::failure(format!("symbol {symbol} is none that can be coded"))
        })
    }

    fn pop_one<M: Model>(&mut self, model: &M) -> usize {
        self.ans.decode_symbol(model).unwrap_infallible()
    }
}
