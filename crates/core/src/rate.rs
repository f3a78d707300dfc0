//! How fast one connection of a route has been lately, and which parts are too large for it (SEMANTICS.md, rule 18).

use crate::config::Route;
use crate::etag::Md5Digest;
use crate::layout::{LayoutError, MIB, PART_MAX, PartLayout};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest time that a part may need, in seconds. A function runs for 900 at most, and no part outlives its invocation:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const PART_SECONDS_MAX: u64 = 600;
/// A part that this rate carries in time is never called too large, in bytes a second: a slower measure says more about
/// a bad hour than about the route.
pub const RATE_FLOOR: u64 = 256 * 1024;
/// Parts up to this size, in bytes, are never asked about: what [`RATE_FLOOR`] carries in time, 150 MiB.
pub const PART_UNASKED: u64 = RATE_FLOOR * PART_SECONDS_MAX;
/// Every part that S3 takes fits a connection of this rate, in bytes a second: 9 MB/s.
pub const RATE_ENOUGH: u64 = PART_MAX / PART_SECONDS_MAX + 1;

/// A measure older than this says nothing any more, in milliseconds: a day.
const FRESH_MS: u64 = 24 * 3_600_000;
/// Measures that are kept.
const KEPT: usize = 5;
/// Fewer measures than this are no reason to refuse anything.
const TRUSTED: usize = 3;
/// Shortest time between two measures, in milliseconds, unless the second is much better: a bad moment is one measure,
/// however many functions meet it.
const SPACED_MS: u64 = 5 * 60_000;
/// A measure much like those before is not worth a write before this time has passed, in milliseconds.
const REPEATED_MS: u64 = 3_600_000;

/// The ledger's key for the rates of a route: its two buckets, whatever their prefixes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RateKey(String);

impl RateKey {
    /// The key of the link that `route` uses. It begins as no key of an object does.
    pub fn new(route: &Route) -> Self {
        let side = |side: &crate::config::Side| format!("{}\n{}", side.store().unwrap_or_default(), side.bucket);
        let name = format!("{}\n{}", side(&route.source), side(&route.destination));
        Self(format!("rate:{}", Md5Digest::of(name.as_bytes()).hex()))
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What one connection carried, as one invocation saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measure {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The last few measures of a route. Losing them costs nothing but a refusal that comes later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Which route.
    pub key: RateKey,
    /// The measures, the newest last.
    pub measures: Vec<Measure>,
    /// Grows by one with each write: the condition of the next. 0 was never written.
    pub revision: u64,
}

impl Rates {
    /// Nothing is known yet.
    pub fn none(key: RateKey) -> Self {
        Self { key, measures: Vec::new(), revision: 0 }
    }

    fn fresh(&self, now_ms: u64) -> impl Iterator<Item = Measure> + '_ {
        self.measures.iter().copied().filter(move |measure| now_ms.saturating_sub(measure.at_ms) < FRESH_MS)
    }

    /// What one connection carries, in bytes a second: the best of the measures of the last day, so that one bad
    /// measure, or a few, lower nothing. `None` where there are too few of them.
    pub fn rate(&self, now_ms: u64) -> Option<u64> {
        let best = self.fresh(now_ms).map(|measure| measure.bytes_per_second).max()?;
        (self.fresh(now_ms).count() >= TRUSTED).then_some(best)
    }

    /// With one measure more, at the revision held so far; `None` where it says too little for a write.
    pub fn with(&self, bytes_per_second: u64, now_ms: u64) -> Option<Self> {
        let mut measures: Vec<Measure> = self.fresh(now_ms).collect();
        let newest_ms = measures.iter().map(|measure| measure.at_ms).max();
        let best = measures.iter().map(|measure| measure.bytes_per_second).max().unwrap_or(0);
        let worse = bytes_per_second < best / 2;
        let wait_ms = match measures.len() {
            _ if bytes_per_second / 2 > best => 0,
            ..TRUSTED => SPACED_MS,
            _ if worse => SPACED_MS,
            _ => REPEATED_MS,
        };
        if newest_ms.is_some_and(|newest_ms| now_ms.saturating_sub(newest_ms) < wait_ms) {
            return None;
        }
        measures.push(Measure { bytes_per_second, at_ms: now_ms });
        measures.drain(..measures.len().saturating_sub(KEPT));
        Some(Self { measures, ..self.clone() })
    }
}

/// A layout that no connection of the route would carry in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow {
    /// Bytes of a part.
    pub part_size: u64,
    /// Bytes a second.
    pub rate: u64,
}

impl TooSlow {
    fn seconds(self) -> u64 {
        self.part_size.div_ceil(self.rate.max(1))
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part_size, rate } = self;
        let seconds = self.seconds();
        write!(
            f,
            "parts of {part_size} bytes, the smallest that 10,000 of them allow, need {seconds} s each at {rate} bytes a \
             second, the most that a connection of this route carried lately; {PART_SECONDS_MAX} s are allowed"
        )
    }
}

impl std::error::Error for TooSlow {}

/// True if parts of `part_size` bytes arrive in time at `rate` bytes a second, or at one that is not known.
pub fn fits(part_size: u64, rate: Option<u64>) -> bool {
    part_size <= PART_UNASKED || rate.is_none_or(|rate| TooSlow { part_size, rate }.seconds() <= PART_SECONDS_MAX)
}

