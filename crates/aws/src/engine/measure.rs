//! What one connection carried while the parts of an invocation were copied (SEMANTICS.md, rule 18).

use super::Engine;
use super::stream::Flow;
use longhaul_core::rate::RATE_ENOUGH;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// A connection that moved less, in bytes, shows its beginning and not its rate.
const SHOWS_BYTES: u64 = 1024 * 1024;
/// Unless it was at it for so long.
const SHOWS_TIME: Duration = Duration::from_secs(60);
/// A shorter invocation says nothing against a route.
const SLOW_TIME: Duration = Duration::from_secs(10);

/// Watches one invocation.
#[derive(Debug)]
pub(super) struct Measuring<'a> {
    engine: &'a Engine,
    begun: Instant,
    moved: u64,
    /// Bytes a second of the best connection.
    best: Option<f64>,
}

impl<'a> Measuring<'a> {
    pub(super) fn begin(engine: &'a Engine) -> Self {
        Self { engine, begun: Instant::now(), moved: engine.moved.load(Ordering::Relaxed), best: None }
    }

    /// A connection has come so far.
    pub(super) fn saw(&mut self, flow: &Flow) {
        let (moved, age) = (flow.moved(), flow.age());
        if moved >= SHOWS_BYTES || age >= SHOWS_TIME {
            let rate = moved as f64 / age.as_secs_f64().max(0.001);
            self.best = Some(self.best.map_or(rate, |best| best.max(rate)));
        }
    }

    /// The most that one connection can have carried, in bytes a second, as far as this process sees: that other
    /// functions share the link does not show.
    ///
    /// Where more connections brought more bytes, none was held back by the others, and it is what the best of them
    /// carried. Elsewhere they shared a full link, which one alone would have had for itself: then it is what all of
    /// them carried together.
    pub(super) fn end(self) -> Option<u64> {
        let best = self.best?;
        let passed = self.begun.elapsed();
        let all = self.engine.moved.load(Ordering::Relaxed).saturating_sub(self.moved) as f64;
        let rate = if self.engine.pays() { best } else { best.max(all / passed.as_secs_f64().max(0.001)) } as u64;
        (passed >= SLOW_TIME || rate >= RATE_ENOUGH).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured where the best connection carried `best` and all together moved `all` bytes in `seconds`.
    async fn measured(best: Option<f64>, all: u64, seconds: u64) -> Option<u64> {
        let engine = Engine::new(4, 1 << 20);
        let measuring = Measuring { best, ..Measuring::begin(&engine) };
        engine.count_moved(all);
        tokio::time::advance(Duration::from_secs(seconds)).await;
        measuring.end()
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_link_is_not_held_against_its_connections() {
        assert_eq!(measured(Some(100_000.0), 60_000_000, 60).await, Some(1_000_000));
        assert_eq!(measured(Some(2_000_000.0), 60_000_000, 60).await, Some(2_000_000));
        assert_eq!(measured(None, 60_000_000, 60).await, None, "no connection came far enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_says_nothing_against_a_route() {
        assert_eq!(measured(Some(100_000.0), 100_000, 2).await, None);
        assert_eq!(measured(Some(20_000_000.0), 40_000_000, 2).await, Some(20_000_000));
    }
}
