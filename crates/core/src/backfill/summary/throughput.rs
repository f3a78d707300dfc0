//! Bytes over time, in a bounded number of buckets.

use serde::{Deserialize, Serialize};

/// Most buckets of a [`Throughput`].
pub const BUCKETS_MAX: usize = 120;
/// Width of the buckets of a short run, in milliseconds. Every other width is this one doubled.
const NARROWEST_MS: u64 = 1_000;

/// Bytes that arrived in each stretch of a run's time.
///
/// The buckets double their width whenever they would become too many. The shares of a stretch are differences of one
/// cumulative sum, so that neither the order of additions nor the time of the doubling changes a bucket, and no byte is
/// lost to rounding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Throughput {
    /// Where the first bucket begins, milliseconds since 1970.
    pub from_ms: u64,
    /// How long each of them is, in milliseconds.
    pub bucket_ms: u64,
    /// Bytes of each, at most [`BUCKETS_MAX`].
    pub bytes: Vec<u64>,
}

impl Throughput {
    /// Nothing yet, from this time on.
    pub fn from(from_ms: u64) -> Self {
        Self { from_ms, bucket_ms: NARROWEST_MS, bytes: Vec::new() }
    }

    /// Spreads `bytes` evenly over a time. What lies before the first bucket goes into it; without a length in time
    /// everything arrives at the end.
    pub fn add(&mut self, bytes: u64, started_ms: u64, ended_ms: u64) {
        if bytes == 0 {
            return;
        }
        let end = ended_ms.saturating_sub(self.from_ms);
        let start = match started_ms {
            // Nobody told.
            0 => end,
            started => started.saturating_sub(self.from_ms).min(end),
        };
        let end = end.max(start.saturating_add(1));
        while end.div_ceil(self.bucket_ms) > BUCKETS_MAX as u64 {
            self.widen();
        }
        let arrived = |at: u64| {
            let of = u128::from(end - start);
            let passed = u128::from(at.clamp(start, end) - start);
            // At most `bytes`.
            u64::try_from(u128::from(bytes) * passed / of).unwrap_or(bytes)
        };
        // Both are below BUCKETS_MAX.
        let (first, last) = ((start / self.bucket_ms) as usize, ((end - 1) / self.bucket_ms) as usize);
        if self.bytes.len() <= last {
            self.bytes.resize(last + 1, 0);
        }
        for (index, bucket) in self.bytes.iter_mut().enumerate().take(last + 1).skip(first) {
            let from = index as u64 * self.bucket_ms;
            *bucket += arrived(from.saturating_add(self.bucket_ms)) - arrived(from);
        }
    }

    fn widen(&mut self) {
        self.bucket_ms = self.bucket_ms.saturating_mul(2);
        self.bytes = self.bytes.chunks(2).map(|pair| pair.iter().sum()).collect();
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// The bytes a second of each bucket.
    pub fn rates(&self) -> impl Iterator<Item = f64> {
        self.bytes.iter().map(|bytes| *bytes as f64 * 1_000.0 / self.bucket_ms as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stretch_falls_into_its_buckets() {
        let mut rate = Throughput::from(10_000);
        rate.add(300, 10_500, 12_000);
        assert_eq!(rate.bytes, [100, 200]);
        rate.add(7, 0, 10_000);
        assert_eq!(rate.bytes, [107, 200], "no length in time");
        rate.add(5, 9_000, 9_500);
        assert_eq!(rate.bytes, [112, 200], "before the beginning");
        rate.add(1, 10_000 + 120_000, 10_000 + 120_001);
        assert_eq!((rate.bucket_ms, rate.bytes.len(), rate.bytes[0]), (2_000, 61, 312));
        rate.add(1, 0, u64::MAX);
        assert!(rate.bytes.len() <= BUCKETS_MAX);
        assert_eq!(rate.total(), 314);
    }

    proptest! {
        #[test]
        fn order_is_of_no_matter(mut stretches in prop::collection::vec((0..1_u64 << 40, 0..3_000_000_u64, 0..400_000_u64), 1..30)) {
            let add = |stretches: &[(u64, u64, u64)]| {
                let mut rate = Throughput::from(500);
                for (bytes, start, length) in stretches {
                    rate.add(*bytes, *start, start + length);
                }
                rate
            };
            let one = add(&stretches);
            stretches.reverse();
            let other = add(&stretches);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one.total(), stretches.iter().map(|(bytes, ..)| bytes).sum::<u64>());
            prop_assert!(one.bytes.len() <= BUCKETS_MAX);
        }
    }
}
