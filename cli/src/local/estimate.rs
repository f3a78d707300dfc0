//! `longhaul estimate`: what a backfill would copy, cost and take.

use super::check::{checks, text as checks_text};
use super::{SCAN_TIME, looking, route};
use crate::args::local::EstimateArgs;
use crate::output::{print, tell};
use crate::progress::{Progress, Shown, show};
use crate::sizes::{bytes_text, count_text};
use longhaul_aws::clients::Clients;
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::scan::{Job, ScanEnd, Stretch, scan_into, shards};
use longhaul_core::backfill::check::Verdict;
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::estimate::{Assumptions, Estimate, Transfer};
use longhaul_core::backfill::prices::Prices;
use longhaul_core::backfill::request::BackfillRequest;
use longhaul_core::backfill::run::Shard;
use longhaul_core::config::Route;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Scans both sides and says what copying the differences would take.
pub async fn estimate(args: &EstimateArgs) -> Result<u8, String> {
    let route = route(&args.ends)?;
    let prices = match &args.prices {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| error.to_string())
            .and_then(|json| Prices::parse(&json))
            .map_err(|error| format!("--prices {}: {error}", file.display()))?,
        None => Prices::default(),
    };
    let request = BackfillRequest {
        compare: args.select.compare(),
        filters: args.select.filters.filters()?,
        ..BackfillRequest::default()
    };
    let checked = if args.no_check { Vec::new() } else { checks(&args.ends, false).await? };
    if checked.iter().any(|check| check.verdict == Verdict::Failed) {
        return Err(format!("a side cannot be used:\n{}", checks_text(&checked)));
    }
    let clients = looking(&args.ends, &route).await?;
    let progress = Arc::new(Progress::default());
    let seen = progress.clone();
    let display = show(move || seen.snapshot(), Shown::choose(args.quiet, false), tell);
    let scanned = scanned(&clients, &route, &request, args.scans, &progress).await;
    drop(display);
    let (counts, parts) = scanned?;
    let assumptions = Assumptions {
        rate: args.rate,
        concurrency: args.concurrency,
        shards: parts,
        compared: route.destination.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")),
        transfer: Transfer::of(&route),
        prices,
        ..Assumptions::default()
    };
    let estimate = Estimate::of(&counts, &assumptions);
    if args.json {
        print(&serde_json::json!({"counts": counts, "estimate": estimate, "checks": checked}).to_string());
    } else {
        print(&head(args, &counts));
        print(&estimate.text());
        let warned: Vec<_> = checked.into_iter().filter(|check| check.verdict == Verdict::Warning).collect();
        if !warned.is_empty() {
            print(&checks_text(&warned));
        }
    }
    Ok(0)
}

/// Scans the shards of a route at once, as a deployment would; the counts, and how many shards there were.
async fn scanned(
    clients: &Arc<Clients>,
    route: &Route,
    request: &BackfillRequest,
    scans: u32,
    progress: &Progress,
) -> Result<(Counts, u32), String> {
    let parts = shards(clients, route, scans).await.map_err(|error| error.message)?;
    let count = parts.len();
    let (sender, mut stretches) = mpsc::channel(2);
    let mut running = JoinSet::new();
    for (index, shard) in parts.into_iter().enumerate() {
        let (clients, route, request, sender) = (clients.clone(), route.clone(), request.clone(), sender.clone());
        running.spawn(async move { scan_one(&clients, &route, &request, &shard, index, sender).await });
    }
    drop(sender);
    let mut counts = vec![Counts::default(); count];
    let mut done = 0;
    while let Some((index, Stretch { progress: of_shard, .. })) = stretches.recv().await {
        counts[index] = of_shard.counts;
        done += usize::from(of_shard.done);
        progress.scanned(sum(&counts), done == count);
    }
    while let Some(ended) = running.join_next().await {
        match ended.map_err(|error| error.to_string())?.map_err(|error| error.message)? {
            ScanEnd::Done => {}
            ScanEnd::More | ScanEnd::Held => return Err("the scan was not carried to its end".to_owned()),
        }
    }
    Ok((sum(&counts), count as u32))
}

async fn scan_one(
    clients: &Clients,
    route: &Route,
    request: &BackfillRequest,
    shard: &Shard,
    index: usize,
    sender: mpsc::Sender<(usize, Stretch)>,
) -> Result<ScanEnd, longhaul_aws::error::StepError> {
    let (own, mut stretches) = mpsc::channel(1);
    let clock = Clock::system();
    let context = Context::new(clock, SCAN_TIME, 1, 0);
    let job = Job { route, shard, request, started_ms: clock.now_ms() };
    let forward = async {
        while let Some(stretch) = stretches.recv().await {
            if sender.send((index, stretch)).await.is_err() {
                break;
            }
        }
    };
    futures::future::join(scan_into(clients, &context, job, own), forward).await.0
}

fn sum(counts: &[Counts]) -> Counts {
    counts.iter().fold(Counts::default(), |sum, counts| sum + counts)
}

/// What was listed, with the sizes of what would be copied.
fn head(args: &EstimateArgs, counts: &Counts) -> String {
    let mut text = format!("{} -> {}", args.ends.source, args.ends.destination);
    let rows = [
        ("listed", format!("{} ({})", count_text(counts.listed), bytes_text(counts.listed_bytes))),
        ("unchanged", count_text(counts.unchanged)),
        ("excluded", count_text(counts.excluded)),
        ("to copy", format!("{} ({})", count_text(counts.offered), bytes_text(counts.offered_bytes))),
        ("extra", format!("{} at the destination only", count_text(counts.extra))),
    ];
    for (name, value) in rows {
        text += &format!("\n  {name:<10} {value}");
    }
    for (largest, objects, bytes) in counts.sizes.classes().filter(|(_, objects, _)| *objects > 0) {
        let class = largest.map_or("larger".to_owned(), |largest| format!("to {}", bytes_text(largest)));
        text += &format!("\n  {class:<14} {:>14}  {:>12}", count_text(objects), bytes_text(bytes));
    }
    text
}
