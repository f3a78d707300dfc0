//! Two listings as one, in constant memory, and what becomes of each pair.

use super::request::Compare;
use crate::config::Overwrite;
use crate::etag::ETag;
use std::cmp::Ordering;
use std::fmt;

/// Whose entry comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Only the source has the key.
    Source,
    /// Only the destination has it.
    Destination,
    /// Both have it.
    Both,
}

/// Whose of the next keys comes first, by their bytes; `None` if neither side has any.
///
/// Keys are given behind the prefix of their side: a prefix that all keys of a side share does not change their order,
/// so what is left of both sides compares as the keys would, mapped from one side to the other.
pub fn turn(source: Option<&str>, destination: Option<&str>) -> Option<Turn> {
    match (source, destination) {
        (None, None) => None,
        (Some(_), None) => Some(Turn::Source),
        (None, Some(_)) => Some(Turn::Destination),
        (Some(source), Some(destination)) => Some(match source.as_bytes().cmp(destination.as_bytes()) {
            Ordering::Less => Turn::Source,
            Ordering::Greater => Turn::Destination,
            Ordering::Equal => Turn::Both,
        }),
    }
}

/// Sees to it that the keys of a listing ascend by their bytes: on nothing else does a merge rest.
#[derive(Clone, Debug, Default)]
pub struct Ordered {
    last: Option<String>,
}

/// Two keys of a listing that stand the wrong way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disorder {
    /// The key that was listed first.
    pub first: String,
    /// The key that was listed behind it.
    pub then: String,
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, then } = self;
        write!(
            f,
            "this store does not list in the order of UTF-8 bytes, so that two listings cannot be compared. Nothing was \
             skipped: the scan stopped before these keys. {then:?} was listed behind {first:?}"
        )
    }
}

impl Ordered {
    /// Of a listing that was asked for the keys behind `key`.
    pub fn behind(key: Option<&str>) -> Self {
        Self { last: key.map(str::to_owned) }
    }

    /// Takes the next keys of the listing: each has to be above the one before it.
    pub fn check<'k>(&mut self, keys: impl IntoIterator<Item = &'k str>) -> Result<(), Disorder> {
        let mut before: Option<&'k str> = None;
        for key in keys {
            if let Some(last) = before.or(self.last.as_deref())
                && last.as_bytes() >= key.as_bytes()
            {
                return Err(Disorder { first: last.to_owned(), then: key.to_owned() });
            }
            before = Some(key);
        }
        if let Some(key) = before {
            self.last = Some(key.to_owned());
        }
        Ok(())
    }

    /// The key that was taken last.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }
}

/// What a listing says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Size in bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: &'a str,
}

/// What becomes of a source object at whose place the destination holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is.
    Unchanged {
        /// False if only the sizes say so.
        proven: bool,
    },
    /// It stays, whatever it is.
    Exists,
    /// It differs, or is to be replaced whatever it is.
    Offer,
    /// It is the same if the ledger pairs the two ETags (SEMANTICS.md, rule 10), else it is offered.
    AskLedger,
    /// It is the same if the checksums of both are, else it is offered.
    AskChecksums,
}

