//! Routes, classifies and lays out the work of a request.

use super::large::{Planned, ToPlan, abandon_gone, plan_large};
use super::objects::{Lines, read_lines, spill};
use super::run_item::{Idle, idle, opened};
use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::outcomes::{Learnt, Offered, failed, record};
use crate::source::Source;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use longhaul_core::backfill::run::RunRef;
use longhaul_core::classify::SMALL_MAX;
use longhaul_core::config::{Config, Route};
use longhaul_core::contract::{
    Again, BATCH_BYTES_MAX, BATCH_OBJECTS_MAX, Batch, BatchObjects, Done, INLINE_MAX_BYTES, ITEMS_AT_ONCE, ITEMS_MAX,
    ItemState, ManifestLines, PLAN_OBJECTS_MAX, PlanInput, PlanOutput, PlanRequest, RANGES_TOTAL_MAX, REST_MAX_BYTES,
    Rest, Work, WorkTag,
};
use longhaul_core::error::ErrorName;
use longhaul_core::layout::PartRange;
use longhaul_core::names::{plan_key, short_execution};
use longhaul_core::outcome::{Outcome, SkipReason};
use longhaul_core::request::{ManifestRef, ObjectRef, Request, deduplicated};
use longhaul_core::tally::Tally;

/// Looks at the source in flight at once, where a request does not say how large its objects are.
const LOOKS_AT_ONCE: usize = 32;
/// Large objects planned at once.
const LARGE_AT_ONCE: usize = 8;

/// Plans a request, or one object again.
pub async fn plan(clients: &Clients, context: &Context, input: PlanInput) -> Result<PlanOutput, StepError> {
    match input {
        PlanInput::Plan(request) => Ok(PlanOutput::Work(plan_request(clients, context, request).await?)),
        PlanInput::PlanAgain(again) => Ok(PlanOutput::Item(Box::new(plan_again(clients, context, again).await?))),
    }
}

/// The objects of a request that this execution takes on, and what it leaves for a successor.
struct Taken {
    objects: Vec<ObjectRef>,
    /// Offers of keys that are among them already.
    repeated: u64,
    left: Vec<ObjectRef>,
    manifests: Vec<ManifestRef>,
}

async fn take(clients: &Clients, request: Request) -> Result<Taken, StepError> {
    let Request { mut objects, manifests, .. } = request;
    let left = objects.split_off(objects.len().min(PLAN_OBJECTS_MAX));
    let mut unread = Vec::new();
    for manifest in manifests {
        let room = PLAN_OBJECTS_MAX - objects.len();
        if room == 0 {
            unread.push(manifest);
            continue;
        }
        let Lines { objects: read, rest } = read_lines(clients, &manifest, room).await?;
        objects.extend(read);
        unread.extend(rest);
    }
    let offered = objects.len();
    let objects = deduplicated(objects);
    let repeated = (offered - objects.len()) as u64;
    Ok(Taken { objects, repeated, left, manifests: unread })
}

/// Who plans.
#[derive(Clone, Copy)]
struct By<'a> {
    execution: &'a str,
    run: Option<&'a RunRef>,
}

impl<'a> By<'a> {
    fn offered(self, offer: &'a ObjectRef, route: &'a Route) -> Offered<'a> {
        Offered { offer, route: Some(route), execution: self.execution, run: self.run }
    }
}

/// An object, its route, and how it is to be copied.
struct Routed {
    offer: ObjectRef,
    /// Index into the plan's routes.
    route: usize,
}

