//! Copies the missing parts of one range, many at once.

use super::large::{has_right_size, trusted};
use super::rate::remember;
use crate::clients::Clients;
use crate::context::Context;
use crate::destination::Destination;
use crate::engine::{Copied, Copying, copy_all};
use crate::error::StepError;
use crate::source::{Source, SourceLook};
use longhaul_core::contract::{IDLE_ROUNDS_MAX, LargeObject, RANGE_ROUNDS_MAX, RangeResult, RangeState, RangeWork};
use longhaul_core::error::ErrorName;
use longhaul_core::etag::ETag;
use longhaul_core::layout::PartRange;
use longhaul_core::tally::Tally;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Copies parts until the range is complete or the time is nearly up; returns what remains.
///
/// The destination says which parts it holds: a repeat of this step, or a second one at the same time, sends no part
/// that `ListParts` shows. Fails as `SourceChanged` if the planned version is no longer the current one, as `UploadGone`
/// if the upload is gone, as `TooSlow` after two rounds without a part.
pub async fn copy_parts(clients: &Clients, context: &Context, work: RangeWork) -> Result<RangeState, StepError> {
    let RangeWork { object, range, .. } = &work;
    let source = Source::connect(clients, &object.route.source).await?;
    let destination = Destination::of(clients, &object.route).await?;
    // Without a version id the next GET notices an overwrite; with one, nothing would (rule 4).
    if object.source.version_id.is_some() {
        check_current(&source, object).await?;
    }
    let held = destination.list_parts(&object.destination_key, &object.upload_id, *range).await?;
    let parts = trusted(object, &held);
    let mut missing: BTreeSet<u32> =
        parts.missing().filter(|number| (range.first..=range.last).contains(number)).collect();
    let mut tally = Tally { parts_held: u64::from(range.len()) - missing.len() as u64, ..Tally::default() };
    context.count(tally);
    // What is shown but not trusted: only where nothing but a comparison proves a part (rule 8).
    let unproven: BTreeMap<u32, ETag> = held
        .into_iter()
        .filter(|part| object.leaves_unproven() && has_right_size(&object.layout, part))
        .map(|part| (part.number, part.etag))
        .collect();

    let by_store = Mutex::default();
    let copying = Copying {
        engine: &clients.engine,
        context,
        source: &source,
        destination: &destination,
        object,
        by_store: &by_store,
    };
    let begun: Vec<u32> = missing.iter().copied().collect();
    let Copied { sent, held, error, rate } = copy_all(copying, &begun, &unproven).await;
    context.count(Tally { parts_held: held.len() as u64, ..Tally::default() });
    tally.parts_held += held.len() as u64;
    tally.parts += sent.len() as u64;
    let by_store = by_store.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(rate) = rate.filter(|_| by_store.is_empty()) {
        remember(clients, context, &object.route, rate).await;
    }
    let (copied, moved): (Vec<u32>, Vec<u32>) = sent.keys().partition(|number| by_store.contains(number));
    tally.server_side += copied.len() as u64;
    tally.bytes_up +=
        moved.iter().filter_map(|number| object.layout.part(*number)).map(|(_, length)| length).sum::<u64>();
    let progress = !sent.is_empty() || !held.is_empty();
    missing.retain(|number| !sent.contains_key(number) && !held.contains(number));
    if missing.is_empty() && object.leaves_unproven() {
        // What an attempt that was given up left in a connection may have arrived after the proof of the one that won.
        let proven: BTreeMap<u32, &ETag> = sent
            .iter()
            .filter_map(|(number, etag)| Some((*number, etag.as_ref()?)))
            .chain(held.iter().filter_map(|number| Some((*number, unproven.get(number)?))))
            .collect();
        for part in destination.list_parts(&object.destination_key, &object.upload_id, *range).await? {
            if proven.get(&part.number).is_some_and(|etag| **etag != part.etag) {
                missing.insert(part.number);
            }
        }
    }
    // An error after some progress is no reason to throw the progress away: the next round meets it again if it lasts.
    if let Some(error) = error
        && (!progress || !error.name.is_retryable())
    {
        return Err(error);
    }
    let tally = work.tally + tally;
    let (Some(first), Some(last)) = (missing.first(), missing.last()) else {
        return Ok(RangeState::Done(RangeResult { tally, error: None }));
    };
    let rounds = work.rounds + 1;
    let idle = if progress { 0 } else { work.idle + 1 };
    if idle >= IDLE_ROUNDS_MAX {
        return Err(StepError::new(
            ErrorName::TooSlow,
            format!("two rounds without a part of {} bytes in {} s each", object.layout.part_size(), ROUND.as_secs()),
        ));
    }
    if rounds >= RANGE_ROUNDS_MAX {
        if object.leaves_unproven() {
            // Nobody could tell the parts that were compared from those that were not.
            return Err(StepError::new(
                ErrorName::TooSlow,
                format!("unproven parts of {} bytes: {rounds} rounds did not suffice", object.layout.part_size()),
            ));
        }
        // `complete` finds what is missing and decides who goes on.
        return Ok(RangeState::Done(RangeResult { tally, error: None }));
    }
    let range = PartRange { first: *first, last: *last };
    Ok(RangeState::CopyParts(Box::new(RangeWork { range, rounds, idle, tally, ..work })))
}

/// The longest that any function may run, for messages.
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
