//! Copies the missing parts of one range, many at once.

use super::large::{is_comparable, trusted};
use crate::clients::Clients;
use crate::context::Context;
use crate::destination::Destination;
use crate::engine::{BUFFER_MAX, copy_part};
use crate::error::StepError;
use crate::source::{Source, SourceLook};
use futures::stream::{FuturesUnordered, StreamExt as _};
use longhaul_core::contract::{IDLE_ROUNDS_MAX, LargeObject, RANGE_ROUNDS_MAX, RangeResult, RangeState, RangeWork};
use longhaul_core::error::ErrorName;
use longhaul_core::layout::PartRange;
use longhaul_core::tally::Tally;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Copies parts until the range is complete or the time is nearly up; returns what remains.
///
/// The destination says which parts it holds: a repeat of this step, or a second one at the same time, sends no part
/// that `ListParts` shows. Fails as `SourceChanged` if the planned version is no longer the current one, as `UploadGone`
/// if the upload is gone, as `TooSlow` after two rounds without a part.
pub async fn copy_parts(clients: &Clients, context: &Context, work: RangeWork) -> Result<RangeState, StepError> {
    let RangeWork { object, range, .. } = &work;
    let source = Source::connect(clients, &object.route.source).await?;
    let destination = Destination::connect(clients, &object.route.destination).await?;
    check_current(&source, object).await?;
    let held = destination.list_parts(&object.destination_key, &object.upload_id, *range).await?;
    let parts = trusted(object, &held);
    let mut missing: BTreeSet<u32> =
        parts.missing().filter(|number| (range.first..=range.last).contains(number)).collect();
    let mut tally = Tally { parts_held: u64::from(range.len()) - missing.len() as u64, ..Tally::default() };
    context.count(tally);

    let Copied { sent, error } = copy_all(clients, context, &source, &destination, object, &missing).await;
    for number in &sent {
        missing.remove(number);
        tally.parts += 1;
        tally.bytes_up += object.layout.part(*number).map_or(0, |(_, length)| length);
    }
    // An error after some progress is no reason to throw the progress away: the next round meets it again if it lasts.
    if let Some(error) = error
        && (sent.is_empty() || !error.name.is_retryable())
    {
        return Err(error);
    }
    let tally = work.tally + tally;
    let (Some(first), Some(last)) = (missing.first(), missing.last()) else {
        return Ok(RangeState::Done(RangeResult { tally, error: None }));
    };
    let rounds = work.rounds + 1;
    let idle = if sent.is_empty() { work.idle + 1 } else { 0 };
    if idle >= IDLE_ROUNDS_MAX {
        return Err(StepError::new(
            ErrorName::TooSlow,
            format!("two rounds without a part of {} bytes in {} s each", object.layout.part_size(), ROUND.as_secs()),
        ));
    }
    if rounds >= RANGE_ROUNDS_MAX {
        if object.layout.part_size() > BUFFER_MAX && !is_comparable(object) {
            // Nobody could tell the parts that were compared from those that were not.
            return Err(StepError::new(
                ErrorName::TooSlow,
                format!("streamed parts of {} bytes: {rounds} rounds did not suffice", object.layout.part_size()),
            ));
        }
        // `complete` finds what is missing and decides who goes on.
        return Ok(RangeState::Done(RangeResult { tally, error: None }));
    }
    let range = PartRange { first: *first, last: *last };
    Ok(RangeState::CopyParts(Box::new(RangeWork { range, rounds, idle, tally, ..work })))
}

/// How long a function may run at most, for messages.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const ROUND: Duration = Duration::from_secs(900);

/// The current source; fails as `SourceChanged` or `SourceGone` if it is not the planned version any more (rule 4).
pub(super) async fn check_current(source: &Source, object: &LargeObject) -> Result<SourceLook, StepError> {
    let look = source.head(&object.offer.key, None).await?;
    if object.source.is_still(&look.identity) {
        return Ok(look);
    }
    Err(StepError::new(
        ErrorName::SourceChanged,
        format!(
            "the source is no longer the version that was planned: {} now, {} then",
            look.identity.etag, object.source.etag
        ),
    ))
}

struct Copied {
    sent: Vec<u32>,
    /// What stopped it before the time did.
    error: Option<StepError>,
}

/// Parts at once in the beginning; one more for each that arrives, half as many after a fault. What a slow link cannot
/// carry is not put on it all at once.
const WIDTH_AT_FIRST: usize = 4;
/// Faults in a row, each of them a part that was given up after its own repeats, that end the invocation.
const FAULTS_MAX: usize = 4;

/// Copies parts, as many at once as the link and the engine take, until none is missing or the time is nearly up. A part
/// is begun only if it can end in time at the slowest rate seen so far; the first ones always are.
async fn copy_all(
    clients: &Clients,
    context: &Context,
    source: &Source,
    destination: &Destination,
    object: &LargeObject,
    missing: &BTreeSet<u32>,
) -> Copied {
    let engine = &clients.engine;
    let one = |number: u32| async move {
        let begun = Instant::now();
        let result = copy_part(engine, context, source, destination, object, number).await;
        (number, begun.elapsed(), result)
    };
    let mut waiting: VecDeque<u32> = missing.iter().copied().collect();
    let mut flying = FuturesUnordered::new();
    let mut copied = Copied { sent: Vec::new(), error: None };
    let mut slowest = Duration::ZERO;
    let mut width = WIDTH_AT_FIRST.min(engine.in_flight());
    let mut faults = 0;
    loop {
        while flying.len() < width {
            let begins = copied.sent.is_empty() && flying.is_empty() && faults == 0 || context.time_left() > slowest;
            let Some(number) = (if begins { waiting.pop_front() } else { None }) else { break };
            flying.push(one(number));
        }
        // What is still under way when the time is up is dropped: the next invocation asks what arrived.
        let Ok(Some((number, took, result))) = timeout_at(context.last_moment(), flying.next()).await else {
            return copied;
        };
        match result {
            Ok(()) => {
                copied.sent.push(number);
                slowest = slowest.max(took);
                width = (width + 1).min(engine.in_flight());
                faults = 0;
            }
            Err(error) => {
                tracing::warn!(key = object.offer.key, number, %error, "part failed");
                faults += 1;
                width = (width / 2).max(1);
                if !error.name.is_retryable() || faults == FAULTS_MAX {
                    copied.error = Some(error);
                    return copied;
                }
                waiting.push_back(number);
            }
        }
    }
}
