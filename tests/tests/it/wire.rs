//! Faults at the wire: each ends in an equal object or in a named error, and no wrong object ever stands anywhere.

mod reads;
mod waits;
mod writes;

use crate::world::{MIB, World};
use bytes::Bytes;
use longhaul_aws::clients::Clients;
use longhaul_aws::engine::Engine;
use longhaul_aws::steps::{complete, copy_objects, copy_parts, plan};
use longhaul_core::contract::{
    ItemState, Large, PlanInput, PlanOutput, PlanRequest, RangeResult, RangeState, RangeWork,
};
use longhaul_core::request::Request;
use longhaul_core::tally::Tally;
use longhaul_testing::{BucketSettings, Encryption, Entry, Rule, TestS3};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(super) const KIB: u64 = 1024;
/// What a function may take: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const STEP_TIME: Duration = Duration::from_secs(900);
/// States of an item after which it counts as going in circles.
const STATES_MAX: usize = 60;

/// How the two endpoints are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Loopback sockets in the clear. Bytes under way are lost with a connection.
    Sockets,
    /// In the clear without sockets: a cut is where it was asked for, and time can be paused.
    Plain,
    /// As over TLS, without sockets: checksums trail.
    Tls,
}

pub(super) const LINKS: [Link; 3] = [Link::Sockets, Link::Plain, Link::Tls];
pub(super) const WITHOUT_SOCKETS: [Link; 2] = [Link::Plain, Link::Tls];

impl Link {
    /// What the destination may say of its encryption. Sockets wait in real time, and say nothing new about it.
    pub(super) fn encryptions(self) -> &'static [Encryption] {
        if self == Self::Sockets { &[Encryption::Aes256] } else { &[Encryption::Aes256, Encryption::Kms] }
    }
}

/// Runs `body` over each link. Without sockets time is paused: it passes only when everybody waits.
pub(super) fn over<F: Future<Output = ()>>(links: impl IntoIterator<Item = Link>, body: impl Fn(Link) -> F) {
    for link in links {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(link != Link::Sockets);
        runtime.build().unwrap().block_on(body(link));
    }
}

/// Bytes that differ from seed to seed, of at most 61 MiB.
pub(super) fn bytes(seed: u64, size: u64) -> Bytes {
    static POOL: OnceLock<Bytes> = OnceLock::new();
    let pool = POOL.get_or_init(|| World::bytes(1, 64 * MIB).into());
    let begin = (seed % 3_000) * KIB + seed % 7;
    pool.slice(begin as usize..(begin + size) as usize)
}

pub(super) async fn world(link: Link, at_destination: Encryption) -> World {
    let mut world = match link {
        Link::Sockets => World::new().await,
        Link::Plain | Link::Tls => World::over_tls().await,
    };
    if link == Link::Plain {
        for side in [&mut world.route.source, &mut world.route.destination] {
            side.endpoint = side.endpoint.as_ref().map(|endpoint| endpoint.replacen("https:", "http:", 1));
        }
    }
    let settings = BucketSettings { encryption: at_destination, ..BucketSettings::default() };
    world.there.store().set_bucket("arrivals", settings);
    world
}

/// How a source object came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// By one PUT: its ETag is its MD5.
    Whole,
    /// In parts: its ETag is made of theirs.
    Parts(u64),
}

impl Made {
    pub(super) fn put(self, world: &World, key: &str, bytes: &Bytes) {
        match self {
            Self::Whole => {
                world.here.store().put("departures", key, bytes.clone());
            }
            Self::Parts(size) => {
                let begins = (0..bytes.len()).step_by(size as usize);
                let parts = begins.map(|at| bytes.slice(at..bytes.len().min(at + size as usize)));
                world.here.store().put_parts("departures", key, parts.collect());
            }
        }
    }
}

/// What became of some objects.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// What the steps counted on the way.
    pub(super) counted: Tally,
    /// Their outcomes.
    pub(super) ended: Tally,
    /// Names of the errors that ended an item without an outcome.
    pub(super) errors: Vec<String>,
}

impl Ran {
    /// Fails unless so many objects arrived and nothing else happened to any. A lost reply makes a finished write look
    /// like one that somebody else made.
    pub(super) fn assert_arrived(&self, objects: u64, what: &str) {
        assert!(self.errors.is_empty(), "{what}: {self:?}");
        let Tally { migrated, unchanged, .. } = self.ended;
        assert_eq!((migrated + unchanged, self.ended.objects()), (objects, objects), "{what}: {self:?}");
    }

    /// Faults as `(resets, throttles, stalls, server errors, mismatches)`.
    pub(super) fn faults(&self) -> (u64, u64, u64, u64, u64) {
        let Tally { resets, throttles, stalls, server_errors, mismatches, .. } = self.counted;
        (resets, throttles, stalls, server_errors, mismatches)
    }
}

/// Takes `keys` through the steps, as the state machine does, but repeats no failed step.
pub(super) async fn run(world: &World, keys: &[&str]) -> Ran {
    run_with(world, &world.clients, keys).await
}

