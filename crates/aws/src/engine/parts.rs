//! Many parts of one object at once: as many as the link takes, and the slowest of the last ones more than once.

use super::measure::Measuring;
use super::part::{Copying, Gauge, part_memory};
use crate::error::StepError;
use crate::transport::UNSENT_MAX;
use futures::future::{AbortHandle, Abortable};
use futures::stream::{FuturesUnordered, StreamExt as _};
use longhaul_core::etag::ETag;
use longhaul_core::hedge::{UnderWay, budget, losers, stragglers};
use longhaul_core::layout::PART_DEFAULT;
use longhaul_core::names::short_execution;
use longhaul_core::tally::Tally;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Faults in a row, each of them a part that was given up after its own repeats, that end the invocation.
const FAULTS_MAX: usize = 4;
/// How often stragglers are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// What an invocation did with its parts.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// Parts that were sent and proven, and the ETags that this was done under, where they were compared.
    pub(crate) sent: BTreeMap<u32, Option<ETag>>,
    /// Parts that the destination held already, and that are proven now.
    pub(crate) held: Vec<u32>,
    /// What stopped it before the time did.
    pub(crate) error: Option<StepError>,
    /// The most that one connection can have carried, in bytes a second, where it can be told.
    pub(crate) rate: Option<u64>,
}

/// How one copy of a part ended.
enum End {
    Sent(Option<ETag>),
    Held,
    /// There was no time left to begin it.
    NoTime,
}

/// How a copy comes to be begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The first of the invocation, whatever time is left.
    First,
    /// One of many.
    Next,
    /// One more copy of a part under way.
    Twin,
}

/// Time after which the first bytes have shown a rate.
const SHOWS: Duration = Duration::from_secs(1);

/// What is under way, and how fast it goes.
struct Load {
    /// Bytes that are begun and have not been moved.
    left: u64,
    /// Bytes a second, once it can be told.
    rate: Option<f64>,
    /// Bytes that may be begun before.
    first: u64,
}

impl Load {
    fn of(
        first: usize,
        under_way: &BTreeMap<u32, Copies>,
        length_of: impl Fn(u32) -> u64,
        arrived: u64,
        time: Duration,
    ) -> Self {
        let (mut left, mut moved) = (0, arrived);
        for (number, copies) in under_way {
            let best = copies.0.iter().filter_map(|(_, gauge, _)| gauge.flow()).map(|flow| flow.moved()).max();
            left += length_of(*number).saturating_sub(best.unwrap_or(0));
            // What a kernel took and has not sent says nothing of the link.
            moved += best.unwrap_or(0).saturating_sub(UNSENT_MAX);
        }
        Self {
            left,
            rate: (time >= SHOWS).then(|| moved as f64 / time.as_secs_f64()),
            first: first as u64 * PART_DEFAULT,
        }
    }

    /// True if `length` bytes more can arrive in `time` as well: many parts begun at once on a narrow link would all be
    /// cut off together. Counts them if so.
    fn takes(&mut self, length: u64, time: Duration) -> bool {
        let most = self.rate.map_or(self.first, |rate| (rate * time.as_secs_f64()) as u64);
        let fits = self.left + length <= most;
        if fits {
            self.left += length;
        }
        fits
    }
}

