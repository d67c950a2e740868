//! Chapter 10: bits back on the chapter's small model, one pop or push at a time.

use elbo_to_diffusion::{
    codec::{Categorical, Quantized, Stack},
    error::Result,
    random::{Stream, rng},
};
use serde_json::{Value, json};

use super::{Lab, drawn, whole};
use crate::chapters::ch10_small::{
    LIKELIHOOD, PRIOR, draw, evidence, negative_elbo, posterior,
};

/// Symbols of the message, and what they are called.
const SYMBOLS: usize = 40;
const NAMES: [char; 4] = ['a', 'b', 'c', 'd'];
/// Moves for a symbol: pop z, push x, push z.
const MOVES: usize = 3;
/// Bits of somebody else's message on a stack that is not empty.
const OTHERS: usize = 64;

/// A message and every state of the stack on its way.
struct Walk {
    of: [usize; 3],
    symbols: Vec<usize>,
    latents: Vec<usize>,
    stacks: Vec<Stack>,
}

#[derive(Default)]
pub struct BitsBack {
    walk: Option<Walk>,
}

type Pmf = [Quantized<Categorical>; 1];

/// q(z|x) for each x: the posterior, or one half each.
fn encoders(half: bool) -> ([[f64; 2]; 4], [Pmf; 4]) {
    let q = std::array::from_fn(|x| if half { [0.5, 0.5] } else { posterior(PRIOR, x) });
    (q, q.map(|q| [Categorical::new(q)]))
}

fn model() -> (Pmf, [Pmf; 2]) {
    ([Categorical::new(PRIOR)], LIKELIHOOD.map(|p| [Categorical::new(p)]))
}

impl Walk {
    fn new(of: [usize; 3]) -> Result<Self> {
        let [seed, half, others] = of;
        let symbols = draw(SYMBOLS, &mut rng(seed as u64, Stream::Coding, 0));
        let ((_, q), (prior, likelihood)) = (encoders(half == 1), model());
        let mut stack = Stack::new(false);
        if others == 1 {
            let bit = [Categorical::uniform(2)];
            let bits = draw(OTHERS, &mut rng(seed as u64, Stream::Coding, 1));
            for bit_of in bits {
                stack.push(&[bit_of / 2], &bit)?;
            }
        }
        let (mut stacks, mut latents) = (vec![stack.clone()], Vec::new());
        for &x in &symbols {
            let z = stack.borrow(&q[x]);
            stacks.push(stack.clone());
            stack.push(&[x], &likelihood[z[0]])?;
            stacks.push(stack.clone());
            stack.push(&z, &prior)?;
            stacks.push(stack.clone());
            latents.push(z[0]);
        }
        Ok(Self { of, symbols, latents, stacks })
    }

    /// The last so many symbols of this stack, the last one first, each move undone.
    fn undone(&self, mut stack: Stack, count: usize) -> Result<Vec<usize>> {
        let ((_, q), (prior, likelihood)) = (encoders(self.of[1] == 1), model());
        (0..count)
            .map(|_| {
                let z = stack.pop(&prior);
                let x = stack.pop(&likelihood[z[0]])[0];
                stack.put_back(&z, &q[x])?;
                Ok(x)
            })
            .collect()
    }
}

impl Lab for BitsBack {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let of = [
            whole(request, "seed", 0, [0, 1_000_000]),
            whole(request, "half", 0, [0, 1]),
            whole(request, "others", 1, [0, 1]),
        ];
        let at = whole(request, "move", 0, [0, MOVES * SYMBOLS]);
        let walk = match self.walk.take() {
            Some(walk) if walk.of == of => walk,
            _ => Walk::new(of)?,
        };
        let ((q, coded), (prior, likelihood)) = (encoders(of[1] == 1), model());
        let done = at / MOVES;
        let moved = match at.checked_sub(1) {
            None => "Nothing is coded yet.".into(),
            Some(last) => {
                let (x, z) = (walk.symbols[last / MOVES], walk.latents[last / MOVES]);
                let (what, bits) = match last % MOVES {
                    0 => (
                        format!("z = {z} popped, of q(z|{})", NAMES[x]),
                        coded[x][0].bits(z),
                    ),
                    1 => (format!("x = {} pushed", NAMES[x]), likelihood[z][0].bits(x)),
                    _ => (format!("z = {z} pushed"), prior[0].bits(z)),
                };
                format!("Symbol {}: {what}, {bits:.3} bits.", last / MOVES + 1)
            }
        };
        let start = walk.stacks[0].bits();
        let bits = walk.stacks[at].bits();
        let so_far = &walk.symbols[..done];
        // An empty sum is -0.
        let elbo = so_far.iter().map(|&x| negative_elbo(q[x], x)).sum::<f64>() + 0.0;
        let surprise = so_far.iter().map(|&x| -evidence(x).log2()).sum::<f64>() + 0.0;
        let undone = walk.undone(walk.stacks[done * MOVES].clone(), done)?;
        let right = undone.iter().eq(so_far.iter().rev());
        let lengths = walk.stacks.iter().map(|stack| stack.bits() - start);
        let promised = walk.symbols.iter().scan(0.0, |sum, &x| {
            *sum += negative_elbo(q[x], x);
            Some(*sum)
        });
        let points = |values: Vec<f64>, every: usize| -> Vec<Vec<f64>> {
            values
                .iter()
                .enumerate()
                .map(|(i, v)| drawn([(every * i) as f64, *v]))
                .collect()
        };
        let message: String = walk.symbols.iter().map(|&x| NAMES[x]).collect();
        let answer = json!({
            "says": format!(
                "{moved} The stack holds {bits:.0} bits, {start:.0} at first. \
                 {done} symbols are done: -ELBO says {elbo:.2} bits, and -log p(x) {surprise:.2}. {}",
                if right { "Undone from there, all come back." } else { "Undone from there, they differ." }
            ),
            "lengths": points(lengths.collect(), 1),
            "promised": points([0.0].into_iter().chain(promised).collect(), MOVES),
            "message": message, "bits": bits - start, "elbo": elbo, "right": right,
        });
        self.walk = Some(walk);
        Ok(answer)
    }
}