/// Compares two listed objects of one place.
///
/// A listing does not tell how an object is encrypted: equal ETags count where they have the form of MD5s, which no two
/// objects share by chance whatever the ETags are made of (rule 6).
pub fn decide(compare: Compare, overwrite: Overwrite, source: Listed<'_>, destination: Listed<'_>) -> Decision {
    if overwrite == Overwrite::Always {
        return Decision::Offer;
    }
    let same_size = source.size == destination.size;
    let same_etag = || {
        source.etag == destination.etag && {
            let etag = ETag::new(source.etag);
            etag.md5_form().is_some() || etag.parts_suffix().is_some()
        }
    };
    let decision = match compare {
        Compare::Always => Decision::Offer,
        _ if !same_size => Decision::Offer,
        Compare::Size => Decision::Unchanged { proven: false },
        Compare::Etag if same_etag() => Decision::Unchanged { proven: true },
        Compare::Etag => Decision::AskLedger,
        Compare::Checksum => Decision::AskChecksums,
    };
    match (overwrite, decision) {
        // Whatever an answer would be, nothing is written.
        (Overwrite::Never, Decision::Offer | Decision::AskLedger | Decision::AskChecksums) => Decision::Exists,
        _ => decision,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_merge_names_every_key_once_and_rightly(
            ours in prop::collection::btree_set("\\PC{0,6}", 0..40),
            theirs in prop::collection::btree_set("\\PC{0,6}", 0..40),
        ) {
            let (mut one, mut other) = (ours.iter().peekable(), theirs.iter().peekable());
            let mut seen: [BTreeSet<String>; 3] = Default::default();
            while let Some(turn) = turn(one.peek().map(|key| key.as_str()), other.peek().map(|key| key.as_str())) {
                let (kind, key) = match turn {
                    Turn::Source => (0, one.next()),
                    Turn::Destination => (1, other.next()),
                    Turn::Both => {
                        other.next();
                        (2, one.next())
                    }
                };
                prop_assert!(seen[kind].insert(key.unwrap().clone()));
            }
            let [source, destination, both] = seen;
            prop_assert_eq!(source, ours.difference(&theirs).cloned().collect());
            prop_assert_eq!(destination, theirs.difference(&ours).cloned().collect());
            prop_assert_eq!(both, ours.intersection(&theirs).cloned().collect());
        }

        #[test]
        fn sorted_keys_are_in_order_however_they_are_paged(
            keys in prop::collection::btree_set("\\PC{0,6}", 0..40),
            page in 1..7usize,
        ) {
            let keys: Vec<String> = keys.into_iter().collect();
            let mut ordered = Ordered::default();
            for page in keys.chunks(page) {
                prop_assert_eq!(ordered.check(page.iter().map(String::as_str)), Ok(()));
            }
            prop_assert_eq!(ordered.last(), keys.last().map(String::as_str));
        }
    }

    #[test]
    fn disorder_names_both_keys() {
        let mut ordered = Ordered::behind(Some("a"));
        assert!(ordered.check(["a"]).is_err(), "the key behind which the listing begins");
        ordered.check(["b", "ba"]).unwrap();
        let told = ordered.check(["c", "B"]).unwrap_err().to_string();
        assert!(told.contains("\"B\" was listed behind \"c\"") && told.contains("UTF-8"), "{told}");
        // In UTF-16, as some stores sort, these two stand the other way round.
        assert!(Ordered::default().check(["\u{1F980}", "\u{FF21}"]).is_err());
        assert!(Ordered::default().check(["\u{FF21}", "\u{1F980}"]).is_ok());
    }

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn what_counts_as_the_same() {
        use {Compare as C, Decision as D, Overwrite as O};
        let one = Listed { size: 5, etag: MD5 };
        let other = Listed { size: 5, etag: "00000000000000000000000000000000" };
        let longer = Listed { size: 6, etag: MD5 };
        let proven = D::Unchanged { proven: true };
        let cases = [
            (C::Size, O::Differs, other, D::Unchanged { proven: false }),
            (C::Size, O::Differs, longer, D::Offer),
            (C::Etag, O::Differs, one, proven),
            (C::Etag, O::Differs, other, D::AskLedger),
            (C::Etag, O::Differs, longer, D::Offer),
            (C::Checksum, O::Differs, one, D::AskChecksums),
            (C::Checksum, O::Differs, longer, D::Offer),
            (C::Always, O::Differs, one, D::Offer),
            (C::Etag, O::Never, one, proven),
            (C::Etag, O::Never, other, D::Exists),
            (C::Etag, O::Never, longer, D::Exists),
            (C::Checksum, O::Never, one, D::Exists),
            (C::Always, O::Never, one, D::Exists),
            (C::Etag, O::Always, one, D::Offer),
        ];
        for (compare, overwrite, destination, decision) in cases {
            assert_eq!(decide(compare, overwrite, one, destination), decision, "{compare:?} {overwrite:?}");
        }
    }

    #[test]
    fn rule_06_equal_etags_that_are_no_digests_prove_nothing() {
        let opaque = Listed { size: 5, etag: "v1" };
        assert_eq!(decide(Compare::Etag, Overwrite::Differs, opaque, opaque), Decision::AskLedger);
        let parts = format!("{MD5}-3");
        let parts = Listed { size: 5, etag: &parts };
        assert_eq!(decide(Compare::Etag, Overwrite::Differs, parts, parts), Decision::Unchanged { proven: true });
    }
}
