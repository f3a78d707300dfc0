//! What a run will cost, before the first byte moves: requests, time, dollars, and the limits in its way.
//!
//! Requests follow from what the steps send when all goes well; a test counts them at both sides. Retries, and objects
//! that change meanwhile, come on top. Time and memory-seconds rest on [`Assumptions`].

mod dollars;
mod limits;
mod requests;
mod text;

pub use self::dollars::Line;
pub use self::limits::Finding;
pub use self::requests::{Requests, requests};

use self::requests::Shape;
use super::counts::Counts;
use super::prices::Prices;
use super::request::{CONCURRENCY_DEFAULT, SCANS_DEFAULT};
use crate::config::{Route, partition};
use crate::layout::RANGES_MAX;
use serde::Serialize;

/// What counts do not tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumptions {
    /// Bytes a second that the whole run moves; as many as its functions can where absent.
    pub rate: Option<u64>,
    /// Bytes a second that one copy function moves.
    pub function_rate: u64,
    /// Executions of `migrate` at once.
    pub concurrency: u32,
    /// Most copy functions of one kind at once; the account's limit where absent.
    pub copy_concurrency: Option<u32>,
    /// Functions of the account at once.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
    pub lambda_concurrency: u32,
    /// Most ranges of one object at once, 1 to 40.
    pub ranges: u32,
    /// Shards of the scan.
    pub shards: u32,
    /// Memory of the copy functions, in MB.
    pub copy_memory: u32,
    /// True if the functions run on x86.
    pub x86: bool,
    /// Seconds that a copy function needs for one small object, beside its bytes: many are under way at once.
    pub small_object_seconds: f64,
    /// Share of the source's objects that are encrypted by KMS, 0 to 1.
    pub kms_source: f64,
    /// The same of the destination's.
    pub kms_destination: f64,
    /// Share of the objects that carry tags.
    pub tagged: f64,
    /// Share of the small objects of which the ledger holds a record already.
    pub recorded: f64,
    /// True if the source keeps versions, and the keys may read them.
    pub versioned: bool,
    /// True if a part is proven by a comparison alone: no TLS, and a layout that is not the source's (SEMANTICS.md,
    /// rule 8).
    pub compared: bool,
    /// True if the route never overwrites.
    pub never_overwrites: bool,
    /// True if the ledger is a table of DynamoDB.
    pub ledger_table: bool,
    /// Where the bytes go.
    pub transfer: Transfer,
    /// What it costs.
    pub prices: Prices,
}

impl Default for Assumptions {
    /// A route between two accounts in different Regions, with the template's defaults.
    fn default() -> Self {
        Self {
            rate: None,
            function_rate: 75_000_000,
            concurrency: CONCURRENCY_DEFAULT,
            copy_concurrency: None,
            lambda_concurrency: 1_000,
            ranges: RANGES_MAX as u32,
            shards: SCANS_DEFAULT,
            copy_memory: 1_024,
            x86: false,
            small_object_seconds: 0.005,
            kms_source: 0.0,
            kms_destination: 0.0,
            tagged: 0.0,
            recorded: 0.0,
            versioned: false,
            compared: false,
            never_overwrites: false,
            ledger_table: true,
            transfer: Transfer::BetweenRegions,
            prices: Prices::default(),
        }
    }
}

/// Where the bytes of the source go; what comes in costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// Source and functions lie in the same Region, and so does the destination; or the source is not of AWS.
    Free,
    /// To another Region of the same partition, once.
    #[default]
    BetweenRegions,
    /// To the internet, or to another partition, once.
    Internet,
}

impl Transfer {
    /// Where the bytes of a route go. A Region that is not named may be another.
    pub fn of(route: &Route) -> Self {
        let (from, to) = (&route.source, &route.destination);
        if from.endpoint.is_some() {
            return Self::Free;
        }
        match (&from.region, &to.region) {
            _ if to.endpoint.is_some() => Self::Internet,
            (Some(from), Some(to)) if partition(from) != partition(to) => Self::Internet,
            (Some(from), Some(to)) if from == to => Self::Free,
            // Outside of AWS global, nobody leaves a Region unnamed for this one.
            (Some(named), None) | (None, Some(named)) if partition(named) != "aws" => Self::Internet,
            _ => Self::BetweenRegions,
        }
    }
}

/// What a run will cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Objects to copy.
    pub objects: u64,
    /// Their bytes: what is transferred.
    pub bytes: u64,
    /// Requests at the source, by operation.
    pub source: Requests,
    /// Requests at the destination.
    pub destination: Requests,
    /// Requests to the work bucket.
    pub work: Requests,
    /// Invocations of functions.
    pub invocations: u64,
    /// Their GB-seconds.
    pub gb_seconds: f64,
    /// State transitions.
    pub transitions: u64,
    /// Write units of the ledger.
    pub ledger_writes: u64,
    /// Read units of the ledger.
    pub ledger_reads: u64,
    /// Requests to KMS.
    pub kms_requests: u64,
    /// Messages of the failed queue.
    pub messages: u64,
    /// Bytes of logs.
    pub log_bytes: u64,
    /// Seconds from the start of the scan to the report.
    pub seconds: u64,
    /// Bytes a second meanwhile, at most.
    pub rate: u64,
    /// What it costs, item by item.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: f64,
    /// Of that, everything but the transfer of the bytes.
    pub total_without_transfer: f64,
    /// The currency of both.
    pub currency: String,
    /// True if sizes are not known: the estimate is a lower bound.
    pub lower_bound: bool,
    /// What stands in the way.
    pub limits: Vec<Finding>,
}

