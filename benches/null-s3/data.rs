//! The objects that the source offers.

use crate::pattern::{ALIGN, PERIOD};

/// An object of the source: its byte at `n` is that of the pattern at `place + n`.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) place: usize,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Sizes of a case's objects.
enum Sizes {
    One(u64),
    Many(usize, u64),
    /// From nothing to 1 KiB.
    Tiny(usize),
}

use Sizes::{Many, One, Tiny};

/// The cases; a bucket is named after each.
const CASES: [(&str, Sizes); 12] = [
    ("one-64mib", One(64 * MIB)),
    ("one-128mib", One(128 * MIB)),
    ("one-256mib", One(256 * MIB)),
    ("one-1gib", One(GIB)),
    ("one-8gib", One(8 * GIB)),
    ("2-4mib", Many(2, 4 * MIB)),
    ("200-4mib", Many(200, 4 * MIB)),
    ("20-64kib", Many(20, 64 * KIB)),
    ("2000-64kib", Many(2_000, 64 * KIB)),
    ("10000-4kib", Many(10_000, 4 * KIB)),
    ("5-tiny", Tiny(5)),
    ("500-tiny", Tiny(500)),
];

/// The names of all cases.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

/// The objects of a case, ascending by key; none if there is no such case.
pub(crate) fn offers(case: &str) -> Vec<Offer> {
    let Some((_, sizes)) = CASES.iter().find(|(name, _)| *name == case) else { return Vec::new() };
    let numbered = |count: usize, step: usize, size: &dyn Fn(usize) -> u64| {
        (0..count)
            .map(|n| Offer { key: format!("d{}/o{n:06}", n / 1_000), size: size(n), place: n * step % PERIOD })
            .collect()
    };
    match *sizes {
        One(size) => vec![Offer { key: "big.bin".to_owned(), size, place: 0 }],
        Many(count, size) => numbered(count, size as usize, &|_| size),
        Tiny(count) => numbered(count, ALIGN, &|n| n as u64 * KIB / (count as u64 - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_what_their_names_say() {
        let shape = |case| {
            let offers = offers(case);
            (offers.len(), offers.iter().map(|offer| offer.size).sum::<u64>())
        };
        assert_eq!(shape("one-8gib"), (1, 8 * GIB));
        assert_eq!(shape("2000-64kib"), (2_000, 125 * MIB));
        assert_eq!(shape("5-tiny"), (5, 2_560));
        assert_eq!(shape("none"), (0, 0));
        for name in names() {
            let offers = offers(name);
            assert!(offers.is_sorted_by(|one, next| one.key < next.key), "{name}");
            assert!(offers.iter().all(|offer| offer.place % ALIGN == 0), "{name}");
        }
    }
}
