//! The beginning of an execution of `backfill`: locks, preflight, shards.

use super::backfill::{as_json, put_new, record, replace};
use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::preflight::preflight;
use crate::scan::{progress, shards};
use futures::future::join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_core::backfill::check::{RouteChecks, fatal};
use longhaul_core::backfill::deletions::forbids_deletions;
use longhaul_core::backfill::request::{BackfillRequest, SCANS_DEFAULT};
use longhaul_core::backfill::run::{
    Control, ControlObject, Lock, Run, RunRef, Shard, checks_key, control_key, lock_key, run_key,
};
use longhaul_core::backfill::states::{Begin, Begun, ScanTag, ShardState, ShardWork};
use longhaul_core::config::Route;
use longhaul_core::error::ErrorName;
use longhaul_core::names::short_execution;
use std::collections::BTreeMap;

/// Routes that are split at once.
const SPLITS_AT_ONCE: usize = 4;
/// Times that a lost race for a record is run again.
const RACES_MAX: u32 = 5;

/// Begins a run, or goes on with one. What was begun by this execution already is taken as it stands.
///
/// `Rejected` if the request makes no sense, if another execution runs one of the routes, or if a side is not fit.
pub(super) async fn begin(clients: &Clients, context: &Context, input: Begin) -> Result<Begun, StepError> {
    let request = BackfillRequest::from_value(&input.request)?;
    let run = match &request.resume {
        Some(name) => resumed(clients, context, name, &input.execution).await?,
        None => begun(clients, context, request, &input.execution).await?,
    };
    let reference = RunRef { name: run.name.clone(), attempt: run.attempt };
    let mut left = Vec::new();
    for (shard, _) in (0..).zip(&run.shards) {
        if !progress(&clients.work, &run, shard).await?.done {
            left.push(ShardState::Scan(ShardWork { run: reference.clone(), shard }));
        }
    }
    Ok(Begun { next: ScanTag::Scan, run: reference, shards: left, max_concurrency: scans(&run.request) })
}

/// Shards at once.
pub(super) fn scans(request: &BackfillRequest) -> u32 {
    request.scans.unwrap_or(SCANS_DEFAULT)
}

async fn begun(
    clients: &Clients,
    context: &Context,
    request: BackfillRequest,
    execution: &str,
) -> Result<Run, StepError> {
    let name = short_execution(execution).to_owned();
    if let Some(run) = already(clients, &name, execution).await? {
        lock(clients, context, &run.routes, &run.name, execution).await?;
        return Ok(run);
    }
    let configured = clients.routes.config().await?;
    let routes = request.chosen(&configured.routes)?;
    check_routes(clients, &request, &routes, &configured.routes)?;
    lock(clients, context, &routes, &name, execution).await?;
    check_sides(clients, &name, &routes, request.delete.is_some()).await?;
    let shards = split(clients, &request, &routes).await?;
    let started_ms = context.clock.now_ms();
    let run = Run { name, attempt: 1, execution: execution.to_owned(), started_ms, request, routes, shards };
    if put_new(clients, &run_key(&run.name), &run).await? {
        return Ok(run);
    }
    // Either this step, repeated or in two places at once: the shards that were written first count.
    already(clients, &run.name, execution)
        .await?
        .ok_or_else(|| StepError::new(ErrorName::Transient, format!("run {} came and went", run.name)))
}

/// The run of this name, if it is this execution's.
async fn already(clients: &Clients, name: &str, execution: &str) -> Result<Option<Run>, StepError> {
    let Some((run, _)) = record::<Run>(clients, &run_key(name)).await? else { return Ok(None) };
    if run.execution != execution {
        let told = format!("run {name} belongs to execution {}: start another under another name", run.execution);
        return Err(StepError::rejected(told));
    }
    Ok(Some(run))
}

async fn resumed(clients: &Clients, context: &Context, name: &str, execution: &str) -> Result<Run, StepError> {
    let key = run_key(name);
    let read = || async {
        let found = record::<Run>(clients, &key).await?;
        let bucket = clients.work.bucket();
        found.ok_or_else(|| StepError::rejected(format!("there is no run {name} to resume in bucket {bucket}")))
    };
    let (run, etag) = read().await?;
    if run.execution == execution {
        lock(clients, context, &run.routes, name, execution).await?;
        return Ok(run);
    }
    if clients.outbox.is_running(&run.execution).await? {
        let told = format!("run {name} goes on: execution {} has not ended", run.execution);
        return Err(StepError::rejected(told));
    }
    lock(clients, context, &run.routes, name, execution).await?;
    check_sides(clients, name, &run.routes, run.request.delete.is_some()).await?;
    go_on(clients, context, name).await?;
    let next = Run { attempt: run.attempt + 1, execution: execution.to_owned(), ..run };
    if replace(clients, &key, &next, &etag).await? {
        return Ok(next);
    }
    let (run, _) = read().await?;
    if run.execution == execution {
        return Ok(run);
    }
    Err(StepError::rejected(format!("execution {} resumed run {name} at the same time", run.execution)))
}

