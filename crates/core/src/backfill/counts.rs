//! What a scan saw, in numbers that add up.

use crate::classify::Class;
use crate::layout::{OBJECT_MAX, RANGES_MAX, ranges_for};
use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign};

/// Largest size of each class of [`Histogram`] but the last, in bytes: nothing, then powers of 4 from 1 KiB to 1 TiB.
pub const SIZE_CLASSES: [u64; 17] = {
    let mut classes = [0; 17];
    let mut index = 1;
    while index < classes.len() {
        classes[index] = 1 << (10 + 2 * (index - 1));
        index += 1;
    }
    classes
};

/// Objects by size: how many of each class, and their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    /// `[objects, bytes]` of the classes of [`SIZE_CLASSES`] and of what is above. Classes at the end that hold nothing
    /// are left out.
    classes: Vec<[u64; 2]>,
}

impl Histogram {
    /// Counts one object.
    pub fn add(&mut self, size: u64) {
        let class = SIZE_CLASSES.partition_point(|largest| *largest < size);
        if self.classes.len() <= class {
            self.classes.resize(class + 1, [0, 0]);
        }
        self.classes[class][0] += 1;
        self.classes[class][1] += size;
    }

    /// Each class that is not above the largest object: its largest size (`None` for what is above all), objects, bytes.
    pub fn classes(&self) -> impl Iterator<Item = (Option<u64>, u64, u64)> {
        self.classes
            .iter()
            .enumerate()
            .map(|(class, [objects, bytes])| (SIZE_CLASSES.get(class).copied(), *objects, *bytes))
    }
}

impl AddAssign<&Histogram> for Histogram {
    fn add_assign(&mut self, other: &Histogram) {
        if self.classes.len() < other.classes.len() {
            self.classes.resize(other.classes.len(), [0, 0]);
        }
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            mine[0] += theirs[0];
            mine[1] += theirs[1];
        }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What a scan saw. Adding two adds each field.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Counts {
            $($(#[$doc])* #[serde(skip_serializing_if = "is_zero")] pub $field: u64,)*
            /// Offered objects by size.
            pub sizes: Histogram,
        }

        impl AddAssign<&Counts> for Counts {
            fn add_assign(&mut self, other: &Counts) {
                $(self.$field += other.$field;)*
                self.sizes += &other.sizes;
            }
        }
    };
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

counts! {
    /// Objects of the source under the route's prefix.
    listed,
    /// Their bytes.
    listed_bytes,
    /// Left out by a filter.
    excluded,
    /// The destination holds the same.
    unchanged,
    /// Of those, the ones of equal size of which nothing more is known.
    unproven,
    /// The destination holds something, and the route never overwrites.
    exists,
    /// Written to manifests.
    offered,
    /// Their bytes.
    offered_bytes,
    /// Of the offered, those that go in parts.
    offered_large,
    /// Bytes of those.
    large_bytes,
    /// Parts of those.
    parts,
    /// Of the large ones, those that were uploaded in parts, whose layout is mirrored.
    mirrored,
    /// Ranges of the large ones, which functions copy at once.
    ranges,
    /// Of those, the ones of mirrored layouts.
    mirrored_ranges,
    /// Of the large ones, those beyond S3's limit, which will fail.
    too_large,
    /// Of the offered that go whole, those under whose key the destination holds another object: it is looked at before
    /// they are written.
    differing,
    /// Of the offered, those in a storage class that has to be restored before a read.
    archived,
    /// Offered objects whose size the list of keys did not tell.
    unsized_objects,
    /// Objects that the destination held under the route's prefix.
    destination_listed,
    /// Of those, the ones that the source lacks.
    extra,
    /// Of those, the ones that will be removed.
    deletions,
    /// Pages listed at the source.
    source_pages,
    /// Pages listed at the destination.
    destination_pages,
    /// HEADs sent to compare checksums, on both sides together.
    heads,
    /// Records of the ledger read to compare.
    ledger_reads,
    /// Manifests written.
    manifests,
}

impl Counts {
    /// Counts an object that is offered. `parts` is how many it will be sent in; `mirrored` if as its source was.
    pub fn offer(&mut self, size: Option<u64>, parts: u64, mirrored: bool) {
        self.offered += 1;
        let Some(size) = size else {
            self.unsized_objects += 1;
            return;
        };
        self.offered_bytes += size;
        self.sizes.add(size);
        if Class::of(size) == Class::Large {
            self.offered_large += 1;
            self.large_bytes += size;
            self.parts += parts;
            self.mirrored += u64::from(mirrored);
            let ranges = ranges_of(size, parts);
            self.ranges += ranges;
            self.mirrored_ranges += if mirrored { ranges } else { 0 };
            self.too_large += u64::from(size > OBJECT_MAX);
        }
    }

    /// True if every listed object is accounted for.
    pub fn add_up(&self) -> bool {
        self.listed == self.excluded + self.unchanged + self.exists + self.offered
    }
}

/// The ranges that `plan` lays out where nothing is held, nothing else is in the manifest, and no option says less.
fn ranges_of(size: u64, parts: u64) -> u64 {
    let most = ranges_for(size, RANGES_MAX) as u64;
    parts.div_ceil(parts.div_ceil(most).max(1))
}

impl Add<&Counts> for Counts {
    type Output = Self;
    fn add(mut self, other: &Counts) -> Self {
        self += other;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_classes() {
        let mut histogram = Histogram::default();
        for size in [0, 1, 1024, 1025, 1 << 40, (1 << 40) + 1] {
            histogram.add(size);
        }
        let classes: Vec<_> = histogram.classes().filter(|(_, objects, _)| *objects > 0).collect();
        let above = (None, 1, (1 << 40) + 1);
        assert_eq!(
            classes,
            [(Some(0), 1, 0), (Some(1024), 2, 1025), (Some(4096), 1, 1025), (Some(1 << 40), 1, 1 << 40), above]
        );
        let mut sum = Histogram::default();
        sum += &histogram;
        assert_eq!(sum, histogram);
    }

    #[test]
    fn counts_add_up() {
        let mut counts = Counts { listed: 3, unchanged: 1, ..Counts::default() };
        counts.offer(Some(5), 1, false);
        assert!(!counts.add_up());
        counts.offer(Some(20 << 20), 3, true);
        assert!(counts.add_up());
        assert_eq!((counts.parts, counts.mirrored, counts.offered_large, counts.ranges), (3, 1, 1, 1));
    }

    #[test]
    fn ranges_are_those_of_plan() {
        use crate::layout::{HeldParts, MIB, PART_DEFAULT, PartLayout};
        for mib in [9, 64, 65, 100, 1_000, 10_000, 1_000_000] {
            let layout = PartLayout::new(mib * MIB, PART_DEFAULT);
            let Ok(layout) = layout else { panic!("{layout:?}") };
            let laid = HeldParts::none(&layout).missing_ranges(ranges_for(mib * MIB, RANGES_MAX)).len() as u64;
            assert_eq!(ranges_of(mib * MIB, u64::from(layout.count())), laid, "{mib} MiB");
        }
    }
}
