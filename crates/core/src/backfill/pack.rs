//! Gathers what is offered into manifests.
//!
//! Everything goes into one pile in the order in which it is offered, so that each manifest closes all that stands
//! before it, and none is ever open while a later one is written.

use super::manifest::{Deletion, LARGE_BYTES_MAX, LARGE_OBJECTS_MAX, SMALL_BYTES_MAX, SMALL_OBJECTS_MAX};
use crate::classify::Class;
use crate::contract::PLAN_OBJECTS_MAX;
use crate::etag::ETag;
use crate::layout::{MIRROR_MAX, PART_DEFAULT, PART_MIN, PARTS_MAX, PartLayout};
use crate::request::ObjectRef;

/// Most deletions of a manifest, so that they fit in memory.
pub const DELETIONS_MAX: usize = 5_000;

/// What one manifest will hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pile {
    /// Objects to migrate.
    pub objects: Vec<ObjectRef>,
    /// Their bytes, as far as they are known.
    pub bytes: u64,
    /// Destination objects to remove.
    pub deletions: Vec<Deletion>,
}

impl Pile {
    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.deletions.is_empty()
    }
}

/// The pile that grows, and how full it is.
#[derive(Clone, Debug, Default)]
pub struct Packer {
    pile: Pile,
    small: usize,
    small_bytes: u64,
    large: usize,
    large_bytes: u64,
}

impl Packer {
    /// False if the pile has to be taken before an object of `size` bytes is added. One of unknown size counts as small.
    pub fn has_room(&self, size: Option<u64>) -> bool {
        let size = size.unwrap_or(0);
        match self.pile.objects.len() {
            0 => return true,
            // One more would go to a successor of the execution that carries the manifest out.
            PLAN_OBJECTS_MAX.. => return false,
            _ => {}
        }
        if Class::of(size) == Class::Large {
            // So an object of LARGE_BYTES_MAX goes alone.
            self.large < LARGE_OBJECTS_MAX && self.large_bytes + size <= LARGE_BYTES_MAX && size < LARGE_BYTES_MAX
        } else {
            let alone = self.large_bytes >= LARGE_BYTES_MAX;
            self.small < SMALL_OBJECTS_MAX && self.small_bytes + size <= SMALL_BYTES_MAX && !alone
        }
    }

    /// Adds an object, for which there has to be room.
    pub fn offer(&mut self, object: ObjectRef) {
        let size = object.size.unwrap_or(0);
        if Class::of(size) == Class::Large {
            self.large += 1;
            self.large_bytes += size;
        } else {
            self.small += 1;
            self.small_bytes += size;
        }
        self.pile.bytes += size;
        self.pile.objects.push(object);
    }

    /// False if the pile has to be taken before a deletion is added.
    pub fn has_room_for_deletion(&self) -> bool {
        self.pile.deletions.len() < DELETIONS_MAX
    }

    /// Adds a deletion, for which there has to be room.
    pub fn delete(&mut self, deletion: Deletion) {
        self.pile.deletions.push(deletion);
    }

    /// True if there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.pile.is_empty()
    }

    /// The pile; a new one begins.
    pub fn take(&mut self) -> Pile {
        std::mem::take(self).pile
    }
}

/// In how many parts an object will be sent, and whether in those of its source, as far as a listing tells: `plan` asks
/// for the size of the first part besides.
pub fn parts_of(size: u64, etag: Option<&ETag>, part_size: Option<u64>) -> (u64, bool) {
    if let Some(parts) = etag.and_then(ETag::parts_suffix)
        && is_plausible(size, parts)
    {
        return (u64::from(parts), true);
    }
    let layout = PartLayout::new(size, part_size.unwrap_or(PART_DEFAULT));
    (layout.map_or(0, |layout| u64::from(layout.count())), false)
}

