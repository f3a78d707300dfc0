//! Many parts of one object at once: as many as the link takes, and the slowest of the last ones twice.

use super::part::{Copying, Gauge, part_memory};
use crate::error::StepError;
use futures::future::{AbortHandle, Abortable};
use futures::stream::{FuturesUnordered, StreamExt as _};
use longhaul_core::etag::ETag;
use longhaul_core::hedge::{UnderWay, budget, straggler};
use longhaul_core::tally::Tally;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

/// Faults in a row, each of them a part that was given up after its own repeats, that end the invocation.
const FAULTS_MAX: usize = 4;
/// How often stragglers are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// What an invocation did with its parts.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// Parts that were sent and proven.
    pub(crate) sent: Vec<u32>,
    /// Parts that the destination held already, and that are proven now.
    pub(crate) held: Vec<u32>,
    /// What stopped it before the time did.
    pub(crate) error: Option<StepError>,
}

/// How one copy of a part ended.
enum End {
    Sent,
    Held,
    /// There was no time left to begin it.
    NoTime,
}

/// The copies of one part that are under way: one, or two where it is hedged.
#[derive(Default)]
struct Copies(Vec<(u64, Arc<Gauge>, AbortHandle)>);

impl Copies {
    fn moved(&self) -> u64 {
        self.0.iter().filter_map(|(_, gauge, _)| gauge.flow()).map(|flow| flow.moved()).sum()
    }
}

/// Copies parts until none is left or the time is nearly up. Of `held` parts, which the destination shows under these
/// ETags but which nobody lived to prove, only the wrong ones are sent again.
///
/// A part is begun only if it can end in time at the slowest rate seen so far; the first one always is.
pub(crate) async fn copy_all(copying: Copying<'_>, missing: &[u32], held: &BTreeMap<u32, ETag>) -> Copied {
    let Copying { engine, context, object, .. } = copying;
    let slowest_ms = AtomicU64::new(0);
    let one = |number: u32, gauge: Arc<Gauge>, always: bool| {
        let slowest_ms = &slowest_ms;
        async move {
            let length = object.layout.part(number).map_or(0, |(_, length)| length);
            let _permit = engine.admit(part_memory(length, object.part_proof())).await?;
            if !always && context.time_left() <= Duration::from_millis(slowest_ms.load(Ordering::Relaxed)) {
                return Ok(End::NoTime);
            }
            if let Some(etag) = held.get(&number)
                && copying.is_proven(number, etag).await?
            {
                return Ok(End::Held);
            }
            copying.part(number, &gauge).await.map(|()| End::Sent)
        }
    };
    let bytes = missing.iter().filter_map(|number| object.layout.part(*number)).map(|(_, length)| length).sum();
    let mut extra = budget(bytes, object.layout.part_size());
    let mut waiting: VecDeque<u32> = missing.iter().copied().collect();
    let mut flying = FuturesUnordered::new();
    let mut under_way: BTreeMap<u32, Copies> = BTreeMap::new();
    let mut rates: Vec<f64> = Vec::new();
    let mut copied = Copied::default();
    let mut begun = 0u64;
    let mut faults = 0;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut launch = |number: u32, copies: &mut Copies| {
        begun += 1;
        let (id, gauge) = (begun, Arc::<Gauge>::default());
        let (abort, registration) = AbortHandle::new_pair();
        let copy = Abortable::new(one(number, gauge.clone(), id == 1), registration);
        copies.0.push((id, gauge, abort));
        async move { (number, id, copy.await) }
    };
    loop {
        while flying.len() < engine.in_flight() && faults < FAULTS_MAX {
            let Some(number) = waiting.pop_front() else { break };
            flying.push(launch(number, under_way.entry(number).or_default()));
        }
        if flying.is_empty() {
            return copied;
        }
        // What is still under way when the time is up is dropped: the next invocation asks what arrived.
        let turn = timeout_at(context.last_moment(), async {
            tokio::select! {
                ended = flying.next() => ended,
                _ = ticks.tick() => None,
            }
        });
        let Ok(turn) = turn.await else { return copied };
        let Some((number, id, result)) = turn else {
            engine.look();
            if engine.hedging && waiting.is_empty() {
                let parts = show(&under_way, &copying);
                if let Some((number, copies)) =
                    straggler(&parts, &rates, extra).and_then(|number| Some((number, under_way.get_mut(&number)?)))
                {
                    extra -= object.layout.part(number).map_or(0, |(_, length)| length);
                    context.count(Tally { hedges: 1, ..Tally::default() });
                    flying.push(launch(number, copies));
                }
            }
            continue;
        };
        // The twin of a part that has arrived.
        let Ok(result) = result else { continue };
        let Some(copies) = under_way.get_mut(&number) else { continue };
        let place = copies.0.iter().position(|(copy, ..)| *copy == id);
        let Some((_, gauge, _)) = place.map(|place| copies.0.swap_remove(place)) else { continue };
        match result {
            Ok(End::NoTime) => {
                if copies.0.is_empty() {
                    under_way.remove(&number);
                }
            }
            Ok(end) => {
                // Whoever comes second carries the same bytes: it is stopped, and what it moved was for nothing.
                let wasted = copies.moved();
                for (.., twin) in &copies.0 {
                    twin.abort();
                }
                under_way.remove(&number);
                context.count(Tally { bytes_hedged: wasted, bytes_down: wasted, ..Tally::default() });
                faults = 0;
                if let End::Held = end {
                    copied.held.push(number);
                    continue;
                }
                copied.sent.push(number);
                if let Some(flow) = gauge.flow() {
                    let took_ms = u64::try_from(flow.age().as_millis()).unwrap_or(u64::MAX);
                    rates.push(flow.moved() as f64 / took_ms.max(1) as f64);
                    slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
                }
            }
            // The other copy goes on.
            Err(error) if !copies.0.is_empty() && error.name.is_retryable() => {
                tracing::debug!(number, %error, "one of two copies failed");
            }
            Err(error) => {
                tracing::warn!(key = object.offer.key, number, %error, "part failed");
                faults += 1;
                under_way.remove(&number);
                if !error.name.is_retryable() || faults == FAULTS_MAX {
                    copied.error = Some(error);
                    return copied;
                }
                waiting.push_back(number);
            }
        }
    }
}

/// The parts under way, if every one of them has had its turn: while some wait for theirs, nothing is sent twice.
fn show(under_way: &BTreeMap<u32, Copies>, copying: &Copying<'_>) -> Vec<UnderWay> {
    let mut parts = Vec::with_capacity(under_way.len());
    for (number, copies) in under_way {
        let Some((_, length)) = copying.object.layout.part(*number) else { continue };
        let Some(flow) = copies.0.first().and_then(|(_, gauge, _)| gauge.flow()) else { return Vec::new() };
        parts.push(UnderWay {
            number: *number,
            length,
            moved: flow.moved(),
            age_ms: u64::try_from(flow.age().as_millis()).unwrap_or(u64::MAX),
            hedged: copies.0.len() > 1,
        });
    }
    parts
}