/// Takes a pause back. A stop is for good.
async fn go_on(clients: &Clients, context: &Context, name: &str) -> Result<(), StepError> {
    let key = control_key(name);
    for race in 1..=RACES_MAX {
        let Some((object, etag)) = record::<ControlObject>(clients, &key).await? else { return Ok(()) };
        match object.control {
            None => return Ok(()),
            Some(Control::Stopped) => {
                return Err(StepError::rejected(format!("run {name} was stopped for good: begin another")));
            }
            Some(Control::Paused) => {
                if replace(clients, &key, &ControlObject::default(), &etag).await? {
                    return Ok(());
                }
            }
        }
        context.back_off(race).await;
    }
    Err(StepError::new(ErrorName::Transient, format!("what is wanted of run {name} changes all the time")))
}

/// Refuses what would write to one place from two routes, or remove what is not the route's own.
fn check_routes(
    clients: &Clients,
    request: &BackfillRequest,
    routes: &[Route],
    configured: &[Route],
) -> Result<(), StepError> {
    let mut keys = BTreeMap::new();
    for route in routes {
        if let Some(other) = keys.insert(lock_key(route), route) {
            let told = format!("routes {:?} and {:?} have the same ends: name one", other.name, route.name);
            return Err(StepError::rejected(told));
        }
    }
    if request.delete.is_none() {
        return Ok(());
    }
    for route in routes {
        let others = || routes.iter().chain(configured).cloned().collect::<Vec<_>>();
        if let Some(told) = forbids_deletions(route, &others()) {
            return Err(StepError::rejected(told));
        }
        if route.destination.bucket == clients.work.bucket() {
            let told = format!("route {:?}: delete would remove the records in the work bucket", route.name);
            return Err(StepError::rejected(told));
        }
    }
    Ok(())
}

/// Takes the locks of all routes, in the order of their keys: two runs that share routes cannot hold one each for ever.
///
/// A lock is never given back: it is void once its execution has ended.
async fn lock(
    clients: &Clients,
    context: &Context,
    routes: &[Route],
    run: &str,
    execution: &str,
) -> Result<(), StepError> {
    let keys: BTreeMap<String, &Route> = routes.iter().map(|route| (lock_key(route), route)).collect();
    let mine = Lock { run: run.to_owned(), execution: execution.to_owned() };
    for (key, route) in keys {
        lock_one(clients, context, &key, &route.name, &mine).await?;
    }
    Ok(())
}

async fn lock_one(clients: &Clients, context: &Context, key: &str, route: &str, mine: &Lock) -> Result<(), StepError> {
    for race in 1..=RACES_MAX {
        if put_new(clients, key, mine).await? {
            return Ok(());
        }
        if let Some((held, etag)) = record::<Lock>(clients, key).await? {
            if held == *mine {
                return Ok(());
            }
            if held.execution != mine.execution && clients.outbox.is_running(&held.execution).await? {
                let told = format!("route {route:?} is busy: run {} goes on in execution {}", held.run, held.execution);
                return Err(StepError::rejected(told));
            }
            if replace(clients, key, mine, &etag).await? {
                return Ok(());
            }
        }
        context.back_off(race).await;
    }
    Err(StepError::new(ErrorName::Transient, format!("the lock of route {route:?} changes hands all the time")))
}

/// Looks at both sides of every route and keeps what was seen for the report.
async fn check_sides(clients: &Clients, run: &str, routes: &[Route], deletes: bool) -> Result<(), StepError> {
    let looks = routes.iter().map(|route| async move {
        RouteChecks { route: route.name.clone(), checks: preflight(clients, route, deletes).await }
    });
    let found = join_all(looks).await;
    clients.work.put(&checks_key(run), as_json(&found)?).await?;
    let fault = found.iter().find_map(|seen| Some((&seen.route, fatal(&seen.checks)?)));
    match fault {
        Some((route, told)) => Err(StepError::rejected(format!("route {route:?}: {told}"))),
        None => Ok(()),
    }
}

/// The shards of all routes: as many in all as scan at once, and one for each route at least.
async fn split(clients: &Clients, request: &BackfillRequest, routes: &[Route]) -> Result<Vec<Shard>, StepError> {
    if request.keys.is_some() {
        return Ok(vec![Shard::default()]);
    }
    let count = u32::try_from(routes.len()).unwrap_or(u32::MAX).max(1);
    let all = scans(request);
    let splits = (0..).zip(routes).map(|(index, route)| async move {
        let most = (all / count + u32::from(index < all % count)).max(1);
        let split = shards(clients, route, most).await?;
        if split.is_empty() {
            return Err(StepError::bug(format!("route {:?} was split into nothing", route.name)));
        }
        Ok(split.into_iter().map(|shard| Shard { route: index, ..shard }).collect::<Vec<_>>())
    });
    // Boxed, so that the step may run on any thread.
    let made: Vec<Vec<Shard>> = stream::iter(splits).buffered(SPLITS_AT_ONCE).boxed().try_collect().await?;
    Ok(made.concat())
}
