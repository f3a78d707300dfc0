//! `longhaul copy`: a listing becomes requests, and each request an execution in this process.

use crate::args::copy::CopyArgs;
use crate::grouping::Group;
use crate::in_process::{AbortOnDrop, Ended, Local, Runner};
use crate::listing::{list, preflight};
use crate::outbox::LocalOutbox;
use crate::progress::{Progress, Snapshot};
use crate::summary::Summary;
use aws_config::BehaviorVersion;
use futures::stream::{FuturesUnordered, StreamExt as _};
use longhaul_aws::clients::{Io, Sides};
use longhaul_aws::context::Clock;
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::ledger::{EmbeddedLedger, default_path};
use longhaul_core::config::{Config, Route};
use longhaul_core::layout::PART_DEFAULT;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Transfers at once in the beginning: the process has its link to itself.
const WIDTH_AT_FIRST: usize = 128;
/// Executions at once. More would only spread the same transfers over more unfinished objects.
const EXECUTIONS_AT_ONCE: usize = 4;
/// Requests that wait for an execution while the listing goes on.
const GROUPS_AHEAD: usize = 2;

/// A copy that is ready to run.
#[derive(Debug)]
pub struct Copy {
    route: Route,
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
        let io = match &args.ends.ca_bundle {
            Some(path) => std::fs::read(path)
                .map_err(|error| error.to_string())
                .and_then(|pem| Io::trusting(&pem))
                .map_err(|error| format!("--ca-bundle {}: {error}", path.display()))?,
            None => Io::system()?,
        };
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
        Ok(Self { route, runner, ledger, ledger_path, run, progress: Arc::default() })
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

    /// Copies everything that the listing shows. May be dropped at any time: the next run goes on.
    ///
    /// The error says why nothing was begun. A listing that fails later, and objects that fail, are in the summary.
    pub async fn run(&self) -> Result<Summary, String> {
        let sides = &self.runner.clients().sides;
        let destination = sides.client(&self.route.destination).await.map_err(|error| told(&error, "destination"))?;
        let source = sides.client(&self.route.source).await.map_err(|error| told(&error, "source"))?;
        preflight(&destination, &self.route.destination).await.map_err(|error| told(&error, "destination"))?;

        let (sender, mut groups) = mpsc::channel::<Group>(GROUPS_AHEAD);
        let (side, progress) = (self.route.source.clone(), self.progress.clone());
        let mut listing = AbortOnDrop(tokio::spawn(async move { list(&source, &side, sender, &progress).await }));

        let mut summary = Summary {
            source: format!("s3://{}/{}", self.route.source.bucket, self.route.source.prefix),
            destination: format!("s3://{}/{}", self.route.destination.bucket, self.route.destination.prefix),
            ..Summary::default()
        };
        let mut running = FuturesUnordered::new();
        let mut number = 0;
        let mut listed_all = false;
        while !listed_all || !running.is_empty() {
            tokio::select! {
                group = groups.recv(), if !listed_all && running.len() < EXECUTIONS_AT_ONCE => match group {
                    Some(group) => {
                        number += 1;
                        running.push(self.execute(number, group));
                    }
                    None => listed_all = true,
                },
                Some(ended) = running.next(), if !running.is_empty() => add(&mut summary, ended),
            }
        }
        summary.error = match (&mut listing.0).await {
            Ok(Ok(())) => summary.error,
            Ok(Err(error)) => Some(told(&error, "source")),
            Err(_) => Some("the listing was stopped by a bug".into()),
        };
        if number == 0
            && let Some(error) = summary.error
        {
            return Err(error);
        }
        if let Err(error) = self.flush().await {
            summary.error.get_or_insert(error);
        }
        let end = self.progress.snapshot();
        summary.objects = end.listed_objects;
        summary.object_bytes = end.listed_bytes;
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

/// An error of a whole side in one line.
fn told(error: &longhaul_aws::error::StepError, side: &str) -> String {
    let text = error.message.replace(['\n', '\r'], " ");
    format!("the {side}: {text}")
}
