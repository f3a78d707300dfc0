//! Buckets whose keys are computed and not stored, to list millions of them.
//!
//! `keys-N` holds N objects. `keys-N-copy` is its copy, of which one object in a thousand has another ETag, one is
//! missing, and one is there that the first lacks.

use crate::listing::{Line, Page};
use std::fmt::Write as _;

/// Objects of an hour: a folder.
const HOUR: u64 = 1_000;

/// A bucket of computed keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generated {
    count: u64,
    copy: bool,
}

impl Generated {
    /// The bucket of this name, if it is one of these.
    pub(crate) fn of(bucket: &str) -> Option<Self> {
        let name = bucket.strip_prefix("keys-")?;
        let (count, copy) = name.strip_suffix("-copy").map_or((name, false), |count| (count, true));
        Some(Self { count: count.parse().ok()?, copy })
    }

    /// Key `number`; they ascend with their numbers.
    fn key(self, number: u64) -> String {
        let (hours, within) = (number / HOUR, number % HOUR);
        let (year, month, day) = (2000 + hours / 24 / 336, hours / 24 % 336 / 28 + 1, hours / 24 % 28 + 1);
        let mut key = String::with_capacity(80);
        let _ = write!(
            key,
            "events/dt={year}-{month:02}-{day:02}/hour={:02}/part-{within:05}-{:016x}.c000.parquet",
            hours % 24,
            mixed(number)
        );
        if self.copy && number % 1_000 == 501 {
            key.push('~');
        }
        key
    }

    fn line(self, number: u64) -> Line<'static> {
        let (one, other) = (mixed(number), mixed(!number ^ u64::from(self.copy && number % 1_000 == 7)));
        let seconds = number % 60;
        Line {
            key: self.key(number).into(),
            when: format!("2026-10-{:02}T05:{:02}:{seconds:02}.000Z", number % 31 + 1, number / 60 % 60).into(),
            etag: format!("\"{one:016x}{other:016x}\"").into(),
            size: mixed(number ^ 5) % 400_000,
        }
    }

    /// The first number whose key is not below `text`, or with `text` itself where `behind`.
    fn bound(self, text: &str, behind: bool) -> u64 {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            let key = self.key(middle);
            if key.as_str() < text || behind && key == text {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    /// The first number whose key does not begin with `prefix`, of those behind it.
    fn end(self, prefix: &str) -> u64 {
        let mut last = prefix.to_owned();
        // Keys are ASCII.
        match last.pop() {
            None => self.count,
            Some(char) => {
                last.push(char::from_u32(u32::from(char) + 1).unwrap_or(char));
                self.bound(&last, false)
            }
        }
    }

    /// A page, as of any bucket.
    pub(crate) fn page(self, prefix: &str, delimiter: &str, after: &str, most: usize) -> Page<'static> {
        let mut page = Page::default();
        let mut number = if after < prefix { self.bound(prefix, false) } else { self.bound(after, true) };
        let end = self.end(prefix);
        while number < end {
            let key = self.key(number);
            let group = key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty());
            let group = group.map(|at| &key[..prefix.len() + at + delimiter.len()]);
            let named = group.is_some_and(|group| after.starts_with(group));
            if !named && page.lines.len() + page.prefixes.len() == most {
                page.next = number.checked_sub(1).map(|before| self.key(before).into());
                break;
            }
            match group {
                None => {
                    page.lines.push(self.line(number));
                    number += 1;
                }
                Some(group) => {
                    number = self.end(group);
                    if !named {
                        page.prefixes.push(group.to_owned().into());
                    }
                }
            }
            // One that the copy lacks; HOUR divides the thousand.
            if self.copy && number % 1_000 == 900 {
                number += 1;
            }
        }
        page
    }
}

/// A number that looks like chance: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bucket: Generated, delimiter: &str, prefix: &str, most: usize) -> (Vec<String>, Vec<String>) {
        let (mut keys, mut groups, mut after) = (vec![], vec![], String::new());
        loop {
            let page = bucket.page(prefix, delimiter, &after, most);
            keys.extend(page.lines.iter().map(|line| line.key.to_string()));
            groups.extend(page.prefixes.iter().map(ToString::to_string));
            match page.next {
                Some(next) => after = next.into_owned(),
                None => return (keys, groups),
            }
        }
    }

    #[test]
    fn names_of_buckets_say_what_they_hold() {
        assert_eq!(Generated::of("keys-7"), Some(Generated { count: 7, copy: false }));
        assert_eq!(Generated::of("keys-7-copy"), Some(Generated { count: 7, copy: true }));
        assert_eq!(Generated::of("keys-x"), None);
        assert_eq!(Generated::of("one-1gib"), None);
    }

    #[test]
    fn pages_ascend_and_miss_nothing() {
        let (source, copy) = (Generated { count: 30_000, copy: false }, Generated { count: 30_000, copy: true });
        let (keys, groups) = all(source, "", "", 777);
        assert_eq!((keys.len(), groups.len()), (30_000, 0));
        assert!(keys.is_sorted_by(|one, other| one < other));
        let (copies, _) = all(copy, "", "", 1_000);
        assert!(copies.is_sorted_by(|one, other| one < other));
        assert_eq!(copies.len(), 30_000 - 30);
        assert_eq!(copies.iter().filter(|key| key.ends_with('~')).count(), 30);
        let (keys, groups) = all(source, "/", "events/", 1);
        assert_eq!((keys.len(), groups.len()), (0, 2));
        assert_eq!(all(source, "/", "events/dt=2000-01-01/", 7).1.len(), 24);
        assert_eq!(all(source, "/", "events/dt=2000-01-01/hour=03/", 100).0.len(), 1_000);
        assert_eq!(all(source, "", "nothing", 100).0.len(), 0);
    }
}
