//! `longhaul backfill`: starts a run and watches it.

use super::deployment::Deployment;
use super::follow::follow;
use crate::args::remote::{BackfillArgs, WatchArgs};
use crate::output::{print, tell};
use longhaul_core::backfill::request::BackfillRequest;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

/// A name for an execution that begins now: sorts by time, and no other process of this machine makes the same.
pub fn began(what: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let time = aws_sdk_s3::primitives::DateTime::from_millis(i64::try_from(now).unwrap_or(i64::MAX));
    let text = time.fmt(aws_sdk_s3::primitives::DateTimeFormat::DateTime).unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_digit).take(17).collect();
    format!("{what}-{digits}-{}", std::process::id())
}

/// Starts a run of a deployment and watches it, unless told otherwise.
pub async fn backfill(args: &BackfillArgs, request: &BackfillRequest) -> Result<u8, String> {
    let deployment = Deployment::connect(&args.deployment).await?;
    let name = began("backfill");
    start_and_watch(&deployment, &name, &name, request, args.watch).await
}

/// Starts the execution `name`, which carries out `run`, and watches it.
pub async fn start_and_watch(
    deployment: &Deployment,
    name: &str,
    run: &str,
    request: &BackfillRequest,
    watch: WatchArgs,
) -> Result<u8, String> {
    let input = serde_json::to_string(request).map_err(|error| error.to_string())?;
    let execution = deployment.start(name, &input).await?;
    if watch.detach {
        if watch.json {
            print(&json!({"run": run, "execution": execution}).to_string());
        } else {
            print(run);
            tell(&format!("to watch: longhaul status {run} --follow --state-machine {}", deployment.state_machine));
        }
        return Ok(0);
    }
    follow(deployment, run, &execution, watch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_executions_are_allowed_ones() {
        let name = began("backfill");
        assert!(name.len() <= 80 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
    }
}