/// True if some part size that may be mirrored gives `size` bytes so many parts.
fn is_plausible(size: u64, parts: u32) -> bool {
    let least = size.div_ceil(u64::from(parts).max(1));
    let most = match u64::from(parts) {
        0 | 1 => size,
        parts => (size.saturating_sub(1)) / (parts - 1),
    };
    parts <= PARTS_MAX && least <= most && least <= MIRROR_MAX && (parts == 1 || most >= PART_MIN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::classify::SMALL_MAX;
    use proptest::prelude::*;

    fn object(number: usize, size: Option<u64>) -> ObjectRef {
        ObjectRef { bucket: "b".into(), key: format!("{number:05}"), size, ..ObjectRef::default() }
    }

    fn packed(sizes: &[Option<u64>]) -> Vec<Pile> {
        let (mut packer, mut piles) = (Packer::default(), Vec::new());
        for (number, size) in sizes.iter().enumerate() {
            if !packer.has_room(*size) {
                piles.push(packer.take());
            }
            packer.offer(object(number, *size));
        }
        if !packer.is_empty() {
            piles.push(packer.take());
        }
        piles
    }

    fn any_size() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![
            1 => Just(None),
            6 => (0..=SMALL_MAX).prop_map(Some),
            2 => (SMALL_MAX..LARGE_BYTES_MAX / 3).prop_map(Some),
            1 => (LARGE_BYTES_MAX / 2..2 * LARGE_BYTES_MAX).prop_map(Some),
        ]
    }

    proptest! {
        #[test]
        fn manifests_hold_everything_in_order_and_within_limits(sizes in prop::collection::vec(any_size(), 0..400)) {
            let piles = packed(&sizes);
            let keys: Vec<String> = piles.iter().flat_map(|pile| &pile.objects).map(|object| object.key.clone()).collect();
            prop_assert_eq!(keys, (0..sizes.len()).map(|number| format!("{number:05}")).collect::<Vec<_>>());
            for pile in &piles {
                let (large, small): (Vec<u64>, Vec<u64>) = pile
                    .objects
                    .iter()
                    .map(|object| object.size.unwrap_or(0))
                    .partition(|size| Class::of(*size) == Class::Large);
                prop_assert!(large.len() <= LARGE_OBJECTS_MAX && small.len() <= SMALL_OBJECTS_MAX);
                prop_assert!(pile.objects.len() <= PLAN_OBJECTS_MAX);
                prop_assert!(small.iter().sum::<u64>() <= SMALL_BYTES_MAX);
                let large_bytes: u64 = large.iter().sum();
                prop_assert!(large_bytes <= LARGE_BYTES_MAX || pile.objects.len() == 1);
                prop_assert_eq!(pile.bytes, large_bytes + small.iter().sum::<u64>());
            }
        }
    }

    #[test]
    fn piles_are_as_full_as_they_may_be() {
        let counts = |sizes: &[Option<u64>]| packed(sizes).iter().map(|pile| pile.objects.len()).collect::<Vec<_>>();
        assert_eq!(counts(&[Some(1); 2 * SMALL_OBJECTS_MAX + 1]), [SMALL_OBJECTS_MAX, SMALL_OBJECTS_MAX, 1]);
        assert_eq!(counts(&[Some(SMALL_MAX + 1); LARGE_OBJECTS_MAX + 1]), [LARGE_OBJECTS_MAX, 1]);
        assert_eq!(counts(&[Some(1), Some(LARGE_BYTES_MAX), Some(1)]), [1, 1, 1], "a huge one goes alone");
        assert_eq!(counts(&[None; 3]), [3]);
        let mut mixed = vec![Some(SMALL_MAX + 1); LARGE_OBJECTS_MAX - 1];
        mixed.resize(PLAN_OBJECTS_MAX, Some(1));
        mixed.push(Some(SMALL_MAX + 1));
        assert_eq!(counts(&mixed), [PLAN_OBJECTS_MAX, 1], "what one plan looks at");
        let mut packer = Packer::default();
        for _ in 0..DELETIONS_MAX {
            assert!(packer.has_room_for_deletion());
            packer.delete(Deletion { delete: "d".into(), source_key: "s".into(), etag: ETag::new("e"), size: 1 });
        }
        assert!(!packer.has_room_for_deletion() && packer.has_room(Some(1)));
    }

    #[test]
    fn parts_are_counted_as_plan_would_lay_them_out() {
        const MIB: u64 = 1 << 20;
        let etag = |parts: u32| Some(ETag::new(&format!("d41d8cd98f00b204e9800998ecf8427e-{parts}")));
        assert_eq!(parts_of(40 * MIB, None, None), (5, false));
        assert_eq!(parts_of(40 * MIB, None, Some(20 * MIB)), (2, false));
        assert_eq!(parts_of(40 * MIB, etag(3).as_ref(), None), (3, true));
        assert_eq!(parts_of(40 * MIB, etag(1).as_ref(), None), (1, true));
        assert_eq!(parts_of(40 * MIB, etag(30).as_ref(), None), (5, false), "parts below 5 MiB");
        assert_eq!(parts_of(4096 * MIB, etag(2).as_ref(), None), (512, false), "parts too large to repeat");
    }
}
