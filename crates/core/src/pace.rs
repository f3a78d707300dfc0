//! How many transfers at once: found from what arrives, not configured.

/// Time between two looks at the rate, in milliseconds.
pub const TICK_MS: u64 = 500;
/// Growth of the rate that shows that more transfers at once were worth it, in the beginning.
const WORTH_DOUBLING: f64 = 1.15;
/// Looks without such growth after which the beginning is over.
const FLAT_MAX: u32 = 6;
/// Looks between two probes for more.
const PROBE_EVERY: u32 = 10;
/// Growth of the rate that makes a probe's width stay.
const WORTH_PROBING: f64 = 1.05;
/// Looks without a probe after a service asked for less, or a connection was lost.
const CALM: u32 = 20;

/// The number of transfers that may be under way at once.
///
/// It doubles while the rate grows with it, and with every transfer that ends well meanwhile; then it probes upwards now
/// and then, and keeps what pays. A fault takes three tenths of it away. Never below 1, never above the given most.
#[derive(Clone, Debug)]
pub struct Pace {
    width: usize,
    most: usize,
    phase: Phase,
    looked: Option<Look>,
    calm: u32,
    slowed_ms: Option<u64>,
    paid: bool,
    /// It has become wider since that was seen.
    widened: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Doubling; the best rate so far, and looks without a better one.
    Beginning { best: f64, flat: u32 },
    /// Staying; looks since the last probe, and the rate meanwhile.
    Steady { looks: u32, rate: f64 },
    /// Trying more; the width and the rate before, and the looks that this takes.
    Probing { width: usize, rate: f64, looks: u32 },
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at_ms: u64,
    bytes: u64,
}

impl Pace {
    /// Begins with `first` at once, never more than `most`.
    pub fn new(first: usize, most: usize) -> Self {
        let most = most.max(1);
        Self {
            width: first.clamp(1, most),
            most,
            phase: Phase::Beginning { best: 0.0, flat: 0 },
            looked: None,
            calm: 0,
            slowed_ms: None,
            paid: false,
            widened: false,
        }
    }

    /// Transfers at once.
    pub fn width(&self) -> usize {
        self.width
    }

    /// True if the last time that it widened brought more bytes in all: then each connection carries what it can, and
    /// is not held back by the others beside it.
    pub fn pays(&self) -> bool {
        self.paid
    }

    /// A transfer ended well.
    pub fn ended(&mut self) {
        if let Phase::Beginning { .. } = self.phase {
            self.widen(self.width + 1);
        }
    }

    /// A service asked for fewer requests, a connection was lost or stood still. Several at once count as one.
    pub fn slowed(&mut self, now_ms: u64) {
        if self.slowed_ms.is_some_and(|last| now_ms < last + TICK_MS) {
            return;
        }
        self.slowed_ms = Some(now_ms);
        self.width = (self.width * 7 / 10).max(1);
        self.phase = Phase::Steady { looks: 0, rate: 0.0 };
        self.calm = CALM;
    }

