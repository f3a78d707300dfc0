//! What it costs.

use super::{Assumptions, Estimate, Transfer};
use crate::backfill::prices::{GB, stepped};
use serde::Serialize;

/// The line of the bytes that leave the source.
pub(super) const TRANSFER: &str = "data transfer";

/// An item of the bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What for.
    pub name: &'static str,
    /// How much of it.
    pub amount: f64,
    /// In what.
    pub unit: &'static str,
    /// What that costs.
    pub dollars: f64,
}

/// The bill. Lines that cost nothing stand in it, so that nobody misses them.
pub(super) fn lines(estimate: &Estimate, assumptions: &Assumptions) -> Vec<Line> {
    let prices = &assumptions.prices;
    let line = |name, amount: f64, unit, price: f64| Line { name, amount, unit, dollars: amount * price };
    let requests = |name, requests: &super::Requests| {
        let (reads, writes) = requests.billed();
        let dollars =
            reads as f64 * prices.s3.reads_per_thousand / 1e3 + writes as f64 * prices.s3.writes_per_thousand / 1e3;
        Line { name, amount: requests.total() as f64, unit: "requests", dollars }
    };
    let steps = match assumptions.transfer {
        Transfer::Free => &[][..],
        Transfer::BetweenRegions => &prices.transfer.between_regions_per_gb,
        Transfer::Internet => &prices.transfer.to_internet_per_gb,
    };
    let moved = Line {
        name: TRANSFER,
        amount: estimate.bytes as f64 / GB,
        unit: "GB",
        dollars: stepped(steps, estimate.bytes),
    };
    let per_gb_second =
        if assumptions.x86 { prices.lambda.x86_per_gb_second } else { prices.lambda.arm64_per_gb_second };
    vec![
        requests("S3 at the source", &estimate.source),
        requests("S3 at the destination", &estimate.destination),
        requests("S3 of the work bucket", &estimate.work),
        moved,
        line("Lambda time", estimate.gb_seconds, "GB-seconds", per_gb_second),
        line("Lambda invocations", estimate.invocations as f64, "requests", prices.lambda.requests_per_million / 1e6),
        line(
            "Step Functions",
            estimate.transitions as f64,
            "transitions",
            prices.step_functions.transitions_per_thousand / 1e3,
        ),
        line("ledger writes", estimate.ledger_writes as f64, "units", prices.dynamo_db.write_units_per_million / 1e6),
        line("ledger reads", estimate.ledger_reads as f64, "units", prices.dynamo_db.read_units_per_million / 1e6),
        line("KMS", estimate.kms_requests as f64, "requests", prices.kms.requests_per_ten_thousand / 1e4),
        line("logs", estimate.log_bytes as f64 / GB, "GB", prices.logs.ingested_per_gb),
        line("failed queue", estimate.messages as f64, "messages", prices.sqs.requests_per_million / 1e6),
    ]
}
