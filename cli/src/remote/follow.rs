//! Shows a run until it ends.

use super::deployment::{Deployment, Execution};
use super::look::{Standing, Watcher, pause_after};
use super::status::{REPORT_MAX_BYTES, summary_text};
use crate::args::remote::WatchArgs;
use crate::output::{print, tell};
use crate::progress::{Shown, Snapshot, show};
use crate::signals::interrupted;
use longhaul_core::backfill::summary::{RunStatus, RunSummary, summary_key};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Looks at an execution that has not begun its run yet.
const UNTIL_BEGUN: Duration = Duration::from_secs(1);
/// Looks that may fail one after the other, and the wait between them: a network may be gone for half an hour.
const LOOKS_MAY_FAIL: u32 = 60;
const AFTER_A_FAILURE: Duration = Duration::from_secs(30);
/// The exit status where the run was paused or stopped, or goes on unwatched: not everything is there, and nothing
/// failed.
pub const NOT_ENDED: u8 = 3;

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
        code = interrupted() => {
            drop(display);
            goes_on(deployment, run);
            return Ok(code);
        }
    };
    drop(display);
    match ended {
        Ok(ended) => told(deployment, run, &ended, watch.json).await,
        Err(error) => {
            tell(&format!("the run cannot be looked at any more: {error}"));
            goes_on(deployment, run);
            Ok(NOT_ENDED)
        }
    }
}

fn goes_on(deployment: &Deployment, run: &str) {
    let machine = &deployment.state_machine;
    tell(&format!(
        "run {run} goes on. To come back: longhaul status {run} --follow --state-machine {machine}\n\
         to pause it: longhaul pause {run} --state-machine {machine}"
    ));
}

/// Looks until the execution has ended. A look that fails is repeated: the run does not depend on it.
async fn until_ended(
    deployment: &Deployment,
    run: &str,
    execution: &str,
    seen: &Mutex<Snapshot>,
) -> Result<Execution, String> {
    let mut watcher: Option<Watcher> = None;
    let mut failed = 0;
    loop {
        let begun = Instant::now();
        match look_once(deployment, run, execution, &mut watcher, seen).await {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => {
                failed = 0;
                let pause = if watcher.is_some() { pause_after(begun.elapsed()) } else { UNTIL_BEGUN };
                tokio::time::sleep(pause).await;
            }
            Err(error) => {
                failed += 1;
                if failed == LOOKS_MAY_FAIL {
                    return Err(error);
                }
                if failed == 1 {
                    tell(&format!("{error}; looking again"));
                }
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }
}

/// One look; the execution once it has ended.
async fn look_once(
    deployment: &Deployment,
    run: &str,
    execution: &str,
    watcher: &mut Option<Watcher>,
    seen: &Mutex<Snapshot>,
) -> Result<Option<Execution>, String> {
    let execution = deployment.execution(execution).await?;
    if !execution.is_running() {
        return Ok(Some(execution));
    }
    match watcher {
        Some(watcher) => {
            let standing: Standing = watcher.look(deployment, &execution).await?;
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = watcher.snapshot(&standing);
        }
        None => {
            // The run of an earlier attempt stands until this one has begun.
            let found = deployment.run(run).await?;
            *watcher = found.filter(|found| found.execution == execution.arn).map(Watcher::new);
        }
    }
    Ok(None)
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
    Ok(exit_status(&summary, execution))
}

/// The exit status that a run which has ended comes to.
pub fn exit_status(summary: &RunSummary, execution: &Execution) -> u8 {
    match summary.status {
        RunStatus::Paused | RunStatus::Stopped if execution.status == "SUCCEEDED" => NOT_ENDED,
        RunStatus::Succeeded | RunStatus::DryRun if execution.status == "SUCCEEDED" => 0,
        _ => 1,
    }
}
