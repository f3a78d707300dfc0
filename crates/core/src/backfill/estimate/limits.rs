//! The limits that a run would meet.

use super::requests::Shape;
use super::{Assumptions, functions_at_once};
use crate::backfill::counts::Counts;
use crate::backfill::request::CONCURRENCY_MAX;
use crate::layout::{OBJECT_MAX, PART_DEFAULT, PARTS_MAX};
use serde::Serialize;

/// Most events in the history of an execution.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
const HISTORY_MAX: u64 = 25_000;
/// Largest payload of a state, in bytes (same page).
const PAYLOAD_MAX: u64 = 256 * 1024;
/// Bytes of a large object in the state, at most: two keys of 1,024 bytes, escaped, a route, an upload id, 40 ranges.
const LARGE_STATE_BYTES: u64 = 16 * 1024;
/// Large objects of an execution at most, and what its small ones take in the state.
const LARGE_IN_STATE: u64 = crate::backfill::manifest::LARGE_OBJECTS_MAX as u64;
const INLINE_BYTES: u64 = crate::contract::INLINE_MAX_BYTES as u64;

/// A limit, and how far the run is from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which.
    pub name: &'static str,
    /// What was found, in a sentence.
    pub told: String,
    /// True if something will fail or wait for it.
    pub exceeded: bool,
}

/// Every limit that is looked at, met or not.
pub(super) fn findings(counts: &Counts, assumptions: &Assumptions, shape: &Shape) -> Vec<Finding> {
    let finding = |name, exceeded, told| Finding { name, told, exceeded };
    let grown = u64::from(PARTS_MAX) * PART_DEFAULT;
    let wanted = shape.most_functions(assumptions);
    let at_once = functions_at_once(shape, assumptions);
    let history = shape.history();
    let payload = shape.large.min(LARGE_IN_STATE) * LARGE_STATE_BYTES + if shape.small > 0 { INLINE_BYTES } else { 0 };
    let allowed = assumptions.copy_concurrency.unwrap_or(assumptions.lambda_concurrency);
    let functions = format!(
        "{} executions at once want {wanted} copy functions; {allowed} may run{}",
        assumptions.concurrency,
        if wanted > allowed { ": the others wait for their turn, by retries" } else { "" }
    );
    let quota = assumptions.lambda_concurrency;
    vec![
        finding(
            "parts",
            false,
            format!("{} parts; above {} GiB they grow, so that {PARTS_MAX} suffice", counts.parts, grown >> 30),
        ),
        finding(
            "objectSize",
            counts.too_large > 0,
            format!("{} objects of more than {OBJECT_MAX} bytes (48.8 TiB), which will fail", counts.too_large),
        ),
        finding("history", history > HISTORY_MAX, format!("{history} of {HISTORY_MAX} events in an execution")),
        finding("payload", payload > PAYLOAD_MAX, format!("at most {payload} of {PAYLOAD_MAX} bytes in a state")),
        finding(
            "executions",
            assumptions.concurrency > CONCURRENCY_MAX,
            format!("{} of {CONCURRENCY_MAX} executions at once", assumptions.concurrency),
        ),
        finding("copyConcurrency", wanted > allowed, functions),
        finding(
            "lambdaQuota",
            at_once.saturating_add(assumptions.concurrency) > quota,
            format!(
                "{at_once} copy functions and {} others at once, of {quota} of the account",
                assumptions.concurrency
            ),
        ),
        finding(
            "archived",
            counts.archived > 0,
            format!("{} objects in archive classes, which fail until they are restored", counts.archived),
        ),
        finding(
            "unsized",
            counts.unsized_objects > 0,
            format!("{} objects of unknown size: the estimate is a lower bound", counts.unsized_objects),
        ),
    ]
}