/// The copies of one part that are under way: one, or more where it is hedged.
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
    let length_of = |number: u32| object.layout.part(number).map_or(0, |(_, length)| length);
    let one = |number: u32, gauge: Arc<Gauge>, turn: Turn| {
        let slowest_ms = &slowest_ms;
        async move {
            let memory = part_memory(length_of(number), object.part_proof());
            let _permit = match turn {
                Turn::Twin => engine.admit_twin(memory).await?,
                _ => engine.admit(memory).await?,
            };
            if turn != Turn::First && context.time_left() <= Duration::from_millis(slowest_ms.load(Ordering::Relaxed)) {
                return Ok(End::NoTime);
            }
            if let Some(etag) = held.get(&number)
                && copying.is_proven(number, etag, &gauge).await?
            {
                return Ok(End::Held);
            }
            copying.part(number, &gauge).await.map(End::Sent)
        }
    };
    // A loser's bytes can arrive late and replace the winner's: they must be such as something still proves.
    let hedging = engine.hedging && !object.leaves_unproven();
    let mut extra = budget(missing.iter().map(|number| length_of(*number)).sum(), object.layout.part_size());
    let mut waiting: VecDeque<u32> = missing.iter().copied().collect();
    let mut flying = FuturesUnordered::new();
    let mut under_way: BTreeMap<u32, Copies> = BTreeMap::new();
    let mut rates: Vec<f64> = Vec::new();
    let mut copied = Copied::default();
    let mut begun = 0u64;
    let mut faults = 0;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut launch = |number: u32, copies: &mut Copies, turn: Turn| {
        begun += 1;
        let (id, gauge) = (begun, Arc::<Gauge>::default());
        let (abort, registration) = AbortHandle::new_pair();
        let copy = Abortable::new(one(number, gauge.clone(), turn), registration);
        copies.0.push((id, gauge, abort));
        async move { (number, id, copy.await) }
    };
    let waste = |extra: &mut u64, moved: u64| {
        *extra = extra.saturating_sub(moved);
        context.count(Tally { bytes_hedged: moved, bytes_down: moved, ..Tally::default() });
    };
    let began = Instant::now();
    let mut measuring = Measuring::begin(engine);
    let mut arrived = 0;
    let mut first = true;
    loop {
        let mut load = Load::of(engine.first, &under_way, length_of, arrived, began.elapsed());
        while under_way.len() < engine.in_flight() {
            let Some(number) = waiting.front().copied() else { break };
            if !first && !under_way.is_empty() && !load.takes(length_of(number), context.time_left()) {
                break;
            }
            waiting.pop_front();
            let turn = if std::mem::take(&mut first) { Turn::First } else { Turn::Next };
            flying.push(launch(number, under_way.entry(number).or_default(), turn));
        }
        if flying.is_empty() {
            break;
        }
        // What is still under way when the time is up is dropped: the next invocation asks what arrived.
        let turn = timeout_at(context.last_moment(), async {
            tokio::select! {
                biased;
                _ = ticks.tick() => None,
                ended = flying.next() => ended,
            }
        });
        let Ok(turn) = turn.await else {
            let flows = under_way.values().flat_map(|copies| &copies.0).filter_map(|(_, gauge, _)| gauge.flow());
            flows.for_each(|flow| measuring.saw(&flow));
            break;
        };
        let Some((number, id, result)) = turn else {
            engine.look();
            if hedging && waiting.is_empty() {
                let parts = show(&under_way, length_of);
                // From behind, so that the places before stay what they are.
                for (number, place) in losers(&parts).into_iter().rev() {
                    let Some(copies) = under_way.get_mut(&number) else { continue };
                    let (_, gauge, abort) = copies.0.remove(place);
                    abort.abort();
                    waste(&mut extra, gauge.flow().map_or(0, |flow| flow.moved()));
                }
                for number in stragglers(&parts, &rates, extra) {
                    let Some(copies) = under_way.get_mut(&number) else { continue };
                    tracing::debug!(number, "part hedged");
                    context.count(Tally { hedges: 1, ..Tally::default() });
                    flying.push(launch(number, copies, Turn::Twin));
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
                waste(&mut extra, copies.moved());
                for (.., twin) in &copies.0 {
                    twin.abort();
                }
                under_way.remove(&number);
                faults = 0;
                arrived += length_of(number);
                let End::Sent(etag) = end else {
                    copied.held.push(number);
                    continue;
                };
                copied.sent.insert(number, etag);
                if let Some(flow) = gauge.flow() {
                    let took_ms = u64::try_from(flow.age().as_millis()).unwrap_or(u64::MAX);
                    tracing::debug!(number, took_ms, "part arrived");
                    measuring.saw(&flow);
                    rates.push(flow.moved() as f64 / took_ms.max(1) as f64);
                    slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
                }
            }
            // The other copy goes on.
            Err(error) if !copies.0.is_empty() && error.name.is_retryable() => {
                tracing::debug!(number, %error, "one of two copies failed");
            }
            Err(error) => {
                let execution = short_execution(&object.execution);
                let (bucket, key) = (object.offer.bucket.as_str(), object.offer.key.as_str());
                let upload_id = object.upload_id.as_str();
                tracing::warn!(execution, bucket, key, upload_id, number, %error, "part failed");
                faults += 1;
                under_way.remove(&number);
                if !error.name.is_retryable() || faults == FAULTS_MAX {
                    copied.error = Some(error);
                    break;
                }
                waiting.push_back(number);
            }
        }
    }
    copied.rate = measuring.end();
    copied
}

/// The parts under way, if every one of them has had its turn: while some wait for theirs, nothing is sent again.
fn show(under_way: &BTreeMap<u32, Copies>, length_of: impl Fn(u32) -> u64) -> Vec<UnderWay> {
    let mut parts = Vec::with_capacity(under_way.len());
    for (number, copies) in under_way {
        let Some(copies) = copies.0.iter().map(|(_, gauge, _)| Some(gauge.flow()?.look())).collect() else {
            return Vec::new();
        };
        parts.push(UnderWay { number: *number, length: length_of(*number), copies });
    }
    parts
}
