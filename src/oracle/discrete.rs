//! Finite latents, solved by enumeration: z in {0..S-1}, x in {0..M-1}, tables for p(z) and
//! p(x|z).

use super::error::{Error, probabilities, same};

/// p(z) and p(x|z) as tables.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniteLatent {
    prior: Vec<f64>,
    likelihood: Vec<Vec<f64>>,
}

impl FiniteLatent {
    /// The model with this prior `[S]` and these rows p(x|z) `[S][M]`.
    ///
    /// # Errors
    /// [`Error::NotProbabilities`] where the prior or a row is no distribution;
    /// [`Error::Dimension`] where there are not S rows of one length.
    pub fn new(prior: &[f64], likelihood: &[Vec<f64>]) -> Result<Self, Error> {
        probabilities("the prior", prior)?;
        same("the number of rows of p(x|z)", prior.len(), likelihood.len())?;
        let outcomes = likelihood.first().map_or(0, Vec::len);
        for row in likelihood {
            same("the length of a row of p(x|z)", outcomes, row.len())?;
            probabilities("a row of p(x|z)", row)?;
        }
        Ok(Self { prior: prior.to_vec(), likelihood: likelihood.to_vec() })
    }

    /// The number of states S of z.
    pub fn states(&self) -> usize {
        self.prior.len()
    }

    /// The number of values M of x.
    pub fn outcomes(&self) -> usize {
        self.likelihood.first().map_or(0, Vec::len)
    }

    /// p(z), `[S]`.
    pub fn prior(&self) -> &[f64] {
        &self.prior
    }

    /// p(x, z) for every z, `[S]`.
    ///
    /// # Errors
    /// [`Error::Index`] where x is not below M.
    pub fn joint(&self, x: usize) -> Result<Vec<f64>, Error> {
        let length = self.outcomes();
        self.prior
            .iter()
            .zip(&self.likelihood)
            .map(|(p, row)| {
                row.get(x).map(|l| p * l).ok_or(Error::Index { index: x, length })
            })
            .collect()
    }

    /// The evidence log p(x), in nats.
    ///
    /// # Errors
    /// [`Error::Index`] where x is not below M.
    pub fn log_prob(&self, x: usize) -> Result<f64, Error> {
        Ok(self.joint(x)?.iter().sum::<f64>().ln())
    }

    /// The posterior p(z|x), `[S]`.
    ///
    /// # Errors
    /// [`Error::Index`] where x is not below M; [`Error::NotProbabilities`] where p(x) = 0.
    pub fn posterior(&self, x: usize) -> Result<Vec<f64>, Error> {
        let joint = self.joint(x)?;
        let evidence: f64 = joint.iter().sum();
        let posterior: Vec<f64> = joint.iter().map(|p| p / evidence).collect();
        probabilities("the posterior of an x with p(x) = 0", &posterior)?;
        Ok(posterior)
    }

    /// The ELBO of any q `[S]`: E_q log p(x, z) / q(z), in nats. Minus infinity where q
    /// puts mass where p(x, z) has none.
    ///
    /// # Errors
    /// [`Error::Index`] where x is not below M; [`Error::Dimension`] or
    /// [`Error::NotProbabilities`] for a q that is no distribution over the S states.
    pub fn elbo(&self, x: usize, q: &[f64]) -> Result<f64, Error> {
        Ok(-kl(q, &self.joint(x)?)?)
    }

    /// The importance-weighted bound L_K = E log (1/K) sum_j p(x, z_j)/q(z_j), by
    /// enumerating all S^K sequences of K `draws` from q (Burda et al. 2016, eq 8), in
    /// nats.
    ///
    /// # Errors
    /// As [`FiniteLatent::elbo`]; [`Error::OutOfRange`] where K is 0 or S^K exceeds 2^24.
    pub fn importance_weighted_bound(
        &self,
        x: usize,
        q: &[f64],
        draws: usize,
    ) -> Result<f64, Error> {
        let joint = self.joint(x)?;
        same("the length of q", self.states(), q.len())?;
        probabilities("q", q)?;
        let sequences = u32::try_from(draws)
            .ok()
            .filter(|&power| power > 0)
            .and_then(|power| self.states().checked_pow(power))
            .filter(|&sequences| sequences <= 1 << 24)
            .ok_or(Error::OutOfRange {
                what: "a number of draws K with 1 <= S^K <= 2^24",
                found: draws as f64,
            })?;
        let mut bound = 0.0;
        for sequence in 0..sequences {
            let (mut probability, mut weight, mut rest) = (1.0, 0.0, sequence);
            for _ in 0..draws {
                let z = rest % self.states();
                rest /= self.states();
                probability *= q[z];
                weight += joint[z] / q[z];
            }
            if probability > 0.0 {
                bound += probability * (weight / draws as f64).ln();
            }
        }
        Ok(bound)
    }
}

