//! The states of `migrate.asl.json`: what each function takes and what it returns.
//!
//! A returned state is tagged `next`; a `Choice` maps the tag to the state that comes next. Fields that the state
//! machine adds (`results`, `error`) are read where they matter and ignored elsewhere.
#![expect(clippy::large_enum_variant, reason = "a step makes one state and gives it away")]

use crate::backfill::run::{RunItem, RunRef};
use crate::config::Route;
use crate::error::{CaughtError, Failure};
use crate::etag::{ETag, Encryption};
use crate::integrity::PartProof;
use crate::job::SourceIdentity;
use crate::layout::{PartLayout, PartRange};
use crate::request::{ManifestRef, ObjectRef, Request};
use crate::tally::Tally;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most objects of one small batch.
pub const BATCH_OBJECTS_MAX: usize = 500;
/// Most bytes of one small batch: what one invocation copies in a few minutes over a slow link.
pub const BATCH_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Most objects that one plan looks at; what is beyond goes to a successor.
pub const PLAN_OBJECTS_MAX: usize = 2_000;
/// Most iterations of the outer Map, and most ranges of all its large objects together.
///
/// A range with every retry of every retrier spent is about 250 history events; an execution may have 25,000:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const ITEMS_MAX: usize = 40;
/// See [`ITEMS_MAX`].
pub const RANGES_TOTAL_MAX: usize = 60;
/// Iterations of the outer Map at once (an inline Map runs at most 40).
pub const ITEMS_AT_ONCE: u32 = 40;
/// Most bytes of batches that travel in the state; more go to a manifest in the work bucket.
pub const INLINE_MAX_BYTES: usize = 64 * 1024;
/// Most bytes of a successor's objects that one item carries; more go to a manifest in the work bucket.
pub const REST_MAX_BYTES: usize = 2 * 1024;
/// Rounds of `copy-parts` on one range before `complete` looks at the whole object again.
pub const RANGE_ROUNDS_MAX: u32 = 8;
/// Rounds of ranges and `complete` before a successor execution goes on with the object.
pub const OBJECT_ROUNDS_MAX: u32 = 3;
/// Rounds without progress that fail an item (SEMANTICS.md, rule 18).
pub const IDLE_ROUNDS_MAX: u32 = 2;

/// What `plan` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum PlanInput {
    /// A whole request, as it was given to the execution. Kept as JSON, so that a bad one fails with a reason.
    Plan(PlanRequest),
    /// One object whose source or upload changed under the transfer.
    PlanAgain(Again),
}

/// A request to plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRequest {
    /// See [`Request`].
    pub request: Value,
    /// The execution's id.
    pub execution: String,
}

/// One object to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Again {
    /// As it was offered.
    pub offer: ObjectRef,
    /// Its route.
    pub route: Route,
    /// The execution's id.
    pub execution: String,
    /// The run of a backfill that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
    /// Most ranges at once.
    pub most_ranges: u32,
    /// How often it was planned again, this time included.
    pub replans: u32,
    /// Counts so far.
    #[serde(default)]
    pub tally: Tally,
}

/// What `plan` returns for a request: the state of the outer Map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// Always `work`.
    pub next: WorkTag,
    /// The items.
    pub work: Vec<ItemState>,
    /// Items at once.
    pub max_concurrency: u32,
    /// Objects that already have an outcome.
    pub tally: Tally,
    /// What a successor goes on with.
    pub rest: Rest,
    /// The request's own route, for the successor.
    pub route: Option<Route>,
    /// The request's manifest of a backfill, for the outcome and the successor.
    pub run: Option<RunItem>,
}

/// The tag of [`Work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkTag {
    /// The only one.
    Work,
}

/// What `plan` returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PlanOutput {
    /// For [`PlanInput::Plan`].
    Work(Work),
    /// For [`PlanInput::PlanAgain`].
    Item(Box<ItemState>),
}

/// One item of the outer Map, tagged with the state that it needs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum ItemState {
    /// Small objects to copy.
    CopyObjects(Batch),
    /// A large object whose ranges are to be copied.
    CopyParts(Box<Large>),
    /// A large object all of whose parts are held already.
    Complete(Box<Large>),
    /// See [`Again`].
    PlanAgain(Box<Again>),
    /// A large object that failed; `error` says why.
    Settle(Box<Large>),
    /// The end of the item.
    Done(Done),
}

impl ItemState {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 6] = ["copyObjects", "copyParts", "complete", "planAgain", "settle", "done"];
}

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

/// The end of an item: of a fixed size, but for objects that a successor goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Counts.
    #[serde(default)]
    pub tally: Tally,
    /// Objects for the successor.
    #[serde(default, skip_serializing_if = "Rest::is_empty")]
    pub remaining: Rest,
    /// The slowest copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<Slowest>,
}

/// What `settle` takes from the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum SettleInput {
    /// An item failed.
    Settle(SettleItem),
    /// The whole request failed, or an iteration was lost.
    SettleRequest(SettleRequest),
    /// The execution comes to its end.
    Record(Record),
}

