//! `longhaul copy`: a scan becomes requests, and each request an execution in this process.

use crate::args::copy::CopyArgs;
use crate::grouping::{Group, Grouper};
use crate::in_process::{AbortOnDrop, Ended, Local, Runner};
use crate::local::{SCAN_TIME, connections};
use crate::outbox::LocalOutbox;
use crate::progress::{Progress, Snapshot};
use crate::reach::preflight;
use crate::summary::Summary;
use aws_config::BehaviorVersion;
use futures::stream::{FuturesUnordered, StreamExt as _};
use longhaul_aws::clients::Sides;
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::ledger::{EmbeddedLedger, default_path};
use longhaul_aws::scan::{Job, ScanEnd, Stretch, scan_into};
use longhaul_core::backfill::request::BackfillRequest;
use longhaul_core::backfill::run::Shard;
use longhaul_core::config::{Config, Route};
use longhaul_core::layout::PART_DEFAULT;
use longhaul_core::request::ObjectRef;
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Transfers at once in the beginning: the process has its link to itself.
const WIDTH_AT_FIRST: usize = 128;
/// Executions at once. More would only spread the same transfers over more unfinished objects.
const EXECUTIONS_AT_ONCE: usize = 4;
/// Manifests that wait while the scan goes on.
const STRETCHES_AHEAD: usize = 1;

/// A copy that is ready to run.
#[derive(Debug)]
pub struct Copy {
    route: Route,
    /// What makes two objects the same, and which ones are meant.
    request: BackfillRequest,
    runner: Runner,
    ledger: Arc<EmbeddedLedger>,
    ledger_path: PathBuf,
    /// What the ids of this run's executions begin with.
    run: String,
    progress: Arc<Progress>,
}

impl Copy {
    /// Opens the ledger and prepares both sides; asks neither of them anything yet. `route` is that of `args`.
    ///
    /// The error says in one line what is wrong: a ledger in use, a place that cannot be written.
    pub async fn open(args: &CopyArgs, route: Route) -> Result<Self, String> {
        let ledger_path = args.ledger.clone().unwrap_or_else(|| default_path(&route.source, &route.destination));
        let ledger = Arc::new(EmbeddedLedger::open(&ledger_path).map_err(|error| error.to_string())?);
        let outbox = match &args.failures {
            Some(path) => LocalOutbox::writing_to(
                File::create(path).map_err(|error| format!("--failures {}: {error}", path.display()))?,
            ),
            None => LocalOutbox::default(),
        };
        let request = BackfillRequest {
            compare: args.select.compare(),
            filters: args.select.filters.filters()?,
            ..BackfillRequest::default()
        };
        let io = connections(&args.ends)?;
        let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let concurrency = usize::from(args.concurrency);
        let engine = Engine::new(concurrency, concurrency as u64 * PART_DEFAULT)
            .beginning_with(WIDTH_AT_FIRST)
            .with_lanes(args.md5_lanes.into());
        let engine = if args.no_hedging { engine.without_hedging() } else { engine };
        let clock = Clock::system();
        let run = format!("cli-{}-{}", clock.now_ms(), std::process::id());
        let local = Local {
            sides: Sides::new(io, shared, Secrets::none()),
            ledger: ledger.clone(),
            outbox: Arc::new(outbox),
            config: Config { routes: vec![route.clone()] },
            engine,
        };
        let seed = clock.now_ms() ^ (u64::from(std::process::id()) << 32);
        let runner = Runner::new(local, clock, seed).map_err(|error| error.to_string())?;
        Ok(Self { route, request, runner, ledger, ledger_path, run, progress: Arc::default() })
    }

