//! How a large object is cut into parts, and which parts are missing.

use crate::etag::{ETag, Encryption};
use serde::{Deserialize, Serialize};

/// One MiB in bytes.
pub const MIB: u64 = 1024 * 1024;
/// Most parts of an upload. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const PARTS_MAX: u32 = 10_000;
/// Smallest part but the last, in bytes (same page).
pub const PART_MIN: u64 = 5 * MIB;
/// Largest part, in bytes (same page: 5 GiB).
pub const PART_MAX: u64 = 5 * 1024 * MIB;
/// Largest object, in bytes: 10,000 parts of 5 GiB, 48.8 TiB (same page).
pub const OBJECT_MAX: u64 = PARTS_MAX as u64 * PART_MAX;
/// Part size where nothing asks for another, in bytes.
pub const PART_DEFAULT: u64 = 8 * MIB;
/// Largest part of the source that is mirrored, in bytes: a larger one costs too much when it has to be repeated.
pub const MIRROR_MAX: u64 = 512 * MIB;
/// Bytes a range is given where the object is small, so that it is worth an invocation.
pub const RANGE_MIN_BYTES: u64 = 64 * MIB;
/// Most ranges of one object: an inline Map runs at most 40 iterations at once.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html>
pub const RANGES_MAX: usize = 40;

/// A layout that S3 would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The object is larger than [`OBJECT_MAX`].
    TooLarge(u64),
    /// An upload of parts has at least one byte.
    Empty,
}

impl std::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(size) => write!(f, "{size} bytes are more than the {OBJECT_MAX} of 10,000 parts of 5 GiB"),
            Self::Empty => f.write_str("an empty object has no parts"),
        }
    }
}

impl std::error::Error for LayoutError {}

/// The parts of one object: all of the same size but the last. Always within S3's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "RawLayout")]
pub struct PartLayout {
    size: u64,
    part_size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLayout {
    size: u64,
    part_size: u64,
}

impl TryFrom<RawLayout> for PartLayout {
    type Error = String;
    fn try_from(raw: RawLayout) -> Result<Self, String> {
        let layout = Self { size: raw.size, part_size: raw.part_size };
        let fits = raw.size > 0
            && raw.part_size > 0
            && raw.part_size <= PART_MAX
            && raw.size.div_ceil(raw.part_size) <= u64::from(PARTS_MAX);
        if fits { Ok(layout) } else { Err(format!("{} bytes in parts of {} is no layout", raw.size, raw.part_size)) }
    }
}

impl PartLayout {
    /// Parts of `wanted` bytes (rounded into S3's limits), or larger where 10,000 of them do not suffice.
    pub fn new(size: u64, wanted: u64) -> Result<Self, LayoutError> {
        if size == 0 {
            return Err(LayoutError::Empty);
        }
        if size > OBJECT_MAX {
            return Err(LayoutError::TooLarge(size));
        }
        // Whole MiB keep the numbers readable; at 48.8 TiB the quotient is exactly 5 GiB.
        let least = size.div_ceil(u64::from(PARTS_MAX)).div_ceil(MIB) * MIB;
        Ok(Self { size, part_size: wanted.clamp(PART_MIN, PART_MAX).max(least).min(PART_MAX) })
    }

    /// The source's own layout, if it may be mirrored (SEMANTICS.md, rule 7): the number of parts is reported, is the
    /// suffix of the ETag and is what the first part's size gives, and S3 would accept it.
    pub fn mirrored(size: u64, etag: &ETag, parts_count: Option<u32>, first_part: u64) -> Option<Self> {
        let parts = parts_count?;
        let allowed = first_part > 0 && first_part <= MIRROR_MAX && (parts == 1 || first_part >= PART_MIN);
        (size > 0
            && allowed
            && parts <= PARTS_MAX
            && etag.parts_suffix() == Some(parts)
            && size.div_ceil(first_part) == u64::from(parts))
        .then_some(Self { size, part_size: first_part })
    }

    /// Bytes of the object.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of every part but the last.
    pub fn part_size(&self) -> u64 {
        self.part_size
    }

    /// Number of parts, 1 to 10,000.
    pub fn count(&self) -> u32 {
        // Within u32 by construction.
        self.size.div_ceil(self.part_size) as u32
    }

    /// The bytes of part `number` (from 1), as offset and length; `None` if there is no such part.
    pub fn part(&self, number: u32) -> Option<(u64, u64)> {
        if number == 0 || number > self.count() {
            return None;
        }
        let offset = u64::from(number - 1) * self.part_size;
        Some((offset, self.part_size.min(self.size - offset)))
    }

    /// The bytes of all parts of `range`.
    pub fn bytes_of(&self, range: PartRange) -> u64 {
        let first = self.part(range.first).map_or(0, |(offset, _)| offset);
        let last = self.part(range.last).map_or(first, |(offset, length)| offset + length);
        last - first
    }

    /// True if a composed ETag of this layout can equal `etag` of an object with that encryption.
    pub fn comparable(&self, etag: &ETag, encryption: Encryption) -> bool {
        encryption == Encryption::Plain && etag.parts_suffix() == Some(self.count())
    }
}

/// Parts `first` to `last`, both included; parts in between may be held already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartRange {
    /// First part number, from 1.
    pub first: u32,
    /// Last part number.
    pub last: u32,
}