/// A failed item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleItem {
    /// Its state when it failed.
    pub item: ItemState,
    /// Why.
    pub error: CaughtError,
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleRequest {
    /// The execution's input, whatever it was.
    pub request: Value,
    /// The execution's id.
    pub execution: String,
    /// Why.
    pub error: CaughtError,
}

/// What [`SettleRequest`] leads to: the input of `Record` but for the tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// Counts.
    pub tally: Tally,
    /// Always empty.
    pub results: Vec<Done>,
    /// Always empty: a failed request has no successor.
    pub rest: Rest,
    /// Always absent.
    pub route: Option<Route>,
    /// The request's manifest of a backfill.
    pub run: Option<RunItem>,
}

/// The end of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The execution's id.
    pub execution: String,
    /// When it began, as Step Functions writes times.
    #[serde(default)]
    pub started: Option<String>,
    /// What `plan` counted.
    pub tally: Tally,
    /// What the items counted.
    pub results: Vec<Done>,
    /// What `plan` left for a successor.
    #[serde(default)]
    pub rest: Rest,
    /// The request's own route.
    #[serde(default)]
    pub route: Option<Route>,
    /// The request's manifest of a backfill.
    #[serde(default)]
    pub run: Option<RunItem>,
}

/// How an execution ends, tagged with what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum End {
    /// Every object is migrated, unchanged or skipped.
    Succeeded(EndCounts),
    /// Something failed.
    Failed(EndCounts),
    /// A successor goes on.
    Continue(Box<Successor>),
}

impl End {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 3] = ["succeeded", "failed", "continue"];
}

/// The counts of an execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndCounts {
    /// Counts.
    pub tally: Tally,
}

/// What a successor is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Successor {
    /// Its name.
    pub name: String,
    /// Its input.
    pub request: Request,
    /// How this execution ends when the successor succeeds: `succeeded` or `failed`.
    pub then: Verdict,
    /// Counts of this execution.
    pub tally: Tally,
}

/// How an execution's own objects ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// None failed.
    Succeeded,
    /// At least one failed.
    Failed,
}

impl Verdict {
    /// The verdict on a tally.
    pub fn of(tally: &Tally) -> Self {
        if tally.all_well() { Self::Succeeded } else { Self::Failed }
    }
}

/// What `settle` returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SettleOutput {
    /// For [`SettleInput::Settle`].
    Item(Box<ItemState>),
    /// For [`SettleInput::SettleRequest`] and for an execution that ended without settling.
    Settled(Settled),
    /// For [`SettleInput::Record`].
    End(End),
}

/// The outcome object of an execution, in the work bucket: what `report` adds up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionOutcome {
    /// The execution's id.
    pub execution: String,
    /// Counts.
    pub tally: Tally,
    /// True if a successor went on with some of the objects.
    #[serde(default)]
    pub continued: bool,
    /// When the execution began and when it wrote this, milliseconds since 1970.
    #[serde(default)]
    pub started_ms: u64,
    /// See above.
    #[serde(default)]
    pub ended_ms: u64,
    /// The slowest object of each of its items, at most [`SLOWEST_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest: Vec<Slowest>,
    /// Every object that is not migrated or unchanged, as it was offered, with the reason.
    pub exceptions: Vec<Exception>,
}

/// Most objects of [`ExecutionOutcome::slowest`].
pub const SLOWEST_MAX: usize = 5;

/// An object, and how long its copy took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slowest {
    /// Its key at the source.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Milliseconds from its beginning to its outcome.
    pub ms: u64,
}

impl Slowest {
    /// The slower of two.
    pub fn of(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        [one, other].into_iter().flatten().max_by_key(|slowest| slowest.ms)
    }
}

/// An object that was not migrated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// The object.
    pub object: ObjectRef,
    /// Its outcome.
    #[serde(flatten)]
    pub outcome: crate::outcome::Outcome,
}

/// A message on the failed queue is a [`Request`] of one object that can be sent again as it is.
pub fn failed_request(object: &ObjectRef, route: Option<&Route>, failure: &Failure, execution: &str) -> Request {
    Request {
        version: Some(crate::request::REQUEST_VERSION),
        objects: vec![object.clone()],
        manifests: Vec::new(),
        route: route.cloned(),
        run: None,
        failure: Some(failure.clone()),
        execution: Some(execution.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
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

    #[test]
    fn fields_of_the_state_machine_do_not_disturb() {
        let done: RangeState =
            serde_json::from_value(json!({"next": "done", "error": {"Error": "Transient", "Cause": "x"}, "more": 1}))
                .unwrap();
        let RangeState::Done(result) = done else { panic!() };
        assert_eq!(result.error.unwrap().error, "Transient");
        let unsettled: Done = serde_json::from_value(json!({"next": "done", "tally": {"unsettled": 1}})).unwrap();
        assert_eq!(Verdict::of(&unsettled.tally), Verdict::Failed);
    }
}