/// KL(q || p) of two tables, in nats; p need not be normalised. 0 log 0 = 0; infinite where
/// q has mass and p has none.
///
/// # Errors
/// [`Error::Dimension`] where the lengths differ; [`Error::NotProbabilities`] for a q that
/// is no distribution.
pub fn kl(q: &[f64], p: &[f64]) -> Result<f64, Error> {
    same("the length of q", p.len(), q.len())?;
    probabilities("q", q)?;
    Ok(q.iter().zip(p).filter(|(q, _)| **q > 0.0).map(|(q, p)| q * (q / p).ln()).sum())
}

/// The entropy of a table, in nats.
///
/// # Errors
/// [`Error::NotProbabilities`] for a table that is no distribution.
pub fn entropy(q: &[f64]) -> Result<f64, Error> {
    probabilities("q", q)?;
    Ok(-q.iter().filter(|q| **q > 0.0).map(|q| q * q.ln()).sum::<f64>())
}

/// The aggregate posterior q(z) = mean over n of q(z|x_n), from rows `[N][S]`.
///
/// # Errors
/// [`Error::Dimension`] where the rows differ in length; [`Error::NotProbabilities`] where
/// there is no row, or a row is no distribution.
pub fn aggregate(encoder: &[Vec<f64>]) -> Result<Vec<f64>, Error> {
    let states = encoder.first().map_or(0, Vec::len);
    let mut sum = vec![0.0; states];
    for row in encoder {
        same("the length of a row of q(z|x)", states, row.len())?;
        probabilities("a row of q(z|x)", row)?;
        for (total, q) in sum.iter_mut().zip(row) {
            *total += q / encoder.len() as f64;
        }
    }
    probabilities("the aggregate posterior", &sum)?;
    Ok(sum)
}

/// The mutual information I(n; z) between a uniform index n and z given its row, in nats:
/// H(q(z)) - mean H(q(z|x_n)).
///
/// # Errors
/// As [`aggregate`].
pub fn mutual_information(encoder: &[Vec<f64>]) -> Result<f64, Error> {
    let mut information = entropy(&aggregate(encoder)?)?;
    for row in encoder {
        information -= entropy(row)? / encoder.len() as f64;
    }
    Ok(information)
}

#[cfg(test)]
mod tests {
    use super::{FiniteLatent, aggregate, kl};
    use crate::oracle::Error;

    #[test]
    fn tables_that_are_no_distributions_are_errors() -> Result<(), Error> {
        let rows = [vec![0.5, 0.5], vec![0.1, 0.9]];
        assert!(FiniteLatent::new(&[0.5, 0.6], &rows).is_err());
        assert!(FiniteLatent::new(&[1.0], &rows).is_err());
        assert!(FiniteLatent::new(&[0.5, 0.5], &[vec![1.0], vec![0.5, 0.5]]).is_err());
        assert!(FiniteLatent::new(&[], &[]).is_err());
        let model = FiniteLatent::new(&[0.5, 0.5], &rows)?;
        assert_eq!(model.log_prob(2).err(), Some(Error::Index { index: 2, length: 2 }));
        assert!(model.elbo(0, &[1.0]).is_err());
        assert!(model.elbo(0, &[2.0, -1.0]).is_err());
        for draws in [0, 40, usize::MAX] {
            assert!(model.importance_weighted_bound(0, &[0.5, 0.5], draws).is_err());
        }
        assert!(aggregate(&[]).is_err());
        Ok(())
    }

    #[test]
    fn zeros_are_handled_as_limits() -> Result<(), Error> {
        let model = FiniteLatent::new(&[0.5, 0.5], &[vec![0.0, 1.0], vec![0.4, 0.6]])?;
        assert_eq!(model.elbo(0, &[0.5, 0.5])?, f64::NEG_INFINITY);
        assert!((model.elbo(0, &[0.0, 1.0])? - 0.2_f64.ln()).abs() < 1e-15);
        let bound = model.importance_weighted_bound(0, &[0.0, 1.0], 3)?;
        assert!((bound - 0.2_f64.ln()).abs() < 1e-15);
        assert_eq!(kl(&[1.0, 0.0], &[0.5, 0.5])?, 2.0_f64.ln());
        let never = FiniteLatent::new(&[1.0], &[vec![0.0, 1.0]])?;
        assert!(never.posterior(0).is_err());
        Ok(())
    }
}
