//! Chance that a seed decides.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::{Mutex, PoisonError};

/// A sequence of draws. One thread draws from it, so that their order is that of what happens.
#[derive(Debug)]
pub struct Dice(Mutex<StdRng>);

impl Dice {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// True with this probability.
    pub fn chance(&self, probability: f64) -> bool {
        self.draw(|rng| rng.random_bool(probability.clamp(0.0, 1.0)))
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.draw(|rng| rng.random_range(low..=high))
    }

    /// One of these, which must not be empty.
    pub fn one<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.draw(|rng| rng.random_range(0..of.len()))]
    }

    /// One of these by its weight.
    pub fn weighted<'a, T>(&self, of: &'a [(u32, T)]) -> &'a T {
        let total: u32 = of.iter().map(|(weight, _)| weight).sum();
        let mut left = self.draw(|rng| rng.random_range(0..total));
        for (weight, one) in of {
            if left < *weight {
                return one;
            }
            left -= weight;
        }
        &of[0].1
    }

    /// These in any order.
    pub fn shuffle<T>(&self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.draw(|rng| rng.random_range(0..=last)));
        }
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