async fn plan_request(clients: &Clients, context: &Context, input: PlanRequest) -> Result<Work, StepError> {
    let (request, header) = opened(clients, Request::from_value(&input.request)?).await?;
    let execution = input.execution;
    let (given, run) = (request.route.clone(), request.run.clone());
    let of_run = run.as_ref().map(RunRef::from);
    if let Some(item) = &run
        && let Some(idle) = idle(clients, item, header.as_ref()).await?
    {
        let tally = match idle {
            Idle::Held => Tally { held: header.map_or(0, |header| u64::from(header.objects)), ..Tally::default() },
            Idle::Done => Tally::default(),
        };
        let (execution, run, attempt) = (short_execution(&execution), item.name.as_str(), item.attempt);
        tracing::info!(execution, run, attempt, manifest = item.manifest, held = tally.held, "nothing to do");
        // Without the manifest's name: what an earlier attempt recorded for it stands.
        return Ok(Work {
            next: WorkTag::Work,
            work: Vec::new(),
            max_concurrency: 1,
            tally,
            rest: Rest::default(),
            route: None,
            run: None,
        });
    }
    let config = match given {
        Some(_) => None,
        None => Some(clients.routes.config().await?),
    };
    let Taken { objects, repeated, mut left, manifests } = take(clients, request).await?;

    // Every line of a run's manifest is accounted for. A key that a list names twice is brought once, and is unchanged
    // the second time.
    let unchanged = if run.is_some() { repeated } else { 0 };
    let mut tally = Tally { unchanged, ..Tally::default() };
    let mut routes: Vec<Route> = Vec::new();
    let mut routed = Vec::new();
    for offer in objects {
        match route_for(&offer, given.as_ref(), config.as_deref()) {
            Ok(route) => {
                let index = routes.iter().position(|known| *known == route).unwrap_or_else(|| {
                    routes.push(route);
                    routes.len() - 1
                });
                routed.push(Routed { offer, route: index });
            }
            Err(unrouted) => {
                let route = unrouted.route.as_ref();
                let offered = Offered { offer: &offer, route, execution: &execution, run: of_run.as_ref() };
                let outcome = failed(unrouted.error.failure());
                tally += record(clients, context, offered, &outcome, Learnt::default(), None).await?;
            }
        }
    }
    let by = By { execution: &execution, run: of_run.as_ref() };
    tally += measure(clients, context, &routes, by, &mut routed).await?;

    let (mut small, large): (Vec<_>, Vec<_>) =
        routed.into_iter().partition(|routed| routed.offer.size.is_some_and(|size| size <= SMALL_MAX));
    // A first cut before any upload is begun: what the execution cannot hold waits for the successor.
    let mut large = large;
    left.extend(large.split_off(large.len().min(ITEMS_MAX / 2)).into_iter().map(|routed| routed.offer));
    let mut work = Vec::new();
    let begun_ms = context.clock.now_ms();
    let planned: Vec<(Routed, Result<Planned, StepError>)> = stream::iter(large)
        .map(|routed| {
            let route = &routes[routed.route];
            async move {
                let By { execution, run } = by;
                let to_plan = ToPlan { offer: &routed.offer, route, execution, run, replans: 0 };
                let planned = plan_large(clients, context, &to_plan).await;
                (routed, planned)
            }
        })
        .buffered(LARGE_AT_ONCE)
        .boxed()
        .collect()
        .await;
    for (routed, planned) in planned {
        let offered = by.offered(&routed.offer, &routes[routed.route]);
        match planned {
            Ok(Planned::Work(large)) => work.push(ItemState::CopyParts(large)),
            Ok(Planned::Small(offer)) => small.push(Routed { offer, route: routed.route }),
            Ok(Planned::Had(had)) => tally += had,
            Ok(Planned::Ended(outcome, learnt)) => {
                let learnt = Learnt { begun_ms: Some(begun_ms), ..*learnt };
                tally += record(clients, context, offered, &outcome, learnt, None).await?;
            }
            // The whole step is repeated: what was planned is found again.
            Err(error) if error.name.is_retryable() || error.keys_refused => return Err(error),
            Err(error) => {
                let outcome = failed(error.failure());
                tally += record(clients, context, offered, &outcome, Learnt::default(), None).await?;
            }
        }
    }
    share_ranges(&mut work);
    let batches = batches(small, &routes, by, ITEMS_MAX - work.len());
    work.extend(placed(clients, &execution, batches.batches).await?);
    left.extend(batches.left.into_iter().map(|routed| routed.offer));
    let mut rest = spill(clients, left, REST_MAX_BYTES).await?;
    rest.manifests.extend(manifests);
    let (name, attempt) = (by.run.map(|run| run.name.as_str()), by.run.map(|run| run.attempt));
    let (execution, items, ended) = (short_execution(&execution), work.len(), tally.objects());
    tracing::info!(execution, run = name, attempt, items, ended, rest = !rest.is_empty(), "planned");
    Ok(Work { next: WorkTag::Work, work, max_concurrency: ITEMS_AT_ONCE, tally, rest, route: given, run })
}

/// Why an object cannot be routed, and the route that it does not fit, where one was found.
struct Unrouted {
    error: StepError,
    route: Option<Route>,
}

fn route_for(offer: &ObjectRef, given: Option<&Route>, config: Option<&Config>) -> Result<Route, Box<Unrouted>> {
    let without = |told: String| Box::new(Unrouted { error: StepError::rejected(told), route: None });
    let route = match given {
        Some(route) if route.takes(&offer.bucket, &offer.key) => route,
        Some(route) => {
            let Route { name, .. } = route;
            return Err(without(format!("route {name:?} does not take s3://{}/{}", offer.bucket, offer.key)));
        }
        None => config
            .and_then(|config| config.route(&offer.bucket, &offer.key))
            .ok_or_else(|| without(format!("no route takes s3://{}/{}", offer.bucket, offer.key)))?,
    };
    match route.destination_key(&offer.key) {
        Ok(_) => Ok(route.clone()),
        Err(error) => Err(Box::new(Unrouted { error: error.into(), route: Some(route.clone()) })),
    }
}

