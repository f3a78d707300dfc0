//! Which parts under way are worth sending once more.
//!
//! On a link that loses packets a connection's fate is decided early: one that loses a packet while it is still slow
//! stays slow for long, and a fresh one soon overtakes it. What this costs is what the loser has moved, not the part.

/// Extra bytes that hedging may cost, as a share of the bytes of its range: one in so many.
const EXTRA_SHARE: u64 = 4;
/// One more copy must promise to end in less than this share of the time that the others still need.
const WORTH: f64 = 0.9;
/// Time after which a transfer shows its rate, in milliseconds.
const SHOWS_MS: u64 = 3_000;
/// A copy that needs so many times as long as the best of its part has lost.
const LOST: f64 = 2.5;
/// Most copies of one part at once.
const COPIES_MAX: usize = 3;

/// One of the copies of a part under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Copy {
    /// Bytes that have been moved.
    pub moved: u64,
    /// Milliseconds since it was begun.
    pub age_ms: u64,
    /// Its rate of late, in bytes a millisecond.
    pub rate: f64,
    /// Milliseconds since all its bytes were handed to the connection; 0 before.
    pub handed_over_ms: u64,
}

/// A part under way.
#[derive(Clone, Debug, PartialEq)]
pub struct UnderWay {
    /// Its number.
    pub number: u32,
    /// Bytes of the part.
    pub length: u64,
    /// Its copies, at least one.
    pub copies: Vec<Copy>,
}

impl Copy {
    fn left_ms(&self, length: u64) -> f64 {
        match length.saturating_sub(self.moved) {
            // The kernel may hold a good deal of it. What has taken long is likely to take as long again.
            0 => self.handed_over_ms as f64,
            // Half a byte instead of nothing: what stands still ends late, not never.
            left => left as f64 / self.rate.max(0.5),
        }
    }
}

impl UnderWay {
    fn left_ms(&self) -> f64 {
        self.copies.iter().map(|copy| copy.left_ms(self.length)).fold(f64::INFINITY, f64::min)
    }

    fn furthest(&self) -> u64 {
        self.copies.iter().map(|copy| copy.moved).max().unwrap_or(0)
    }

    /// Bytes that are lost if the furthest copy wins.
    fn at_risk(&self) -> u64 {
        self.copies.iter().map(|copy| copy.moved).sum::<u64>() - self.furthest()
    }
}

/// Extra bytes allowed for a range of `bytes`, in parts of `part` bytes: a quarter, but always one part.
pub fn budget(bytes: u64, part: u64) -> u64 {
    (bytes / EXTRA_SHARE).max(part)
}

/// The parts that gain enough from one more copy, those that gain most first, when no part waits to be begun.
///
/// `rates` are those of the parts that ended, in bytes a millisecond; `left` are the extra bytes still allowed, those of
/// copies under way not counted.
pub fn stragglers(under_way: &[UnderWay], rates: &[f64], left: u64) -> Vec<u32> {
    let shown = under_way.iter().flat_map(|part| part.copies.iter().map(move |copy| (part.length, copy)));
    let shown = shown.filter(|(length, copy)| copy.age_ms >= SHOWS_MS && copy.moved < *length);
    let Some(typical) = median(rates.iter().copied().chain(shown.map(|(_, copy)| copy.rate))) else {
        return Vec::new();
    };
    let mut slow: Vec<(&UnderWay, f64)> = under_way
        .iter()
        .filter(|part| part.copies.len() < COPIES_MAX && part.copies.iter().all(|copy| copy.age_ms >= SHOWS_MS))
        .map(|part| (part, part.left_ms()))
        .filter(|(part, left_ms)| part.length as f64 / typical.max(0.5) < left_ms * WORTH)
        .collect();
    slow.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut at_risk: u64 = under_way.iter().map(UnderWay::at_risk).sum();
    slow.retain(|(part, _)| {
        // At worst the new copy wins, and the furthest of the others is lost.
        let fits = at_risk + part.furthest() <= left;
        if fits {
            at_risk += part.furthest();
        }
        fits
    });
    slow.iter().map(|(part, _)| part.number).collect()
}

