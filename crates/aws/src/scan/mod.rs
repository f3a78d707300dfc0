//! The scan: both listings of a shard merged in constant memory, what differs written into manifests.
//!
//! The manifests are the log (`longhaul_core::backfill::manifest`): whatever cuts a scan off, the next one goes on
//! behind the last of them, and two at once write none twice.

mod compare;
mod header;
pub mod keys;
pub(crate) mod listing;
mod lists;
mod log;
pub(crate) mod page;
mod questions;
mod shards;
mod writer;

pub(crate) use header::header;
pub use log::{Log, Stretch, Written};
pub use shards::{shards, shards_by};

use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::work::Work;
use log::{BucketLog, ChannelLog};
use longhaul_core::backfill::filters::Matcher;
use longhaul_core::backfill::manifest::Progress;
use longhaul_core::backfill::request::BackfillRequest;
use longhaul_core::backfill::run::{Control, ControlObject, Run, Shard, control_key};
use longhaul_core::config::Route;
use std::sync::Arc;
use tokio::sync::mpsc;
use writer::{Stop, Writer};

/// How an invocation of a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// Nothing is left to scan: the last manifest says so.
    Done,
    /// Its time is up. What it scanned is saved.
    More,
    /// The user wants the run to pause or to stop. What it scanned is saved.
    Held,
}

/// What is scanned, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The route.
    pub route: &'a Route,
    /// Which of its keys.
    pub shard: &'a Shard,
    /// What was asked for.
    pub request: &'a BackfillRequest,
    /// When the run began, milliseconds since 1970: what is newer at the destination is not removed.
    pub started_ms: u64,
}

/// Sizes that a test makes smaller.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most keys of a page; the store's own limit where absent.
    pub page_size: Option<i32>,
    /// Pages after which a scan with nothing to write says how far it has come.
    pub note_pages: u64,
    /// Pages after which it closes a manifest, however little there is to write.
    pub close_pages: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { page_size: None, note_pages: 250, close_pages: 2_000 }
    }
}

/// Scans shard `shard` of a run until it is done, its time is up or the user holds it, and writes its manifests into
/// the work bucket. May be run again, or twice at once.
///
/// Fails where a page could not be read, naming side, bucket, page and key; what was scanned before is saved.
pub async fn scan_shard(clients: &Clients, context: &Context, run: &Run, shard: u32) -> Result<ScanEnd, StepError> {
    scan_shard_with(clients, context, run, shard, Settings::default()).await
}

/// [`scan_shard`] with other sizes.
pub async fn scan_shard_with(
    clients: &Clients,
    context: &Context,
    run: &Run,
    shard: u32,
    settings: Settings,
) -> Result<ScanEnd, StepError> {
    let unknown = || StepError::bug(format!("run {} has no shard {shard}, or its route is missing", run.name));
    let found = run.shards.get(shard as usize).ok_or_else(unknown)?;
    let route = run.routes.get(found.route as usize).ok_or_else(unknown)?;
    let job = Job { route, shard: found, request: &run.request, started_ms: run.started_ms };
    let mut log = BucketLog::new(&clients.work, run, shard, route);
    scan(clients, context, job, settings, &mut log).await
}

/// Scans a shard, and sends each manifest to `sink`; the last one says that it is done. Ends as held once nobody
/// receives.
pub async fn scan_into(
    clients: &Clients,
    context: &Context,
    job: Job<'_>,
    sink: mpsc::Sender<Stretch>,
) -> Result<ScanEnd, StepError> {
    scan(clients, context, job, Settings::default(), &mut ChannelLog(sink)).await
}

/// Scans a shard from where `log` says that it has come to.
pub async fn scan(
    clients: &Clients,
    context: &Context,
    job: Job<'_>,
    settings: Settings,
    log: &mut dyn Log,
) -> Result<ScanEnd, StepError> {
    let matcher = Matcher::new(&job.request.filters).map_err(StepError::rejected)?;
    let scan = Scan { clients, context, job, settings, matcher };
    let mut progress = log.recover().await?;
    loop {
        if progress.done {
            return Ok(ScanEnd::Done);
        }
        let from = progress.through.clone();
        let mut writer = Writer::new(log, job.route.options.part_size, progress);
        let ended = match &job.request.keys {
            None => compare::compare(&scan, &mut writer, &from).await,
            Some(keys) => lists::offer_all(&scan, &mut writer, keys, &from).await,
        };
        progress = match ended {
            Ok(end) => return Ok(end),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Moved(theirs)) => {
                tracing::info!(through = ?theirs.through, "somebody else scans this shard; it goes on from there");
                *theirs
            }
        };
    }
}

/// How far a shard has come.
pub async fn progress(work: &Arc<dyn Work>, run: &Run, shard: u32) -> Result<Progress, StepError> {
    let found = run.shards.get(shard as usize).and_then(|shard| run.routes.get(shard.route as usize));
    let route = found.ok_or_else(|| StepError::bug(format!("run {} has no shard {shard}", run.name)))?;
    BucketLog::new(work, run, shard, route).recover().await
}

/// What the user wants of a run; `None` if it goes on.
pub async fn control(work: &dyn Work, run: &str) -> Result<Option<Control>, StepError> {
    const MOST: u64 = 4 * 1024;
    let key = control_key(run);
    let Some(found) = work.find(&key, MOST).await? else { return Ok(None) };
    let object: ControlObject = serde_json::from_slice(&found.body)
        .map_err(|error| StepError::rejected(format!("{key} of the work bucket: {error}")))?;
    Ok(object.control)
}

/// Everything that a scan is given.
struct Scan<'a> {
    clients: &'a Clients,
    context: &'a Context,
    job: Job<'a>,
    settings: Settings,
    matcher: Matcher,
}

/// Looks from time to time whether a scan has to end.
struct Watch {
    looked: Option<tokio::time::Instant>,
}

/// Time after which a scan with nothing to write says how far it has come.
const NOTE_TIME: std::time::Duration = std::time::Duration::from_secs(60);

impl Watch {
    /// How often the control object is looked at.
    const EVERY: std::time::Duration = std::time::Duration::from_secs(10);

    fn new() -> Self {
        Self { looked: None }
    }

    /// How the scan has to end, if it has to: for want of time only if `begun`, as an invocation always does some work.
    async fn end(
        &mut self,
        scan: &Scan<'_>,
        writer: &mut Writer<'_>,
        begun: bool,
    ) -> Result<Option<ScanEnd>, StepError> {
        if self.is_held(writer).await? {
            return Ok(Some(ScanEnd::Held));
        }
        let late = begun && scan.context.time_left().is_zero();
        Ok(late.then_some(ScanEnd::More))
    }

    /// True if the user wants the scan to pause or to stop, as far as was looked.
    async fn is_held(&mut self, writer: &mut Writer<'_>) -> Result<bool, StepError> {
        let now = tokio::time::Instant::now();
        if self.looked.is_some_and(|looked| now - looked < Self::EVERY) {
            return Ok(false);
        }
        self.looked = Some(now);
        writer.is_held().await
    }
}