/// Finds the sizes that the request does not tell. Objects that are gone end here.
async fn measure(
    clients: &Clients,
    context: &Context,
    routes: &[Route],
    by: By<'_>,
    routed: &mut Vec<Routed>,
) -> Result<Tally, StepError> {
    let looks: Vec<(usize, Result<u64, StepError>)> = stream::iter(routed.iter().enumerate())
        .filter(|(_, routed)| futures::future::ready(routed.offer.size.is_none()))
        .map(|(index, routed)| {
            let (side, key) = (&routes[routed.route].source, &routed.offer.key);
            async move {
                let look = async {
                    let source = Source::connect(clients, side).await?;
                    Ok(source.head(key, None).await?.identity.size)
                };
                (index, look.await)
            }
        })
        .buffered(LOOKS_AT_ONCE)
        // Boxed, so that the step may run on any thread.
        .boxed()
        .collect()
        .await;
    let mut tally = Tally::default();
    let mut ended = Vec::new();
    for (index, look) in looks {
        let outcome = match look {
            Ok(size) => {
                routed[index].offer.size = Some(size);
                continue;
            }
            Err(error) if error.name.is_retryable() || error.keys_refused => return Err(error),
            Err(error) if error.name == ErrorName::SourceGone => {
                let Routed { offer, route } = &routed[index];
                abandon_gone(clients, &routes[*route], &offer.key).await?;
                Outcome::Skipped { reason: SkipReason::SourceGone }
            }
            Err(error) => failed(error.failure()),
        };
        let Routed { offer, route } = &routed[index];
        let offered = by.offered(offer, &routes[*route]);
        let learnt = Learnt { begun_ms: Some(context.clock.now_ms()), ..Learnt::default() };
        tally += record(clients, context, offered, &outcome, learnt, None).await?;
        ended.push(index);
    }
    let mut index = 0;
    routed.retain(|_| {
        index += 1;
        ended.binary_search(&(index - 1)).is_err()
    });
    Ok(tally)
}

/// Keeps the ranges of all large objects together within [`RANGES_TOTAL_MAX`].
fn share_ranges(work: &mut [ItemState]) {
    let share = RANGES_TOTAL_MAX.checked_div(work.len()).unwrap_or(RANGES_TOTAL_MAX).max(1);
    for item in work {
        if let ItemState::CopyParts(large) = item {
            large.object.most_ranges = large.object.most_ranges.min(share as u32);
            large.ranges = merged(std::mem::take(&mut large.ranges), share);
            large.max_concurrency = large.ranges.len().max(1) as u32;
        }
    }
}

/// At most `most` ranges that cover the given ones, over parts that are held already.
fn merged(ranges: Vec<PartRange>, most: usize) -> Vec<PartRange> {
    if ranges.len() <= most {
        return ranges;
    }
    ranges
        .chunks(ranges.len().div_ceil(most))
        .map(|group| PartRange { first: group[0].first, last: group[group.len() - 1].last })
        .collect()
}

struct Batches {
    batches: Vec<Batch>,
    left: Vec<Routed>,
}

/// Batches of one route each, at most `most` of them.
fn batches(small: Vec<Routed>, routes: &[Route], by: By<'_>, most: usize) -> Batches {
    let mut all = Batches { batches: Vec::new(), left: Vec::new() };
    let mut small = small;
    small.sort_by_key(|routed| routed.route);
    let mut current: Option<(usize, u64, Vec<ObjectRef>)> = None;
    let close = |all: &mut Batches, route: usize, objects: Vec<ObjectRef>| {
        all.batches.push(Batch {
            route: routes[route].clone(),
            execution: by.execution.to_owned(),
            run: by.run.cloned(),
            objects: BatchObjects::Inline(objects),
            idle: 0,
            tally: Tally::default(),
            remaining: Rest::default(),
            slowest: None,
        });
    };
    for routed in small {
        let size = routed.offer.size.unwrap_or(0);
        let fits = current.as_ref().is_some_and(|(route, bytes, objects)| {
            *route == routed.route && bytes + size <= BATCH_BYTES_MAX && objects.len() < BATCH_OBJECTS_MAX
        });
        if !fits {
            if let Some((route, _, objects)) = current.take() {
                close(&mut all, route, objects);
            }
            if all.batches.len() == most {
                all.left.push(routed);
                continue;
            }
        }
        let (_, bytes, objects) = current.get_or_insert_with(|| (routed.route, 0, Vec::new()));
        *bytes += size;
        objects.push(routed.offer);
    }
    if let Some((route, _, objects)) = current {
        close(&mut all, route, objects);
    }
    all
}