/// The copies that have lost against another of the same part, as number and place: what they would still move is better
/// spent elsewhere.
pub fn losers(under_way: &[UnderWay]) -> Vec<(u32, usize)> {
    let mut lost = Vec::new();
    for part in under_way {
        let shown = || part.copies.iter().enumerate().filter(|(_, copy)| copy.age_ms >= SHOWS_MS);
        // What was just handed over need not have left the kernel.
        let best =
            shown().map(|(_, copy)| copy.left_ms(part.length)).fold(f64::INFINITY, f64::min).max(SHOWS_MS as f64);
        let behind = shown().filter(|(_, copy)| copy.moved < part.length && copy.left_ms(part.length) > best * LOST);
        lost.extend(behind.map(|(place, _)| (part.number, place)));
    }
    lost
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
        let copy = Copy { moved, age_ms, rate: moved as f64 / age_ms as f64, handed_over_ms: 0 };
        UnderWay { number, length: PART, copies: vec![copy] }
    }

    #[test]
    fn the_slowest_of_many_are_sent_again() {
        let rates = [800.0; 20];
        let under_way = [part(1, PART / 2, 10_000), part(2, PART / 50, 10_000), part(3, PART / 90, 10_000)];
        assert_eq!(stragglers(&under_way, &rates, PART), [3, 2], "the first ends as soon as a fresh copy would");
        assert_eq!(stragglers(&under_way, &rates, PART / 40), [3], "the budget is what may be lost");
        let mut twice = under_way[1].clone();
        twice.copies.push(twice.copies[0]);
        assert_eq!(stragglers(&[twice.clone()], &rates, PART), [2]);
        twice.copies.push(twice.copies[0]);
        assert!(stragglers(&[twice], &rates, u64::MAX).is_empty(), "three copies are enough");
    }

    #[test]
    fn what_keeps_up_is_left_alone() {
        let rates = [800.0; 20];
        assert!(stragglers(&[part(1, PART / 2, 5_500)], &rates, u64::MAX).is_empty());
        assert!(stragglers(&[part(1, 0, 100)], &rates, u64::MAX).is_empty(), "it has not had time to show");
        assert!(stragglers(&[part(1, PART, 60_000)], &rates, u64::MAX).is_empty(), "its answer is on the way");
        assert!(stragglers(&[], &rates, u64::MAX).is_empty());
        let mut fresh = part(1, PART / 90, 10_000);
        fresh.copies.push(Copy { moved: 0, age_ms: 500, rate: 0.0, handed_over_ms: 0 });
        assert!(stragglers(&[fresh], &rates, u64::MAX).is_empty(), "the second has not had time to show");
    }

    #[test]
    fn what_was_handed_over_long_ago_is_sent_again() {
        let rates = [800.0; 20];
        let mut silent = part(1, PART, 60_000);
        silent.copies[0].handed_over_ms = 30_000;
        assert_eq!(stragglers(&[silent], &rates, PART), [1]);
    }

    #[test]
    fn who_has_lost_is_told_and_the_best_never_is() {
        let mut twice = part(1, PART / 50, 10_000);
        assert!(losers(std::slice::from_ref(&twice)).is_empty());
        twice.copies.push(Copy { moved: PART / 2, age_ms: 4_000, rate: 900.0, handed_over_ms: 0 });
        assert_eq!(losers(std::slice::from_ref(&twice)), [(1, 0)]);
        twice.copies[1].moved = PART;
        let nearly = Copy { moved: PART * 99 / 100, age_ms: 10_000, rate: 800.0, handed_over_ms: 0 };
        assert!(losers(&[UnderWay { copies: vec![nearly, twice.copies[1]], ..part(1, 0, 1) }]).is_empty());
        twice.copies[1].age_ms = 1_000;
        assert!(losers(&[twice]).is_empty(), "the second has not had time to show");
    }

    #[test]
    fn a_budget_is_a_quarter_but_always_one_part() {
        assert_eq!(budget(PART, PART), PART);
        assert_eq!(budget(100 * PART, PART), 25 * PART);
    }
}
