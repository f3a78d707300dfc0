//! What a step is given besides its clients: time, chance, and how long it may take.

use longhaul_core::tally::Tally;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Wall time that follows tokio's clock, so that paused time rules in a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
    base_ms: u64,
}

impl Clock {
    /// A clock that shows the machine's time.
    pub fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// A clock that shows `ms` milliseconds since 1970 now.
    pub fn starting_at(ms: u64) -> Self {
        Self { base: Instant::now(), base_ms: ms }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.base_ms + u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The surroundings of one invocation of a step.
#[derive(Debug)]
pub struct Context {
    /// Wall time.
    pub clock: Clock,
    /// When the invocation is cut off.
    pub deadline: Instant,
    /// Which attempt this is, from 1, where known.
    pub attempt: u32,
    rng: Mutex<StdRng>,
    tally: Mutex<Tally>,
    total: Option<Arc<Mutex<Tally>>>,
}

/// Time that a step keeps for ending: a ledger write, an answer.
pub const MARGIN: Duration = Duration::from_secs(10);

impl Context {
    /// Surroundings with `time` left and a seed for all chance.
    pub fn new(clock: Clock, time: Duration, attempt: u32, seed: u64) -> Self {
        Self {
            clock,
            deadline: Instant::now() + time,
            attempt,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            tally: Mutex::default(),
            total: None,
        }
    }

    /// Also adds what is counted to `total`, while it happens: what a progress bar shows.
    #[must_use]
    pub fn counting_into(self, total: Arc<Mutex<Tally>>) -> Self {
        Self { total: Some(total), ..self }
    }

    /// Time left for work, without [`MARGIN`].
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN)
    }

    /// When even what is under way must be dropped, so that an answer can still be given.
    pub fn last_moment(&self) -> Instant {
        self.deadline.checked_sub(MARGIN / 2).unwrap_or(self.deadline)
    }

    /// A number in `[0, 1)`.
    pub fn chance(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// Waits before try `attempt` (from 1): full jitter over 200 ms doubled each time, at most 5 s.
    pub async fn back_off(&self, attempt: u32) {
        let most = Duration::from_millis(200).saturating_mul(1 << attempt.min(6)).min(Duration::from_secs(5));
        let wait = most.mul_f64(self.chance());
        tokio::time::sleep(wait).await;
        self.count(Tally { wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), ..Tally::default() });
    }

    /// Adds to what this invocation did.
    pub fn count(&self, tally: Tally) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) += tally;
        if let Some(total) = &self.total {
            *total.lock().unwrap_or_else(PoisonError::into_inner) += tally;
        }
    }

    /// What this invocation did so far.
    pub fn counted(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_tokios() {
        let context = Context::new(Clock::starting_at(5_000), Duration::from_secs(60), 1, 7);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(context.clock.now_ms(), 25_000);
        assert_eq!(context.time_left(), Duration::from_secs(30));
        context.back_off(30).await;
        assert!(context.clock.now_ms() <= 30_000);
    }
}
