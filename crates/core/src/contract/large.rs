//! A large object, its ranges, and what was pinned when it was planned.

use crate::backfill::run::RunRef;
use crate::config::Route;
use crate::error::CaughtError;
use crate::etag::{ETag, Encryption};
use crate::integrity::PartProof;
use crate::job::SourceIdentity;
use crate::layout::{PartLayout, PartRange};
use crate::request::ObjectRef;
use crate::tally::Tally;
use serde::{Deserialize, Serialize};

/// What the look at the destination found; the condition of the write that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// Nothing stands there: `If-None-Match: *`.
    Absent,
    /// An object stands there: `If-Match` with its ETag.
    Present(ETag),
}

/// One large object: what was pinned when it was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LargeObject {
    /// As it was offered.
    pub offer: ObjectRef,
    /// Its route.
    pub route: Route,
    /// The execution's id.
    pub execution: String,
    /// The run of a backfill that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
    /// The source version that is copied.
    pub source: SourceIdentity,
    /// The key at the destination.
    pub destination_key: String,
    /// What stood there before.
    pub seen: Seen,
    /// The upload.
    pub upload_id: String,
    /// Its parts.
    pub layout: PartLayout,
    /// Whether the parts are those of the source: then the ETags of both sides must be equal.
    #[serde(default)]
    pub mirrored: bool,
    /// Whether the ETags of its parts, and of its object, are made of MD5s.
    #[serde(default)]
    pub encryption: Encryption,
    /// Whether the store checks a CRC64NVME that trails each part.
    #[serde(default)]
    pub trailing_checksum: bool,
    /// Most ranges at once: its share of what the execution can hold.
    pub most_ranges: u32,
    /// When it was planned, milliseconds since 1970.
    #[serde(default)]
    pub begun_ms: u64,
    /// How often it was planned again.
    #[serde(default)]
    pub replans: u32,
}

impl LargeObject {
    /// How its parts are proven.
    pub fn part_proof(&self) -> PartProof {
        PartProof::of(self.trailing_checksum, self.encryption)
    }

    /// True if the ETag composed from the parts must equal the source's.
    pub fn is_comparable(&self) -> bool {
        self.mirrored
            && self.encryption == Encryption::Plain
            && self.layout.comparable(&self.source.etag, self.source.encryption)
    }

    /// True if a part that an invocation left behind when it died is unproven: nobody compared it, and nothing will
    /// tell later.
    pub fn leaves_unproven(&self) -> bool {
        self.part_proof() == PartProof::Compared && !self.is_comparable()
    }
}

/// A large object and the ranges that are still missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Large {
    /// What was pinned.
    pub object: LargeObject,
    /// Ranges of missing parts, at most [`crate::layout::RANGES_MAX`].
    pub ranges: Vec<PartRange>,
    /// Ranges at once.
    pub max_concurrency: u32,
    /// Parts that the destination held when the ranges were laid out.
    #[serde(default)]
    pub held: u32,
    /// Rounds of ranges begun.
    #[serde(default)]
    pub rounds: u32,
    /// Rounds without progress.
    #[serde(default)]
    pub idle: u32,
    /// Counts of earlier rounds.
    #[serde(default)]
    pub tally: Tally,
    /// How the ranges of the last round ended; written by the state machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<RangeResult>,
    /// Why the object failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CaughtError>,
}

/// How a range ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeResult {
    /// Counts.
    #[serde(default)]
    pub tally: Tally,
    /// What stopped it, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CaughtError>,
}

/// One range of a large object, as the inner Map carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeWork {
    /// The object.
    pub object: LargeObject,
    /// The parts.
    pub range: PartRange,
    /// Rounds begun.
    #[serde(default)]
    pub rounds: u32,
    /// Rounds without progress.
    #[serde(default)]
    pub idle: u32,
    /// Counts so far.
    #[serde(default)]
    pub tally: Tally,
}

/// The state of a range, tagged with what it needs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum RangeState {
    /// Parts are missing.
    CopyParts(Box<RangeWork>),
    /// The end of the range.
    Done(RangeResult),
}

impl RangeState {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 2] = ["copyParts", "done"];
}
