//! How an object ended, and the proof of it.

use crate::error::Failure;
use serde::{Deserialize, Serialize};

/// What proves that the destination holds the source's bytes, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// Both sides report the same checksum over the whole object.
    Checksum,
    /// Both sides report the same ETag, and it is made of MD5s.
    Etag,
    /// The destination verified every part, or returned the MD5 that was computed on the way, or its store copied the
    /// part by itself, on condition of the source's ETag.
    Parts,
    /// The store copied the whole object by itself, on condition of the source's ETag.
    Store,
    /// The ledger pairs this source ETag with this destination ETag.
    Ledger,
}

/// Why an object was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SkipReason {
    /// The source object does not exist any more.
    SourceGone,
    /// A newer version of the source exists; its own event brings it.
    Superseded,
    /// The route's `overwrite` is `never` and the destination holds an object.
    Exists,
}

/// The one final outcome of an offered object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// Copied and proven.
    Migrated {
        /// Size in bytes.
        bytes: u64,
        /// What proves it.
        proof: Proof,
    },
    /// The destination already held these bytes.
    Unchanged {
        /// What proves it.
        proof: Proof,
    },
    /// Left out.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// Not migrated; its request is on the failed queue.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// Where an object stands in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// An upload is open.
    Copying,
    /// See [`Outcome::Migrated`].
    Migrated,
    /// See [`Outcome::Unchanged`].
    Unchanged,
    /// See [`Outcome::Skipped`].
    Skipped,
    /// See [`Outcome::Failed`].
    Failed,
}

impl Status {
    /// True for everything but [`Status::Copying`].
    pub fn is_final(self) -> bool {
        self != Self::Copying
    }

    /// As the ledger's attribute names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Migrated => "migrated",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

impl Outcome {
    /// The ledger's status for this outcome.
    pub fn status(&self) -> Status {
        match self {
            Self::Migrated { .. } => Status::Migrated,
            Self::Unchanged { .. } => Status::Unchanged,
            Self::Skipped { .. } => Status::Skipped,
            Self::Failed { .. } => Status::Failed,
        }
    }

    /// One object with this outcome, counted.
    pub fn tally(&self) -> crate::tally::Tally {
        let mut tally = crate::tally::Tally::default();
        match self {
            Self::Migrated { bytes, .. } => {
                tally.migrated = 1;
                tally.bytes = *bytes;
            }
            Self::Unchanged { .. } => tally.unchanged = 1,
            Self::Skipped { .. } => tally.skipped = 1,
            Self::Failed { .. } => tally.failed = 1,
        }
        tally
    }
}
