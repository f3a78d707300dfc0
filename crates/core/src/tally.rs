//! Counts that can be added up.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign};

macro_rules! tally {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What was done, in numbers of a fixed size. Adding two tallies adds each field.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Tally {
            $($(#[$doc])* #[serde(skip_serializing_if = "is_zero")] pub $field: u64,)*
        }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }

        impl Tally {
            /// The names and values of all fields, as the metrics name them.
            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }
        }
    };
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

tally! {
    /// Objects that arrived, with proof.
    migrated,
    /// Objects that were already there.
    unchanged,
    /// Objects left out for a reason.
    skipped,
    /// Objects that failed and whose request is on the failed queue.
    failed,
    /// Items whose failure could not be recorded.
    unsettled,
    /// Objects handed to a successor execution.
    continued,
    /// Objects of a manifest that a paused or stopped run left alone.
    held,
    /// Bytes of migrated objects.
    bytes,
    /// Bytes read from the source.
    bytes_down,
    /// Bytes the destination acknowledged.
    bytes_up,
    /// Parts the destination acknowledged.
    parts,
    /// Parts found at the destination and not sent again.
    parts_held,
    /// Parts or objects that the destination copied by itself, moving no byte through here.
    server_side,
    /// Repeats of a part or an object after a fault, for whatever cause.
    retries,
    /// Faults because a service asked for fewer requests.
    throttles,
    /// Faults because a connection was lost or a body ended early.
    resets,
    /// Faults because nothing moved for too long.
    stalls,
    /// Faults because a service answered with an error of its own.
    server_errors,
    /// Faults because a digest differed.
    mismatches,
    /// Bodies that ended early or stood still and were read on from where they stopped.
    resumed,
    /// Copies of parts that were begun while another was under way.
    hedges,
    /// Bytes that hedging moved for nothing.
    bytes_hedged,
    /// Milliseconds spent waiting before a repeat, added up over all transfers.
    wait_ms,
}

impl Tally {
    /// Objects with a final outcome.
    pub fn objects(&self) -> u64 {
        self.migrated + self.unchanged + self.skipped + self.failed
    }

    /// True if nothing failed and nothing was lost on the way.
    pub fn all_well(&self) -> bool {
        self.failed == 0 && self.unsettled == 0
    }
}

impl Add for Tally {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_and_stay_small() {
        let one = Tally { migrated: 1, bytes: 7, ..Tally::default() };
        let sum: Tally = [one, one, Tally { failed: 1, ..Tally::default() }].into_iter().sum();
        assert_eq!((sum.migrated, sum.bytes, sum.objects()), (2, 14, 3));
        assert!(!sum.all_well());
        assert_eq!(serde_json::to_string(&one).ok().as_deref(), Some(r#"{"migrated":1,"bytes":7}"#));
    }
}
