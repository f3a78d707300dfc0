//! Shows a run until it ends.

use super::deployment::{Deployment, Execution};
use super::look::{Standing, Watcher, pause_after};
use super::status::{REPORT_MAX_BYTES, summary_text};
use crate::args::remote::WatchArgs;
use crate::output::{print, tell};
use crate::progress::{Shown, Snapshot, show};
use longhaul_core::backfill::summary::{RunStatus, RunSummary, summary_key};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Looks at an execution that has not begun its run yet.
const UNTIL_BEGUN: Duration = Duration::from_secs(1);
/// What a shell reports for a command that SIGINT ended.
const INTERRUPTED: u8 = 128 + 2;

/// Shows how far a run is until its execution ends, then what became of it; the exit status.
///
/// An interrupt ends the showing and not the run.
pub async fn follow(deployment: &Deployment, run: &str, execution: &str, watch: WatchArgs) -> Result<u8, String> {
    let seen = Arc::new(Mutex::new(Snapshot::default()));
    let shown = seen.clone();
    let look = move || *shown.lock().unwrap_or_else(PoisonError::into_inner);
    let display = show(look, Shown::choose(watch.quiet, false), tell);
    let ended = tokio::select! {
        ended = until_ended(deployment, run, execution, &seen) => ended,
        signal = tokio::signal::ctrl_c() => {
            drop(display);
            return match signal {
                Ok(()) => {
                    tell(&format!(
                        "run {run} goes on. To come back: longhaul status {run} --follow --state-machine {}\n\
                         to pause it: longhaul pause {run} --state-machine {}",
                        deployment.state_machine, deployment.state_machine
                    ));
                    Ok(INTERRUPTED)
                }
                Err(error) => Err(error.to_string()),
            };
        }
    };
    drop(display);
    told(deployment, run, &ended?, watch.json).await
}

/// Looks until the execution has ended.
async fn until_ended(
    deployment: &Deployment,
    run: &str,
    execution: &str,
    seen: &Mutex<Snapshot>,
) -> Result<Execution, String> {
    let mut watcher: Option<Watcher> = None;
    loop {
        let execution = deployment.execution(execution).await?;
        if !execution.is_running() {
            return Ok(execution);
        }
        let begun = Instant::now();
        match &mut watcher {
            Some(watcher) => {
                let standing: Standing = watcher.look(deployment, &execution).await?;
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = watcher.snapshot(&standing);
                tokio::time::sleep(pause_after(begun.elapsed())).await;
            }
            None => {
                // The run of an earlier attempt stands until this one has begun.
                let found = deployment.run(run).await?;
                watcher = found.filter(|found| found.execution == execution.arn).map(Watcher::new);
                if watcher.is_none() {
                    tokio::time::sleep(UNTIL_BEGUN).await;
                }
            }
        }
    }
}

/// Says what became of a run whose execution has ended.
async fn told(deployment: &Deployment, run: &str, execution: &Execution, json: bool) -> Result<u8, String> {
    let found = deployment.work.find(&summary_key(run), REPORT_MAX_BYTES).await.map_err(|error| error.message)?;
    let summary: Option<RunSummary> = found.and_then(|found| serde_json::from_slice(&found.body).ok());
    let known = deployment.run(run).await?;
    // A summary of an earlier attempt says nothing of this one.
    let current = known.filter(|known| known.execution == execution.arn).map(|known| known.attempt);
    let summary = summary.filter(|summary| Some(summary.attempt) == current);
    let Some(summary) = summary else {
        let cause = execution.cause.clone().unwrap_or_else(|| format!("its execution is {}", execution.status));
        return Err(format!("run {run}: {cause}"));
    };
    if json {
        print(&serde_json::to_string(&summary).map_err(|error| error.to_string())?);
    } else {
        print(&summary_text(&summary));
    }
    Ok(u8::from(summary.status == RunStatus::Failed || execution.status != "SUCCEEDED"))
}