/// The same with other clients, by which an engine can be replaced.
pub(super) async fn run_with(world: &World, clients: &Clients, keys: &[&str]) -> Ran {
    let mut ran = Ran::default();
    let request = Request { route: Some(world.route.clone()), ..world.request(keys) };
    let request = PlanRequest { request: serde_json::to_value(&request).unwrap(), execution: "e".into() };
    let context = world.context_for(STEP_TIME);
    let PlanOutput::Work(work) = plan(clients, &context, PlanInput::Plan(request)).await.unwrap() else { panic!() };
    ran.counted += context.counted();
    ran.ended += work.tally;
    let mut items = VecDeque::from(work.work);
    let mut states = 0;
    while let Some(item) = items.pop_front() {
        states += 1;
        assert!(states < STATES_MAX, "no end: {ran:?}, {item:?}");
        let context = world.context_for(STEP_TIME);
        let next = match item {
            ItemState::CopyObjects(batch) => copy_objects(clients, &context, batch).await,
            ItemState::CopyParts(large) => {
                let results = ranges(world, clients, &large, &mut ran.counted).await;
                Ok(ItemState::Complete(Box::new(Large { results, ..*large })))
            }
            ItemState::Complete(large) => complete(clients, &context, *large).await,
            ItemState::PlanAgain(again) => {
                plan(clients, &context, PlanInput::PlanAgain(*again)).await.map(|output| match output {
                    PlanOutput::Item(item) => *item,
                    PlanOutput::Work(work) => panic!("{work:?}"),
                })
            }
            ItemState::Settle(large) => {
                ran.errors.push(large.error.unwrap().error);
                continue;
            }
            ItemState::Done(done) => {
                ran.ended += done.tally;
                assert!(done.remaining.is_empty(), "{done:?}");
                continue;
            }
        };
        ran.counted += context.counted();
        match next {
            Ok(next) => items.push_back(next),
            Err(error) => ran.errors.push(error.name.as_str().to_owned()),
        }
    }
    ran
}

async fn ranges(world: &World, clients: &Clients, large: &Large, counted: &mut Tally) -> Vec<RangeResult> {
    let mut results = Vec::new();
    for range in &large.ranges {
        let object = large.object.clone();
        let mut work = RangeWork { object, range: *range, rounds: 0, idle: 0, tally: Tally::default() };
        results.push(loop {
            let context = world.context_for(STEP_TIME);
            let state = copy_parts(clients, &context, work).await;
            *counted += context.counted();
            match state {
                Ok(RangeState::CopyParts(next)) => work = *next,
                Ok(RangeState::Done(result)) => break result,
                Err(error) => break RangeResult { error: Some(error.caught()), ..RangeResult::default() },
            }
        });
    }
    results
}

/// The clients of `world` with another engine.
pub(super) fn with_engine(world: &World, engine: Engine) -> Clients {
    Clients { engine: Arc::new(engine), ..(*world.clients).clone() }
}

/// Remembers whether the destination ever showed an object that was not its source at that time.
#[derive(Debug)]
pub(super) struct Watch(Arc<AtomicBool>);

impl Watch {
    /// Looks before every request that follows a write.
    pub(super) fn over(world: &World) -> Self {
        let wrong = Arc::new(AtomicBool::new(false));
        for operation in ["HeadObject", "CreateMultipartUpload", "AbortMultipartUpload", "PutObject"] {
            let (wrong, here) = (wrong.clone(), world.here.clone());
            world.there.faults().before(Rule::on(operation).times(0), move |store, call| {
                let key = call.key.as_deref().unwrap_or_default();
                let stands = store.get("arrivals", key);
                if stands.is_some() && stands != here.store().get("departures", key) {
                    wrong.store(true, Ordering::Relaxed);
                }
            });
        }
        Self(wrong)
    }

    pub(super) fn saw_a_wrong_object(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The requests of `operation` for `key`, in order of arrival.
pub(super) fn requests(side: &TestS3, operation: &str, key: &str) -> Vec<Entry> {
    let mut entries = side.log().entries();
    entries.retain(|entry| entry.call.operation == operation && entry.call.key.as_deref() == Some(key));
    entries
}

/// Their statuses; none where the reply was lost.
pub(super) fn statuses(side: &TestS3, operation: &str, key: &str) -> Vec<Option<u16>> {
    requests(side, operation, key).iter().map(|entry| entry.status).collect()
}

/// First and last byte that a request asked for.
pub(super) fn asked(entry: &Entry) -> Option<(u64, u64)> {
    let (first, last) = entry.call.range.as_deref()?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().unwrap(), last.parse().unwrap()))
}

/// Places in a body of `length` bytes: its edges, those of 64 KiB, and `more` anywhere.
pub(super) fn places(length: u64, seed: u64, more: u64) -> Vec<u64> {
    let edge = 64 * KIB;
    let drawn = World::bytes(seed, 8 * more);
    let drawn = drawn.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()) % length);
    let mut places: Vec<u64> = [0, 1, edge - 1, edge, edge + 1, length - 1].into_iter().chain(drawn).collect();
    places.retain(|place| *place < length);
    places.sort_unstable();
    places.dedup();
    places
}
