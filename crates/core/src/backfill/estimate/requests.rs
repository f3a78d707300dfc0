//! How many requests, invocations and state transitions the steps of a run make.

use super::Assumptions;
use crate::backfill::counts::Counts;
use crate::backfill::manifest::{SMALL_BYTES_MAX, SMALL_OBJECTS_MAX};
use crate::contract::{BATCH_BYTES_MAX, BATCH_OBJECTS_MAX};
use serde::Serialize;
use std::collections::BTreeMap;

/// Parts that an answer to `ListParts` holds, and keys of a listing.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>
const PAGE: u64 = 1_000;

/// Requests by the names of their operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Requests(BTreeMap<&'static str, u64>);

impl Requests {
    fn add(&mut self, operation: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(operation).or_default() += count;
        }
    }

    /// Requests of one operation.
    pub fn count(&self, operation: &str) -> u64 {
        self.0.get(operation).copied().unwrap_or_default()
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each operation, and how many requests.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(operation, count)| (*operation, *count))
    }

    /// Those that are billed as GETs: the first number; as PUTs: the second.
    pub fn billed(&self) -> (u64, u64) {
        self.operations().fold((0, 0), |(reads, writes), (operation, count)| match operation {
            "GetObject" | "HeadObject" | "GetObjectTagging" => (reads + count, writes),
            "DeleteObject" => (reads, writes),
            _ => (reads, writes + count),
        })
    }
}

/// How the work of a run falls into executions and items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Objects that go whole, those of unknown size among them.
    pub(super) small: u64,
    /// Manifests of those.
    pub(super) small_manifests: u64,
    /// Batches of those.
    pub(super) batches: u64,
    /// Objects that go in parts.
    pub(super) large: u64,
    /// Ranges of those.
    pub(super) ranges: u64,
    /// Ranges of the one that has most, or as many as one may have.
    pub(super) most_ranges: u64,
}

impl Shape {
    pub(super) fn of(counts: &Counts, assumptions: &Assumptions) -> Self {
        let large = counts.offered_large;
        let small = counts.offered.saturating_sub(large);
        let bytes = counts.offered_bytes.saturating_sub(counts.large_bytes);
        let needed = |objects: u64, most: u64| {
            let by_count = small.div_ceil(objects);
            by_count.max(bytes.div_ceil(most))
        };
        let small_manifests = needed(SMALL_OBJECTS_MAX as u64, SMALL_BYTES_MAX);
        let batches = needed(BATCH_OBJECTS_MAX as u64, BATCH_BYTES_MAX).max(small_manifests);
        let most = u64::from(assumptions.ranges.max(1));
        let ranges = counts.ranges.min(large * most).max(large);
        let average = if large == 0 { 0 } else { ranges.div_ceil(large) };
        // Objects of 4 GiB and more go alone, with as many ranges as they may have.
        let giants =
            counts.sizes.classes().any(|(class, objects, _)| objects > 0 && class.is_none_or(|size| size >= 4 << 30));
        let most_ranges = if giants { most } else { average };
        Self { small, small_manifests, batches, large, ranges, most_ranges }
    }

    /// Invocations of all functions.
    pub(super) fn invocations(&self, counts: &Counts, assumptions: &Assumptions) -> u64 {
        let manifests = self.manifests(counts);
        // `plan` and `record` of each execution; `complete` of each object; the scan's beginning, shards, two looks at
        // how it ended, and the report.
        2 * manifests + self.batches + self.ranges + self.large + u64::from(assumptions.shards) + 4
    }

    /// State transitions: every state that is entered.
    pub(super) fn transitions(&self, counts: &Counts, assumptions: &Assumptions) -> u64 {
        let children = self.manifests(counts) * (migrate::EACH + backfill::MANIFEST);
        let items = self.batches * migrate::BATCH + self.large * migrate::LARGE + self.ranges * migrate::RANGE;
        let deletions = if counts.deletions > 0 { 1 + u64::from(assumptions.shards) * backfill::SHARD } else { 0 };
        children + items + backfill::EACH + u64::from(assumptions.shards) * backfill::SHARD + deletions
    }

    /// Executions of `migrate`: the manifests that were written, or as many as are needed.
    fn manifests(&self, counts: &Counts) -> u64 {
        match counts.manifests {
            0 => self.small_manifests + u64::from(self.large > 0),
            written => written,
        }
    }

    /// Units of the ledger, at so many for each small object and for each large one.
    pub(super) fn ledger(&self, assumptions: &Assumptions, small: u64, large: u64) -> u64 {
        if assumptions.ledger_table { self.small * small + self.large * large } else { 0 }
    }

    /// Copy functions of the executions that run at once.
    pub(super) fn most_functions(&self, assumptions: &Assumptions) -> u32 {
        let batches = if self.small_manifests == 0 { 0 } else { self.batches.div_ceil(self.small_manifests) };
        let each = u32::try_from(batches.max(self.most_ranges)).unwrap_or(u32::MAX);
        each.saturating_mul(assumptions.concurrency)
    }

