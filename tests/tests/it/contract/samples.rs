//! One sample of each variant that a `Choice` routes, and what they are made of.

use longhaul_core::backfill::manifest::manifests_prefix;
use longhaul_core::backfill::run::{RunRef, map_results_prefix};
use longhaul_core::backfill::states::{
    CopyAll, DeleteAll, Gathered, ReportInput, Reported, RunEnd, ShardEnd, ShardState, ShardWork,
};
use longhaul_core::config::Route;
use longhaul_core::contract::{
    Again, Batch, BatchObjects, Done, End, EndCounts, ItemState, Large, LargeObject, RangeResult, RangeState,
    RangeWork, Rest, Seen, Successor, Verdict,
};
use longhaul_core::error::CaughtError;
use longhaul_core::etag::{ETag, Encryption};
use longhaul_core::job::SourceIdentity;
use longhaul_core::layout::{MIB, PartLayout, PartRange};
use longhaul_core::request::{ObjectRef, Request};
use longhaul_core::tally::Tally;
use serde_json::json;
use std::iter::successors;

/// The id of the execution in every sample.
pub(super) const EXECUTION: &str = "arn:of:the:execution";

pub(super) fn route() -> Route {
    let route = json!({"name": "r", "source": {"bucket": "from"}, "destination": {"bucket": "to", "prefix": "in/"}});
    serde_json::from_value(route).unwrap()
}

pub(super) fn object(key: &str) -> ObjectRef {
    ObjectRef { bucket: "from".into(), key: key.into(), size: Some(40 * MIB), ..ObjectRef::default() }
}

pub(super) fn request() -> Request {
    Request { objects: vec![object("a"), object("b//c")], ..Request::default() }
}

pub(super) fn batch(keys: &[&str]) -> Batch {
    Batch {
        route: route(),
        execution: EXECUTION.into(),
        run: Some(run()),
        objects: BatchObjects::Inline(keys.iter().map(|key| object(key)).collect()),
        idle: 0,
        tally: Tally::default(),
        remaining: Rest::default(),
        slowest: None,
    }
}

/// A large object of five parts, of which these are missing.
pub(super) fn large(missing: &[(u32, u32)]) -> Large {
    Large {
        object: large_object(),
        ranges: missing.iter().map(|(first, last)| PartRange { first: *first, last: *last }).collect(),
        max_concurrency: 2,
        held: 0,
        rounds: 1,
        idle: 0,
        tally: Tally::default(),
        results: Vec::new(),
        error: None,
    }
}

fn large_object() -> LargeObject {
    LargeObject {
        offer: object("large"),
        route: route(),
        execution: EXECUTION.into(),
        run: Some(run()),
        source: SourceIdentity {
            version_id: Some("v1".into()),
            etag: ETag::new("0123456789abcdef0123456789abcdef-5"),
            encryption: Encryption::Plain,
            size: 40 * MIB,
            last_modified: Some(1_700_000_000),
        },
        destination_key: "in/large".into(),
        seen: Seen::Absent,
        upload_id: "upload".into(),
        layout: PartLayout::new(40 * MIB, 8 * MIB).unwrap(),
        mirrored: true,
        encryption: longhaul_core::etag::Encryption::Plain,
        trailing_checksum: true,
        most_ranges: 40,
        replans: 0,
        begun_ms: 0,
    }
}

pub(super) fn failed(error: CaughtError) -> Large {
    Large { error: Some(error), ..large(&[(1, 5)]) }
}

pub(super) fn error(name: &str) -> CaughtError {
    CaughtError { error: name.into(), cause: "because".into() }
}

pub(super) fn again() -> Again {
    Again {
        offer: object("large"),
        route: route(),
        execution: EXECUTION.into(),
        run: Some(run()),
        most_ranges: 40,
        replans: 1,
        tally: Tally::default(),
    }
}

pub(super) fn range_work(first: u32, last: u32) -> RangeWork {
    RangeWork {
        object: large_object(),
        range: PartRange { first, last },
        rounds: 1,
        idle: 0,
        tally: Tally { parts: 1, ..Tally::default() },
    }
}

pub(super) fn done(tally: Tally) -> Done {
    Done { tally, ..Done::default() }
}

// Each variant names the next, so that a new one does not compile until it has a place here.

