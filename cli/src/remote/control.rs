//! `pause`, `stop`, `resume`.

use super::backfill::{began, start_and_watch};
use super::deployment::Deployment;
use crate::args::remote::{ResumeArgs, RunArgs};
use crate::output::tell;
use longhaul_core::backfill::request::BackfillRequest;
use longhaul_core::backfill::run::Control;

/// Lets what is in flight end and begins nothing new.
pub async fn pause(args: &RunArgs) -> Result<u8, String> {
    let deployment = hold(args, Control::Paused).await?;
    tell(&format!(
        "run {} is paused: what is in flight ends. To go on: longhaul resume {} --state-machine {}",
        args.run, args.run, deployment.state_machine
    ));
    Ok(0)
}

/// As [`pause`], for good.
pub async fn stop(args: &RunArgs) -> Result<u8, String> {
    hold(args, Control::Stopped).await?;
    tell(&format!("run {} is stopped: what is in flight ends, and its report says what is left", args.run));
    Ok(0)
}

async fn hold(args: &RunArgs, control: Control) -> Result<Deployment, String> {
    let deployment = Deployment::connect(&args.deployment).await?;
    let run = deployment.known_run(&args.run).await?;
    let execution = deployment.execution(&run.execution).await?;
    // A paused run that has ended may still be stopped for good; anything else that has ended is over.
    let (wanted, _) = deployment.wanted(&args.run).await?;
    let is_held = control == Control::Stopped && wanted == Some(Control::Paused);
    if !execution.is_running() && !is_held {
        return Err(format!("run {} is not going on: its execution is {}", args.run, execution.status));
    }
    deployment.control(&args.run, control).await?;
    Ok(deployment)
}

/// Goes on with a run in a new execution.
pub async fn resume(args: &ResumeArgs) -> Result<u8, String> {
    let deployment = Deployment::connect(&args.deployment).await?;
    let run = deployment.known_run(&args.run).await?;
    if deployment.execution(&run.execution).await?.is_running() {
        return Err(format!(
            "run {} still goes on: `longhaul status {} --follow` shows how far it is",
            args.run, args.run
        ));
    }
    let request = BackfillRequest { resume: Some(args.run.clone()), ..BackfillRequest::default() };
    let name = began("resume");
    start_and_watch(&deployment, &name, &args.run, &request, args.watch).await
}