    /// Events in the history of the longest execution, without retries.
    pub(super) fn history(&self) -> u64 {
        let batches = if self.small_manifests == 0 { 0 } else { self.batches.div_ceil(self.small_manifests) };
        let small = migrate::EVENTS + batches * migrate::BATCH_EVENTS;
        let large = migrate::EVENTS + migrate::LARGE_EVENTS + self.most_ranges * migrate::RANGE_EVENTS;
        small.max(if self.large > 0 { large } else { 0 })
    }
}

/// The shape of `migrate.asl.json`: states entered, and events in the history, by what they are for.
pub(super) mod migrate {
    /// Plan, Work, Record, RouteEnd, Migrated.
    pub(in super::super) const EACH: u64 = 5;
    /// RouteItem, CopyObjects, RouteItem, ItemDone.
    pub(in super::super) const BATCH: u64 = 4;
    /// RouteItem, CopyRanges, Complete, RouteItem, ItemDone.
    pub(in super::super) const LARGE: u64 = 5;
    /// CopyParts, RouteRange, RangeDone.
    pub(in super::super) const RANGE: u64 = 3;
    /// A Task has five events, a Map four and two for each iteration, the others two.
    pub(in super::super) const EVENTS: u64 = 20;
    /// See above.
    pub(in super::super) const BATCH_EVENTS: u64 = 13;
    /// See above.
    pub(in super::super) const LARGE_EVENTS: u64 = 17;
    /// See above.
    pub(in super::super) const RANGE_EVENTS: u64 = 11;
}

/// The shape of `backfill.asl.json`.
pub(super) mod backfill {
    /// Begin, ScanShards, Gather, RouteGathered, CopyManifests, GatherCopied, RouteCopied, Report, RouteReported,
    /// Succeeded.
    pub(in super::super) const EACH: u64 = 10;
    /// RouteShard, Scan, RouteShard, ShardDone; the same of deletions.
    pub(in super::super) const SHARD: u64 = 4;
    /// Migrate, ManifestDone.
    pub(in super::super) const MANIFEST: u64 = 2;
}

fn share(count: u64, share: f64) -> u64 {
    (count as f64 * share.clamp(0.0, 1.0)).round() as u64
}

/// Requests at the source, at the destination and to the work bucket.
pub fn requests(counts: &Counts, assumptions: &Assumptions) -> (Requests, Requests, Requests) {
    let shape = Shape::of(counts, assumptions);
    let Shape { small, large, ranges, .. } = shape;
    // What stands there under its key, as the scan or the ledger knows, is looked at before the write.
    let known = counts.differing.max(share(small, assumptions.recorded)).min(small);
    let looked = if assumptions.never_overwrites { small } else { known };

    let mut source = Requests::default();
    source.add("ListObjectsV2", counts.source_pages);
    source.add("GetObject", small + counts.parts);
    // Two looks at a large object, by `plan` and by `complete`; one at the pinned version and at each range of it.
    let versions = if assumptions.versioned { large + ranges } else { 0 };
    let looks = 2 * large + versions + counts.mirrored + counts.unsized_objects;
    // Each deletion looks whether the source still lacks the object.
    source.add("HeadObject", looks + counts.heads / 2 + counts.deletions);
    source.add("GetObjectTagging", share(small + large, assumptions.tagged));

    let mut destination = Requests::default();
    destination.add("ListObjectsV2", counts.destination_pages);
    destination.add("PutObject", small);
    let guarded = if assumptions.never_overwrites { large } else { 0 };
    destination.add("HeadObject", 2 * large + guarded + looked + counts.heads.div_ceil(2));
    destination.add("CreateMultipartUpload", large);
    destination.add("UploadPart", counts.parts);
    // One by each range, one more where parts are proven by a comparison, and all pages by `complete`.
    let comparisons = if assumptions.compared { ranges.saturating_sub(counts.mirrored_ranges) } else { 0 };
    let pages = if large == 0 { 0 } else { large * counts.parts.div_ceil(large).div_ceil(PAGE).max(1) };
    destination.add("ListParts", ranges + comparisons + pages);
    destination.add("CompleteMultipartUpload", large);
    destination.add("DeleteObject", counts.deletions);

    let mut work = Requests::default();
    let manifests = shape.manifests(counts);
    // The manifest, the batches that `plan` writes down, the outcome.
    work.add("PutObject", 2 * manifests + shape.small_manifests.min(manifests) + u64::from(assumptions.shards));
    // Header, control object and lines of the manifest; each batch its lines; the report each outcome.
    work.add("GetObject", 4 * manifests + shape.batches);
    // The exceptions of each execution; the manifests, by the Map; the outcomes, by the report.
    work.add("ListObjectsV2", manifests + 2 * manifests.div_ceil(PAGE));
    (source, destination, work)
}