/// A layout with parts of `wanted` bytes, or smaller ones where these would be too slow; [`TooSlow`] where 10,000 parts
/// of a size that fits do not hold the object.
pub fn fitting(size: u64, wanted: u64, rate: Option<u64>) -> Result<Result<PartLayout, TooSlow>, LayoutError> {
    let layout = PartLayout::new(size, wanted)?;
    let Some(rate) = rate.filter(|_| !fits(layout.part_size(), rate)) else { return Ok(Ok(layout)) };
    let most = (rate.saturating_mul(PART_SECONDS_MAX) / MIB * MIB).max(PART_UNASKED);
    let layout = PartLayout::new(size, wanted.min(most))?;
    let part_size = layout.part_size();
    Ok(if fits(part_size, Some(rate)) { Ok(layout) } else { Err(TooSlow { part_size, rate }) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Options, Side};
    use crate::layout::{OBJECT_MAX, PARTS_MAX};
    use proptest::prelude::*;

    const NOW: u64 = 1_795_367_109_000;
    const TIB: u64 = 1024 * 1024 * MIB;

    fn rates() -> Rates {
        let side = |bucket: &str| Side { bucket: bucket.into(), ..Side::default() };
        let route =
            Route { name: String::new(), source: side("a"), destination: side("b"), options: Options::default() };
        Rates::none(RateKey::new(&route))
    }

    /// Measures that come at these times, in minutes, as far as they are worth a write.
    fn after(measures: &[(u64, u64)]) -> Rates {
        measures.iter().fold(rates(), |rates, (minute, rate)| rates.with(*rate, NOW + minute * 60_000).unwrap_or(rates))
    }

    #[test]
    fn one_bad_measure_is_no_reason_to_refuse() {
        let at = |minute: u64| NOW + minute * 60_000;
        assert_eq!(after(&[(0, 9), (10, 9)]).rate(at(11)), None, "two are too few");
        assert_eq!(after(&[(0, 9), (1, 9), (2, 9)]).measures.len(), 1, "many at once are one");
        let bad = after(&[(0, 1_000), (10, 900), (20, 800), (30, 5)]);
        assert_eq!((bad.measures.len(), bad.rate(at(31))), (4, Some(1_000)));
        let lasting = after(&[(0, 1_000), (10, 900), (20, 800), (30, 5), (40, 6), (50, 5), (60, 5), (70, 5)]);
        assert_eq!(lasting.rate(at(71)), Some(6), "what lasts is believed");
        assert_eq!(lasting.with(1_000, at(71)).unwrap().rate(at(71)), Some(1_000), "good news at once");
        assert_eq!(lasting.rate(at(71 + 24 * 60)), None, "yesterday's say nothing");
    }

    #[test]
    fn a_steady_link_is_written_down_once_an_hour() {
        let mut rates = after(&[(0, 1_000), (10, 900), (20, 800)]);
        let mut written = 0;
        for minute in 21..=21 + 600 {
            if let Some(next) = rates.with(900, NOW + minute * 60_000) {
                (rates, written) = (next, written + 1);
            }
        }
        assert_eq!((written, rates.measures.len()), (10, KEPT));
        // A clock that is behind writes nothing, and refuses nothing to be sound.
        assert_eq!(rates.with(900, NOW - 1), None);
    }

    #[test]
    fn rule_18_the_largest_object_needs_nine_megabytes_a_second() {
        let rate = |rate| fitting(OBJECT_MAX, 8 * MIB, rate).unwrap();
        assert_eq!(rate(None).unwrap().part_size(), PART_MAX);
        assert_eq!(rate(Some(RATE_ENOUGH)).unwrap().part_size(), PART_MAX);
        assert_eq!(rate(Some(8_900_000)), Err(TooSlow { part_size: PART_MAX, rate: 8_900_000 }));
        let told = rate(Some(8_900_000)).unwrap_err().to_string();
        for number in ["5368709120", "8900000", "604 s", "600 s"] {
            assert!(told.contains(number), "{told}");
        }
    }

    #[test]
    fn a_part_size_that_fits_takes_the_place_of_one_that_does_not() {
        let slow = Some(500_000);
        assert_eq!(fitting(TIB, 512 * MIB, slow).unwrap().unwrap().part_size(), 286 * MIB);
        assert_eq!(fitting(TIB, 512 * MIB, None).unwrap().unwrap().part_size(), 512 * MIB);
        assert_eq!(fitting(TIB, 8 * MIB, Some(1)).unwrap().unwrap().part_size(), 105 * MIB, "below the floor");
        assert!(fitting(5 * TIB, 8 * MIB, slow).unwrap().is_err());
        assert_eq!(fitting(0, 8 * MIB, slow), Err(LayoutError::Empty));
    }

    proptest! {
        #[test]
        fn rule_18_what_is_not_refused_fits(size in 1..=OBJECT_MAX, wanted in 0..2 * PART_MAX, rate in 0..20_000_000_u64) {
            match fitting(size, wanted, Some(rate)).unwrap() {
                Ok(layout) => {
                    prop_assert!(fits(layout.part_size(), Some(rate)));
                    prop_assert!(layout.count() <= PARTS_MAX);
                    if fits(PartLayout::new(size, wanted).unwrap().part_size(), Some(rate)) {
                        prop_assert_eq!(layout, PartLayout::new(size, wanted).unwrap());
                    }
                }
                // Not even the smallest parts that are allowed.
                Err(_) => prop_assert!(!fits(PartLayout::new(size, 0).unwrap().part_size(), Some(rate))),
            }
        }
    }
}