pub(super) fn item_states() -> Vec<ItemState> {
    let first = ItemState::CopyObjects(batch(&["a"]));
    successors(Some(first), |last| match last {
        ItemState::CopyObjects(_) => Some(ItemState::CopyParts(large(&[(1, 5)]).into())),
        ItemState::CopyParts(_) => Some(ItemState::Complete(large(&[]).into())),
        ItemState::Complete(_) => Some(ItemState::PlanAgain(again().into())),
        ItemState::PlanAgain(_) => Some(ItemState::Settle(failed(error("TooSlow")).into())),
        ItemState::Settle(_) => Some(ItemState::Done(done(Tally { migrated: 1, ..Tally::default() }))),
        ItemState::Done(_) => None,
    })
    .collect()
}

pub(super) fn range_states() -> Vec<RangeState> {
    let first = RangeState::CopyParts(range_work(1, 5).into());
    successors(Some(first), |last| match last {
        RangeState::CopyParts(_) => Some(RangeState::Done(RangeResult::default())),
        RangeState::Done(_) => None,
    })
    .collect()
}

pub(super) fn ends() -> Vec<End> {
    let first = End::Succeeded(EndCounts::default());
    successors(Some(first), |last| match last {
        End::Succeeded(_) => Some(End::Failed(EndCounts::default())),
        End::Failed(_) => Some(End::Continue(successor(Verdict::Succeeded).into())),
        End::Continue(_) => None,
    })
    .collect()
}

pub(super) fn successor(then: Verdict) -> Successor {
    Successor { name: "next-1".into(), request: request(), then, tally: Tally::default() }
}

pub(super) fn verdicts() -> Vec<Verdict> {
    successors(Some(Verdict::Succeeded), |last| match last {
        Verdict::Succeeded => Some(Verdict::Failed),
        Verdict::Failed => None,
    })
    .collect()
}

/// The work bucket of every sample.
pub(super) const WORK_BUCKET: &str = "work";

pub(super) fn run() -> RunRef {
    RunRef { name: "run-1".into(), attempt: 2 }
}

pub(super) fn shard(shard: u32) -> ShardWork {
    ShardWork { run: run(), shard }
}

pub(super) fn copy_all(tolerated_failure_percentage: f64) -> CopyAll {
    CopyAll {
        run: run(),
        bucket: WORK_BUCKET.into(),
        prefix: manifests_prefix(&run().name),
        results_prefix: map_results_prefix(&run().name),
        max_concurrency: 2,
        tolerated_failure_percentage,
    }
}

pub(super) fn delete_all(shards: u32) -> DeleteAll {
    DeleteAll {
        run: run(),
        shards: (0..shards).map(|number| ShardState::Delete(shard(number))).collect(),
        max_concurrency: 4,
    }
}

pub(super) fn report_input() -> ReportInput {
    ReportInput { run: run(), failure: None, error: None, results: Vec::new(), rounds: 0 }
}

pub(super) fn run_end(error: &str, cause: &str) -> RunEnd {
    RunEnd { run: run(), error: error.into(), cause: cause.into(), ..RunEnd::default() }
}

pub(super) fn shard_states() -> Vec<ShardState> {
    successors(Some(ShardState::Scan(shard(0))), |last| match last {
        ShardState::Scan(_) => Some(ShardState::Delete(shard(0))),
        ShardState::Delete(_) => Some(ShardState::Done(ShardEnd::default())),
        ShardState::Done(_) => None,
    })
    .collect()
}

pub(super) fn gathered() -> Vec<Gathered> {
    successors(Some(Gathered::Copy(copy_all(100.0))), |last| match last {
        Gathered::Copy(_) => Some(Gathered::Delete(delete_all(1))),
        Gathered::Delete(_) => Some(Gathered::Report(report_input())),
        Gathered::Report(_) => None,
    })
    .collect()
}

pub(super) fn reported() -> Vec<Reported> {
    successors(Some(Reported::Report(report_input())), |last| match last {
        Reported::Report(_) => Some(Reported::Succeeded(run_end("", "all is well"))),
        Reported::Succeeded(_) => Some(Reported::Failed(run_end("RunFailed", "an object failed"))),
        Reported::Failed(_) => None,
    })
    .collect()
}
