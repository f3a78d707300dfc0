//! Which part under way is worth sending a second time.

/// Extra bytes that hedging may cost, as a share of the bytes of its range.
const EXTRA_SHARE: u64 = 4;
/// A second copy must promise to end in less than this share of the time that the first still needs.
const WORTH: f64 = 0.7;
/// Time after which a transfer shows its rate, in milliseconds.
const SHOWS_MS: u64 = 2_000;

/// A part under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Its number.
    pub number: u32,
    /// Bytes of the part.
    pub length: u64,
    /// Bytes of it that have been moved.
    pub moved: u64,
    /// Milliseconds since it was begun.
    pub age_ms: u64,
    /// True if it is being sent a second time already.
    pub hedged: bool,
}

impl UnderWay {
    fn rate(&self) -> f64 {
        self.moved as f64 / self.age_ms.max(1) as f64
    }

    fn left_ms(&self) -> f64 {
        // Half a KiB instead of nothing: what stands still ends late, not never.
        self.length.saturating_sub(self.moved) as f64 / self.rate().max(0.5)
    }
}

/// Extra bytes allowed for a range of `bytes`, in parts of `part` bytes: a quarter, but always one part.
pub fn budget(bytes: u64, part: u64) -> u64 {
    (bytes / EXTRA_SHARE).max(part)
}

/// The part that gains most from a second copy, if any gains enough: one far below the median rate, when no part
/// waits to be begun.
///
/// `rates` are those of the parts that ended, in bytes a millisecond; `left` are the extra bytes still allowed.
pub fn straggler(under_way: &[UnderWay], rates: &[f64], left: u64) -> Option<u32> {
    let shown = under_way.iter().filter(|part| part.age_ms >= SHOWS_MS).map(UnderWay::rate);
    let typical = median(rates.iter().copied().chain(shown))?;
    under_way
        .iter()
        .filter(|part| !part.hedged && part.age_ms >= SHOWS_MS && part.length <= left && part.moved < part.length)
        .filter(|part| part.length as f64 / typical.max(0.5) < part.left_ms() * WORTH)
        .max_by(|one, other| one.left_ms().total_cmp(&other.left_ms()))
        .map(|part| part.number)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u64 = 8 << 20;

    fn part(number: u32, moved: u64, age_ms: u64) -> UnderWay {
        UnderWay { number, length: PART, moved, age_ms, hedged: false }
    }

    #[test]
    fn the_slowest_of_many_is_sent_again_once() {
        let rates = [800.0; 20];
        let under_way = [part(1, PART / 2, 10_000), part(2, PART / 50, 10_000), part(3, PART / 20, 10_000)];
        assert_eq!(straggler(&under_way, &rates, budget(64 * PART, PART)), Some(2));
        let hedged = [UnderWay { hedged: true, ..under_way[1] }];
        assert_eq!(straggler(&hedged, &rates, u64::MAX), None);
    }

    #[test]
    fn what_keeps_up_is_left_alone() {
        let rates = [800.0; 20];
        assert_eq!(straggler(&[part(1, PART / 2, 5_500)], &rates, u64::MAX), None);
        assert_eq!(straggler(&[part(1, 0, 100)], &rates, u64::MAX), None, "it has not had time to show");
        assert_eq!(straggler(&[part(1, PART, 60_000)], &rates, u64::MAX), None, "its answer is on the way");
        assert_eq!(straggler(&[part(1, 10, 60_000)], &[], u64::MAX), None, "there is nobody to compare with");
    }

    #[test]
    fn extra_bytes_are_bounded() {
        let rates = [800.0; 20];
        assert_eq!(straggler(&[part(1, 10, 60_000)], &rates, PART - 1), None);
        assert_eq!(budget(PART, PART), PART);
        assert_eq!(budget(100 * PART, PART), 25 * PART);
    }
}