    /// Sees how far this copy is.
    pub fn look(&self) -> impl Fn() -> Snapshot + Send + 'static {
        let progress = self.progress();
        move || progress.snapshot()
    }

    /// The counts of this copy.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Where the ledger lies.
    pub fn ledger_path(&self) -> &std::path::Path {
        &self.ledger_path
    }

    /// Puts what the ledger was told on the disk.
    pub async fn flush(&self) -> Result<(), String> {
        self.ledger.flush().await.map_err(|error| error.to_string())
    }

    /// Compares both sides and copies everything that differs. May be dropped at any time: the next run goes on.
    ///
    /// The error says why nothing was begun. A listing that fails later, and objects that fail, are in the summary.
    pub async fn run(&self) -> Result<Summary, String> {
        let clients = self.runner.shared_clients();
        let destination = clients.sides.client(&self.route.destination).await;
        let destination = destination.map_err(|error| told(&error, "the destination: "))?;
        preflight(&destination, &self.route.destination).await.map_err(|error| told(&error, "the destination: "))?;

        let (sender, mut stretches) = mpsc::channel::<Stretch>(STRETCHES_AHEAD);
        let (route, request) = (self.route.clone(), self.request.clone());
        let mut scan = AbortOnDrop(tokio::spawn(async move {
            let clock = Clock::system();
            let context = Context::new(clock, SCAN_TIME, 1, 0);
            let started_ms = clock.now_ms();
            let job = Job { route: &route, shard: &Shard::default(), request: &request, started_ms };
            scan_into(&clients, &context, job, sender).await
        }));

        let mut summary = Summary {
            source: format!("s3://{}/{}", self.route.source.bucket, self.route.source.prefix),
            destination: format!("s3://{}/{}", self.route.destination.bucket, self.route.destination.prefix),
            ..Summary::default()
        };
        let mut running = FuturesUnordered::new();
        let mut waiting: VecDeque<Group> = VecDeque::new();
        let mut number = 0;
        let mut scanned_all = false;
        while !scanned_all || !waiting.is_empty() || !running.is_empty() {
            while running.len() < EXECUTIONS_AT_ONCE
                && let Some(group) = waiting.pop_front()
            {
                number += 1;
                running.push(self.execute(number, group));
            }
            tokio::select! {
                stretch = stretches.recv(), if !scanned_all && waiting.is_empty() => match stretch {
                    Some(Stretch { pile, progress }) => {
                        self.progress.scanned(progress.counts, progress.done);
                        waiting.extend(grouped(pile.objects));
                    }
                    None => scanned_all = true,
                },
                Some(ended) = running.next(), if !running.is_empty() => add(&mut summary, ended),
            }
        }
        let failed = match (&mut scan.0).await {
            Ok(Ok(ScanEnd::Done)) => None,
            Ok(Ok(ScanEnd::More | ScanEnd::Held)) => Some("the scan was not carried to its end".to_owned()),
            Ok(Err(error)) => Some(told(&error, "")),
            Err(_) => Some("the scan was stopped by a bug".to_owned()),
        };
        if number == 0
            && let Some(error) = failed
        {
            return Err(error);
        }
        summary.error = failed.or(summary.error);
        if let Err(error) = self.flush().await {
            summary.error.get_or_insert(error);
        }
        summary.add_scan(&self.progress.counts());
        let end = self.progress.snapshot();
        summary.set_counted(end.counted, end.elapsed.as_secs_f64());
        Ok(summary)
    }

    async fn execute(&self, number: u64, group: Group) -> Ended {
        let (objects, bytes) = (group.objects.len() as u64, group.bytes);
        let live = self.progress.began(number, bytes);
        let execution = format!("{}-{number}", self.run);
        let ended = self.runner.run_migrate(&execution, &group.into_request(), live).await;
        self.progress.ended(number, objects);
        ended
    }
}

fn add(summary: &mut Summary, ended: Ended) {
    summary.add_outcomes(ended.tally, ended.exceptions);
    if let Some(reason) = ended.unsettled {
        summary.error.get_or_insert(reason);
    }
}

/// The objects of a manifest as requests.
fn grouped(objects: Vec<ObjectRef>) -> Vec<Group> {
    let mut grouper = Grouper::default();
    let mut groups: Vec<Group> = objects.into_iter().filter_map(|object| grouper.push(object)).collect();
    groups.extend(grouper.finish());
    groups
}

/// An error of a whole side in one line.
fn told(error: &longhaul_aws::error::StepError, side: &str) -> String {
    format!("{side}{}", error.message.replace(['\n', '\r'], " "))
}