/// Memory of the functions that move no bytes, in MB, as the template gives it.
const STEP_MEMORY: f64 = 512.0;
/// Seconds of an invocation of `plan`, of `complete` and of `settle`, and of the scan of a page at both sides.
const STEP_SECONDS: f64 = 1.5;
const PAGE_SECONDS: f64 = 0.25;
/// Seconds that a copy function takes beside its bytes: to begin, to list parts, to end.
const COPY_SECONDS: f64 = 0.5;
/// Bytes of a log line of an object, and of the lines of an invocation.
const OBJECT_LOG_BYTES: u64 = 500;
const INVOCATION_LOG_BYTES: u64 = 1_200;

impl Estimate {
    /// The estimate of copying what was counted.
    pub fn of(counts: &Counts, assumptions: &Assumptions) -> Self {
        let shape = Shape::of(counts, assumptions);
        let (source, destination, work) = requests(counts, assumptions);
        let at_once = f64::from(functions_at_once(&shape, assumptions).max(1));
        let fastest = at_once * assumptions.function_rate as f64;
        let rate = assumptions.rate.map_or(fastest, |rate| fastest.min(rate as f64)).max(1.0);
        // A function waits for its share of the link.
        let each = (rate / at_once).max(1.0);
        let pages = (counts.source_pages.max(counts.destination_pages)) as f64;
        let scanned = pages * PAGE_SECONDS / f64::from(assumptions.shards.max(1));
        let small_seconds = shape.small as f64 * assumptions.small_object_seconds;
        let moved = counts.offered_bytes as f64;
        let copied = moved / each + small_seconds + (shape.batches + shape.ranges) as f64 * COPY_SECONDS;
        let steps = (2 * counts.manifests + counts.offered_large) as f64 * STEP_SECONDS + pages * PAGE_SECONDS;
        let copying = (moved / rate).max((moved / each + small_seconds) / at_once);
        let invocations = shape.invocations(counts, assumptions);
        let mut estimate = Self {
            objects: counts.offered,
            bytes: counts.offered_bytes,
            invocations,
            gb_seconds: (copied * f64::from(assumptions.copy_memory) + steps * STEP_MEMORY) / 1_024.0,
            transitions: shape.transitions(counts, assumptions),
            // A record holds keys and ETags of both sides: about 1 KB.
            ledger_writes: shape.ledger(assumptions, 1, 3),
            ledger_reads: shape.ledger(assumptions, 1, 3) + counts.ledger_reads,
            kms_requests: kms(&source, assumptions.kms_source) + kms(&destination, assumptions.kms_destination),
            messages: counts.archived + counts.too_large,
            log_bytes: counts.offered * OBJECT_LOG_BYTES + invocations * INVOCATION_LOG_BYTES,
            seconds: (scanned + copying + overhead(counts, assumptions)).ceil() as u64,
            rate: rate as u64,
            currency: assumptions.prices.currency.clone(),
            lower_bound: counts.unsized_objects > 0,
            limits: limits::findings(counts, assumptions, &shape),
            source,
            destination,
            work,
            ..Self::default()
        };
        estimate.lines = dollars::lines(&estimate, assumptions);
        estimate.total = estimate.lines.iter().map(|line| line.dollars).sum();
        let transfer = estimate.lines.iter().filter(|line| line.name == dollars::TRANSFER).map(|line| line.dollars);
        estimate.total_without_transfer = estimate.total - transfer.sum::<f64>();
        estimate
    }

    /// The estimate as a table for a terminal.
    pub fn text(&self) -> String {
        text::text(self)
    }
}

/// Copy functions that run at once where there is enough to do.
fn functions_at_once(shape: &Shape, assumptions: &Assumptions) -> u32 {
    let work = u32::try_from(shape.batches + shape.ranges).unwrap_or(u32::MAX);
    work.min(shape.most_functions(assumptions))
        .min(assumptions.copy_concurrency.unwrap_or(u32::MAX))
        .min(assumptions.lambda_concurrency)
}

/// Seconds of the steps that nothing hides: of each round of executions, its plan and its end.
fn overhead(counts: &Counts, assumptions: &Assumptions) -> f64 {
    let rounds = counts.manifests.div_ceil(u64::from(assumptions.concurrency.max(1)));
    rounds as f64 * 2.0 * STEP_SECONDS
}

/// Each read or write of an encrypted object asks for a key; HEADs and listings do not.
fn kms(requests: &Requests, share: f64) -> u64 {
    const WITH_KEYS: [&str; 5] =
        ["GetObject", "PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"];
    let asked: u64 = WITH_KEYS.iter().map(|operation| requests.count(operation)).sum();
    (asked as f64 * share.clamp(0.0, 1.0)).ceil() as u64
}

#[cfg(test)]
#[path = "estimate/tests.rs"]
mod tests;