/// The batches as items: their objects travel in the state where they are few, else in a manifest.
async fn placed(clients: &Clients, execution: &str, batches: Vec<Batch>) -> Result<Vec<ItemState>, StepError> {
    let mut manifest = Vec::new();
    let mut places = Vec::with_capacity(batches.len());
    for batch in &batches {
        let from = manifest.len() as u64;
        if let BatchObjects::Inline(objects) = &batch.objects {
            for object in objects {
                serde_json::to_writer(&mut manifest, object).map_err(|error| StepError::bug(error.to_string()))?;
                manifest.push(b'\n');
            }
        }
        places.push((from, manifest.len() as u64));
    }
    if manifest.len() <= INLINE_MAX_BYTES {
        return Ok(batches.into_iter().map(ItemState::CopyObjects).collect());
    }
    let key = plan_key(execution, &manifest);
    clients.work.put(&key, Bytes::from(manifest)).await?;
    let bucket = clients.work.bucket().to_owned();
    Ok(batches
        .into_iter()
        .zip(places)
        .map(|(batch, (offset, end))| {
            let manifest = ManifestRef { bucket: bucket.clone(), key: key.clone(), offset, end: Some(end) };
            let objects = BatchObjects::Manifest(ManifestLines { manifest, lines: None });
            ItemState::CopyObjects(Batch { objects, ..batch })
        })
        .collect())
}

async fn plan_again(clients: &Clients, context: &Context, again: Again) -> Result<ItemState, StepError> {
    let Again { offer, route, execution, run, most_ranges, replans, tally } = again;
    let by = By { execution: &execution, run: run.as_ref() };
    let to_plan = ToPlan { offer: &offer, route: &route, execution: &execution, run: by.run, replans };
    match plan_large(clients, context, &to_plan).await? {
        Planned::Work(mut large) => {
            large.object.most_ranges = most_ranges;
            large.ranges = merged(large.ranges, most_ranges.max(1) as usize);
            large.max_concurrency = large.ranges.len().max(1) as u32;
            large.tally = tally;
            Ok(ItemState::CopyParts(large))
        }
        Planned::Had(had) => Ok(ItemState::Done(Done { tally: tally + had, ..Done::default() })),
        Planned::Ended(outcome, learnt) => {
            let offered = by.offered(&offer, &route);
            let tally = tally + record(clients, context, offered, &outcome, *learnt, None).await?;
            Ok(ItemState::Done(Done { tally, ..Done::default() }))
        }
        Planned::Small(offer) => Ok(ItemState::CopyObjects(Batch {
            route,
            execution,
            run,
            objects: BatchObjects::Inline(vec![offer]),
            idle: 0,
            tally,
            remaining: Rest::default(),
            slowest: None,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longhaul_core::config::Side;

    fn routed(route: usize, size: u64) -> Routed {
        Routed { offer: ObjectRef { size: Some(size), key: "k".into(), ..ObjectRef::default() }, route }
    }

    fn routes() -> Vec<Route> {
        ["a", "b"]
            .map(|name| Route {
                name: name.into(),
                source: Side::default(),
                destination: Side::default(),
                options: Default::default(),
            })
            .to_vec()
    }

    #[test]
    fn rule_13_batches_hold_one_route_and_stay_in_their_bounds() {
        let small = (0..1_200).map(|n| routed(n % 2, 1)).collect();
        let all = batches(small, &routes(), By { execution: "e", run: None }, 40);
        let counts: Vec<_> = all
            .batches
            .iter()
            .map(|batch| match &batch.objects {
                BatchObjects::Inline(objects) => (batch.route.name.clone(), objects.len()),
                BatchObjects::Manifest(_) => (String::new(), 0),
            })
            .collect();
        let expected = [("a", 500), ("a", 100), ("b", 500), ("b", 100)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counts, expected);
        assert!(all.left.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_successor() {
        let small = (0..1_200).map(|_| routed(0, 1)).collect();
        let all = batches(small, &routes(), By { execution: "e", run: None }, 2);
        assert_eq!((all.batches.len(), all.left.len()), (2, 200));
    }

    #[test]
    fn merged_ranges_cover_what_they_replace() {
        let ranges: Vec<_> = (0..40).map(|n| PartRange { first: n * 10 + 1, last: n * 10 + 5 }).collect();
        let few = merged(ranges.clone(), 7);
        assert!(few.len() <= 7);
        assert_eq!((few[0].first, few[few.len() - 1].last), (1, 395));
        for range in ranges {
            assert_eq!(few.iter().filter(|r| r.first <= range.first && range.last <= r.last).count(), 1);
        }
    }
}
