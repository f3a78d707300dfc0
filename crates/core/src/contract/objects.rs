//! Small objects, in the state or in manifests.

use super::end::Slowest;
use crate::backfill::run::RunRef;
use crate::config::Route;
use crate::request::{ManifestRef, ObjectRef};
use crate::tally::Tally;
use serde::{Deserialize, Serialize};

/// Small objects of one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Their route.
    pub route: Route,
    /// The execution's id.
    pub execution: String,
    /// The run of a backfill that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
    /// Those without an outcome.
    pub objects: BatchObjects,
    /// Rounds without progress.
    #[serde(default)]
    pub idle: u32,
    /// Counts so far.
    #[serde(default)]
    pub tally: Tally,
    /// Objects that turned out large: for the successor.
    #[serde(default, skip_serializing_if = "Rest::is_empty")]
    pub remaining: Rest,
    /// The slowest copy so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<Slowest>,
}

/// Objects that a successor takes: a few in the state, more in manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// In the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectRef>,
    /// In the work bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestRef>,
}

impl Rest {
    /// True if it names nothing.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.manifests.is_empty()
    }
}

/// The objects of a batch, inline or as lines of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BatchObjects {
    /// In the state.
    Inline(Vec<ObjectRef>),
    /// Lines in the work bucket.
    Manifest(ManifestLines),
}

/// Some lines of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestLines {
    /// Where the lines are.
    pub manifest: ManifestRef,
    /// Which of them, counted from 0 at the manifest's offset: pairs of first and last. All, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<[u32; 2]>>,
}

impl ManifestLines {
    /// True if line `index` is meant.
    pub fn contains(&self, index: u32) -> bool {
        self.lines.as_ref().is_none_or(|lines| lines.iter().any(|[first, last]| (*first..=*last).contains(&index)))
    }
}

/// Ascending numbers as pairs of first and last.
pub fn as_pairs(numbers: impl IntoIterator<Item = u32>) -> Vec<[u32; 2]> {
    let mut pairs: Vec<[u32; 2]> = Vec::new();
    for number in numbers {
        match pairs.last_mut() {
            Some([_, last]) if *last + 1 == number => *last = number,
            _ => pairs.push([number, number]),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn pairs_say_the_same_as_the_numbers(numbers in prop::collection::btree_set(0..300u32, 0..200)) {
            let lines = ManifestLines {
                manifest: ManifestRef { bucket: "w".into(), key: "k".into(), offset: 0, end: None },
                lines: Some(as_pairs(numbers.iter().copied())),
            };
            let back: BTreeSet<u32> = (0..300).filter(|index| lines.contains(*index)).collect();
            prop_assert_eq!(back, numbers);
        }
    }
}