impl PartRange {
    /// Number of part numbers in the range.
    pub fn len(&self) -> u32 {
        (self.last + 1).saturating_sub(self.first)
    }

    /// True if it names no part.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which parts of a layout are held.
#[derive(Clone, Debug)]
pub struct HeldParts {
    held: Vec<bool>,
}

impl HeldParts {
    /// No part is held.
    pub fn none(layout: &PartLayout) -> Self {
        Self { held: vec![false; layout.count() as usize] }
    }

    /// Marks part `number`; numbers outside of the layout are ignored.
    pub fn insert(&mut self, number: u32) {
        if let Some(held) = (number as usize).checked_sub(1).and_then(|index| self.held.get_mut(index)) {
            *held = true;
        }
    }

    /// The missing part numbers, ascending.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        self.held.iter().enumerate().filter(|(_, held)| !**held).map(|(index, _)| index as u32 + 1)
    }

    /// The missing parts as at most `most` ranges of about the same number of missing parts each.
    ///
    /// Every missing part is in exactly one range; a range begins and ends with a missing part.
    pub fn missing_ranges(&self, most: usize) -> Vec<PartRange> {
        let missing: Vec<u32> = self.missing().collect();
        if missing.is_empty() || most == 0 {
            return Vec::new();
        }
        let each = missing.len().div_ceil(most);
        missing.chunks(each).map(|parts| PartRange { first: parts[0], last: parts[parts.len() - 1] }).collect()
    }
}

/// How many ranges an object with this many missing bytes is worth.
pub fn ranges_for(missing_bytes: u64, most: usize) -> usize {
    usize::try_from(missing_bytes.div_ceil(RANGE_MIN_BYTES)).unwrap_or(usize::MAX).clamp(1, most.clamp(1, RANGES_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_layout_is_one_s3_accepts(size in 1..=OBJECT_MAX, wanted in 0..2 * PART_MAX) {
            let layout = PartLayout::new(size, wanted).unwrap();
            prop_assert!(layout.count() >= 1 && layout.count() <= PARTS_MAX);
            prop_assert!((PART_MIN..=PART_MAX).contains(&layout.part_size()));
            let (offset, length) = layout.part(layout.count()).unwrap();
            prop_assert_eq!(offset + length, size);
            prop_assert!(length > 0);
            prop_assert_eq!(layout.part(layout.count() + 1), None);
            let text = serde_json::to_string(&layout).unwrap();
            prop_assert_eq!(serde_json::from_str::<PartLayout>(&text).unwrap(), layout);
        }

        #[test]
        fn ranges_cover_each_missing_part_once(size in 1..2_000u64, held in prop::collection::vec(1..2_500u32, 0..2_000), most in 1..60usize) {
            let layout = PartLayout::new(size * PART_DEFAULT, PART_DEFAULT).unwrap();
            let mut parts = HeldParts::none(&layout);
            for number in held { parts.insert(number); }
            let ranges = parts.missing_ranges(most);
            prop_assert!(ranges.len() <= most);
            for number in parts.missing() {
                prop_assert_eq!(ranges.iter().filter(|r| r.first <= number && number <= r.last).count(), 1);
            }
            for pair in ranges.windows(2) { prop_assert!(pair[0].last < pair[1].first); }
            prop_assert_eq!(parts.missing().next().is_none(), ranges.is_empty());
        }
    }

    #[test]
    fn limits_are_reached_and_not_passed() {
        assert_eq!(PartLayout::new(0, PART_DEFAULT), Err(LayoutError::Empty));
        assert_eq!(PartLayout::new(OBJECT_MAX + 1, 1), Err(LayoutError::TooLarge(OBJECT_MAX + 1)));
        let largest = PartLayout::new(OBJECT_MAX, PART_DEFAULT).unwrap();
        assert_eq!((largest.count(), largest.part_size()), (PARTS_MAX, PART_MAX));
        assert_eq!(PartLayout::new(80 * 1024 * MIB, PART_DEFAULT).unwrap().part_size(), 9 * MIB);
    }

    #[test]
    fn rule_07_a_layout_is_mirrored_only_if_all_three_numbers_agree() {
        let etag = ETag::new("d41d8cd98f00b204e9800998ecf8427e-3");
        let mirrored = |count, first| PartLayout::mirrored(40 * MIB, &etag, count, first);
        assert_eq!(mirrored(Some(3), 16 * MIB).unwrap().part_size(), 16 * MIB);
        assert_eq!(mirrored(None, 16 * MIB), None);
        assert_eq!(mirrored(Some(2), 16 * MIB), None);
        assert_eq!(mirrored(Some(3), 8 * MIB), None);
        assert_eq!(PartLayout::mirrored(10, &etag, Some(3), 4), None, "parts below 5 MiB are refused by S3");
        assert_eq!(PartLayout::mirrored(3 * 600 * MIB, &etag, Some(3), 600 * MIB), None, "too large to repeat");
    }

    #[test]
    fn a_layout_that_s3_refuses_is_not_read_back() {
        assert!(serde_json::from_str::<PartLayout>(r#"{"size":10,"partSize":0}"#).is_err());
        assert!(serde_json::from_str::<PartLayout>(r#"{"size":100000,"partSize":1}"#).is_err());
    }
}