    /// A look at the bytes moved in all so far. `full` says that as many were under way as may be: otherwise the rate
    /// says nothing about the width. Does nothing until [`TICK_MS`] have passed since the last look.
    pub fn look(&mut self, now_ms: u64, bytes: u64, full: bool) {
        let Some(last) = self.looked else {
            self.looked = Some(Look { at_ms: now_ms, bytes });
            return;
        };
        let passed = now_ms.saturating_sub(last.at_ms);
        if passed < TICK_MS {
            return;
        }
        self.looked = Some(Look { at_ms: now_ms, bytes });
        let rate = bytes.saturating_sub(last.bytes) as f64 / passed as f64;
        self.calm = self.calm.saturating_sub(1);
        if !full || rate == 0.0 {
            return;
        }
        self.phase = match self.phase.clone() {
            Phase::Beginning { best, .. } if rate > best * WORTH_DOUBLING => {
                self.paid = best > 0.0;
                self.widened = false;
                self.widen(self.width * 2);
                Phase::Beginning { best: rate, flat: 0 }
            }
            Phase::Beginning { flat, .. } if flat + 1 >= FLAT_MAX => {
                // Where there was nothing left to widen, the last time stands.
                self.paid &= !self.widened;
                Phase::Steady { looks: 0, rate }
            }
            Phase::Beginning { best, flat } => Phase::Beginning { best, flat: flat + 1 },
            Phase::Steady { looks, rate: before } => {
                let rate = if looks == 0 { rate } else { (before + rate) / 2.0 };
                if looks + 1 >= PROBE_EVERY && self.calm == 0 && self.width < self.most {
                    let width = self.width;
                    self.widen(width + (width / 4).max(1));
                    Phase::Probing { width, rate, looks: 0 }
                } else {
                    Phase::Steady { looks: looks + 1, rate }
                }
            }
            // The first look after a change still shows the rate before it.
            Phase::Probing { width, rate: before, looks: 0 } => Phase::Probing { width, rate: before, looks: 1 },
            Phase::Probing { width, rate: before, .. } => {
                self.paid = rate >= before * WORTH_PROBING;
                if !self.paid {
                    self.width = width;
                }
                Phase::Steady { looks: 0, rate }
            }
        };
    }

    fn widen(&mut self, width: usize) {
        self.widened |= width.min(self.most) > self.width;
        self.width = width.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Looks at a link that carries `each` per transfer and look, and `all` at most.
    fn after(pace: &mut Pace, looks: u64, each: u64, all: u64) -> usize {
        let (mut now, mut bytes) = (0, 0);
        if let Some(last) = pace.looked {
            (now, bytes) = (last.at_ms, last.bytes);
        }
        pace.look(now, bytes, true);
        for _ in 0..looks {
            now += TICK_MS;
            bytes += (each * pace.width() as u64).min(all);
            pace.look(now, bytes, true);
        }
        pace.width()
    }

    #[test]
    fn a_link_that_carries_more_is_given_more() {
        let mut pace = Pace::new(8, 256);
        assert_eq!(after(&mut pace, 6, 400_000, u64::MAX), 256);
        assert!(pace.pays());
    }

    #[test]
    fn a_link_that_is_full_at_the_last_width_does_not_pay() {
        // 64 connections carry 80, 128 and 256 carry 100.
        for (most, pays) in [(256, false), (64, true)] {
            let mut pace = Pace::new(8, most);
            after(&mut pace, 40, 1_250_000, 100_000_000);
            assert_eq!((pace.width(), pace.pays()), (most, pays));
        }
    }

    #[test]
    fn a_full_link_is_not_given_ever_more() {
        let mut pace = Pace::new(8, 1_024);
        let width = after(&mut pace, 240, 1_000_000, 20_000_000);
        assert!((16..=64).contains(&width), "{width}");
        assert!(!pace.pays());
    }

    #[test]
    fn faults_take_some_away_and_it_comes_back() {
        let mut pace = Pace::new(64, 64);
        after(&mut pace, 5, 1_000, u64::MAX);
        let now = pace.looked.unwrap().at_ms;
        for _ in 0..20 {
            pace.slowed(now);
        }
        assert_eq!(pace.width(), 44);
        assert_eq!(after(&mut pace, 240, 1_000, u64::MAX), 64);
    }

    #[test]
    fn small_transfers_widen_it_as_they_end() {
        let mut pace = Pace::new(4, 100);
        for _ in 0..10 {
            pace.ended();
        }
        assert_eq!(pace.width(), 14);
    }

    proptest! {
        #[test]
        fn the_width_keeps_its_bounds(first in 0..500usize, most in 0..500usize, steps in prop::collection::vec((0..3u8, 0..5_000u64, any::<u32>(), any::<bool>()), 0..200)) {
            let mut pace = Pace::new(first, most);
            let (mut now, mut bytes) = (0, 0);
            for (step, wait, moved, full) in steps {
                now += wait;
                bytes += u64::from(moved);
                match step {
                    0 => pace.ended(),
                    1 => pace.slowed(now),
                    _ => pace.look(now, bytes, full),
                }
                prop_assert!((1..=most.max(1)).contains(&pace.width()));
            }
        }
    }
}
