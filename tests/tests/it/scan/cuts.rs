//! Whatever cuts a scan off, no key is missing and none is twice.

use super::*;
use futures::FutureExt as _;
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::scan::shards_by;
use longhaul_aws::work::{Found, MemoryWork, Page};
use longhaul_core::error::ErrorName;
use longhaul_testing::{Fault, Rule};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

/// Chance that repeats.
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A work bucket whose replies are lost now and then.
#[derive(Debug)]
struct Flaky {
    inner: MemoryWork,
    chance: Mutex<Chance>,
}

impl Flaky {
    fn fails(&self) -> bool {
        self.chance.lock().unwrap().one_in(5)
    }
}

fn lost() -> StepError {
    StepError::new(ErrorName::Transient, "lost")
}

#[async_trait::async_trait]
impl Work for Flaky {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StepError> {
        tokio::task::yield_now().await;
        if self.fails() {
            return Err(lost());
        }
        self.inner.put(key, body).await
    }
    async fn get(&self, bucket: &str, key: &str, from: u64, end: Option<u64>) -> Result<Bytes, StepError> {
        self.inner.get(bucket, key, from, end).await
    }
    async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, StepError> {
        tokio::task::yield_now().await;
        if self.fails() {
            return Err(lost());
        }
        let written = self.inner.put_new(key, body.clone()).await?;
        tokio::task::yield_now().await;
        if self.fails() {
            // The reply is lost; where the SDK has tried again, it was told that something stands there.
            return if self.chance.lock().unwrap().one_in(2) { Err(lost()) } else { Ok(false) };
        }
        Ok(written)
    }
    async fn replace(&self, key: &str, body: Bytes, etag: &str) -> Result<bool, StepError> {
        self.inner.replace(key, body, etag).await
    }
    async fn find(&self, key: &str, most: u64) -> Result<Option<Found>, StepError> {
        tokio::task::yield_now().await;
        self.inner.find(key, most).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StepError> {
        self.inner.list(prefix).await
    }
    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StepError> {
        self.inner.page(prefix, after).await
    }
}

fn keys(chance: &mut Chance) -> BTreeSet<String> {
    const PIECES: [&str; 16] = [
        "a",
        "b",
        "/",
        "//",
        "deep/down/",
        "\u{e9}",
        "\u{FF21}",
        "\u{1F980}",
        "+",
        " ",
        "%2F",
        "~",
        "&<",
        "..",
        "0",
        "z/",
    ];
    let mut keys: BTreeSet<String> = BTreeSet::new();
    for _ in 0..chance.below(60) {
        let mut key = String::new();
        // Some are what others begin with.
        if let Some(other) = keys.iter().nth(chance.below(keys.len() + 1)) {
            key.push_str(other);
        }
        for _ in 0..=chance.below(4) {
            key.push_str(PIECES[chance.below(PIECES.len())]);
        }
        if key.len() < 200 {
            keys.insert(key);
        }
    }
    keys
}

/// What a scan has to find, as keys of the source.
#[derive(Debug, Default)]
struct Expected {
    offered: BTreeSet<String>,
    deleted: BTreeSet<String>,
    listed: u64,
    unchanged: u64,
    there: u64,
}

/// Fills both sides.
fn filled(world: &World, chance: &mut Chance) -> Expected {
    let mut expected = Expected::default();
    let (source, destination) = (&world.route.source.prefix, &world.route.destination.prefix);
    let (here, there) = (world.here.store(), world.there.store());
    for (number, rest) in keys(chance).into_iter().enumerate() {
        let (from, to) = (format!("{source}{rest}"), format!("{destination}{rest}"));
        let body = format!("{number:04}");
        let kind = chance.below(4);
        if kind != 3 {
            expected.listed += 1;
            here.put("departures", &from, body.clone());
        }
        if kind != 0 {
            expected.there += 1;
            let same = if kind == 1 { body } else { format!("x{number:04}")[..4 + number % 2].to_owned() };
            there.put("arrivals", &to, same);
        }
        match kind {
            0 | 2 => drop(expected.offered.insert(from)),
            1 => expected.unchanged += 1,
            _ => drop(expected.deleted.insert(from)),
        }
    }
    // Outside of the route.
    here.put("departures", "!", "x");
    there.put("arrivals", "\u{1F999}", "x");
    if source.is_empty() {
        here.delete("departures", "!");
    }
    if destination.is_empty() {
        there.delete("arrivals", "\u{1F999}");
    }
    expected
}

/// Scans once, in one of many ways; true if it came to the end.
async fn attempt(world: &World, clients: &Clients, run: &Run, shard: u32, chance: &mut Chance) -> bool {
    let long = || world.context();
    // The margin is all that is left.
    let short = || Context::new(Clock::system(), Duration::from_secs(10), 1, 7);
    let scan = |context| async move { scan_shard_with(clients, &context, run, shard, SMALL).await };
    let done = |ended: Result<ScanEnd, StepError>| matches!(ended, Ok(ScanEnd::Done));
    match chance.below(6) {
        0 => done(scan(short()).await),
        1 => {
            let mut polls = chance.below(60);
            let mut scanning = Box::pin(scan(long()));
            let cut = std::future::poll_fn(|context| {
                polls = polls.saturating_sub(1);
                match scanning.poll_unpin(context) {
                    Poll::Ready(ended) => Poll::Ready(Some(ended)),
                    Poll::Pending if polls == 0 => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            });
            cut.await.is_some_and(done)
        }
        2 => {
            let faults = if chance.one_in(2) { world.here.faults() } else { world.there.faults() };
            let refusal = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
            faults.add(Rule::on("ListObjectsV2").nth(1 + chance.below(6) as u64).fails(refusal));
            let ended = scan(long()).await;
            faults.clear();
            done(ended)
        }
        3 => {
            let (one, other) = tokio::join!(scan(long()), scan(long()));
            done(one) | done(other)
        }
        4 => {
            let (one, other) = tokio::join!(scan(short()), scan(long()));
            done(one) | done(other)
        }
        _ => done(scan(long()).await),
    }
}

async fn check(seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::over_tls().await;
    world.route.source.prefix = ["", "p/", "pr\u{e9}"][chance.below(3)].to_owned();
    world.route.destination.prefix = ["", "q/", "\u{1F980}"][chance.below(3)].to_owned();
    let expected = filled(&world, &mut chance);
    let work = Flaky { inner: MemoryWork::default(), chance: Mutex::new(chance.clone()) };
    let clients = with_work(&world, Arc::new(work));
    let shards = shards_by(&clients, &world.route, 1 + chance.below(5) as u32, Some(5)).await.unwrap();
    let run = run(&world, deleting(), shards);

    let mut sum = Counts::default();
    let (mut offers, mut deletions) = (Vec::new(), Vec::new());
    for shard in 0..run.shards.len() as u32 {
        let mut attempts = 0;
        while !attempt(&world, &clients, &run, shard, &mut chance).await {
            attempts += 1;
            assert!(attempts < 500, "seed {seed}: no end");
        }
        let manifests = manifests(&clients, &run, shard).await;
        sum += counts(&manifests);
        let last = manifests.len() - 1;
        assert!(manifests.iter().take(last).all(|manifest| !manifest.header.progress.done), "seed {seed}");
        offers.extend(offered(&manifests));
        for manifest in &manifests {
            deletions.extend(manifest.deletions.iter().map(|deletion| deletion.source_key.clone()));
        }
        // Nothing is done twice.
        let again = scan_shard_with(&clients, &world.context(), &run, shard, SMALL).await;
        assert_eq!(again.unwrap(), ScanEnd::Done);
    }
    assert!(offers.is_sorted_by(|one, other| one < other), "seed {seed}: {offers:?}");
    assert_eq!(offers.into_iter().collect::<BTreeSet<_>>(), expected.offered, "seed {seed}");
    assert!(deletions.is_sorted_by(|one, other| one < other), "seed {seed}: {deletions:?}");
    assert_eq!(deletions.into_iter().collect::<BTreeSet<_>>(), expected.deleted, "seed {seed}");
    assert_eq!(sum.listed, expected.listed, "seed {seed}");
    assert_eq!(sum.unchanged, expected.unchanged, "seed {seed}");
    assert_eq!(sum.offered, expected.offered.len() as u64, "seed {seed}");
    assert_eq!(sum.destination_listed, expected.there, "seed {seed}");
    assert_eq!((sum.extra, sum.deletions), (expected.deleted.len() as u64, sum.extra), "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn no_key_is_missing_and_none_is_twice() {
    for seed in 0..150 {
        check(seed).await;
    }
}
