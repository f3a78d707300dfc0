//! Scans of two endpoints: what they find, what they write, and what cuts them off.

mod cuts;
mod faults;
mod findings;
mod parallel;

use crate::world::World;
use bytes::Bytes;
use longhaul_aws::clients::Clients;
use longhaul_aws::error::StepError;
use longhaul_aws::scan::{ScanEnd, Settings, scan_shard_with};
use longhaul_aws::work::Work;
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::manifest::{Deletion, Header, HeaderLine, Progress, manifest_key};
use longhaul_core::backfill::request::{BackfillRequest, Deletions};
use longhaul_core::backfill::run::{Run, Shard};
use longhaul_core::request::ObjectRef;
use serde::de::DeserializeOwned;

/// Small enough that a few objects make many pages.
const SMALL: Settings = Settings { page_size: Some(3), note_pages: 2, close_pages: 6 };

/// A manifest, read.
struct Manifest {
    header: Header,
    objects: Vec<ObjectRef>,
    deletions: Vec<Deletion>,
}

/// A run of one route.
fn run(world: &World, request: BackfillRequest, shards: Vec<Shard>) -> Run {
    Run {
        name: "run-1".into(),
        attempt: 1,
        execution: "e".into(),
        // What stands there now is older.
        started_ms: world.context().clock.now_ms() + 3_600_000,
        request,
        routes: vec![world.route.clone()],
        shards,
    }
}

fn whole() -> Vec<Shard> {
    vec![Shard::default()]
}

fn deleting() -> BackfillRequest {
    BackfillRequest { delete: Some(Deletions { max: 1_000_000 }), ..BackfillRequest::default() }
}

/// Scans a shard once.
async fn scan(world: &World, run: &Run) -> Result<ScanEnd, StepError> {
    scan_shard_with(&world.clients, &world.context(), run, 0, SMALL).await
}

/// Scans the only shard of `request` to its end.
async fn scanned(world: &World, request: BackfillRequest) -> Vec<Manifest> {
    let run = run(world, request, whole());
    assert_eq!(scan(world, &run).await.unwrap(), ScanEnd::Done);
    manifests(&world.clients, &run, 0).await
}

/// The manifests of a shard, in order.
async fn manifests(clients: &Clients, run: &Run, shard: u32) -> Vec<Manifest> {
    let mut read = Vec::new();
    for number in 0.. {
        let key = manifest_key(&run.name, shard, number);
        let Some(found) = clients.work.find(&key, u64::MAX).await.unwrap() else { break };
        read.push(manifest(&found.body));
        assert_eq!(read.last().unwrap().header.number, number);
    }
    read
}

fn manifest(body: &Bytes) -> Manifest {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let header = serde_json::from_slice::<HeaderLine>(&body[..end]).unwrap().manifest;
    let at = header.deletions_at as usize;
    let (objects, deletions) = (lines(&body[end..at]), lines(&body[at..]));
    assert_eq!((objects.len(), deletions.len()), (header.objects as usize, header.deletions as usize));
    Manifest { header, objects, deletions }
}

fn lines<T: DeserializeOwned>(text: &[u8]) -> Vec<T> {
    serde_json::Deserializer::from_slice(text).into_iter().map(Result::unwrap).collect()
}

/// How far the last manifest has come.
fn progress(manifests: &[Manifest]) -> &Progress {
    &manifests.last().unwrap().header.progress
}

fn counts(manifests: &[Manifest]) -> &Counts {
    let Progress { counts, done, .. } = progress(manifests);
    assert!(*done, "the last manifest says that nothing is left");
    assert!(counts.add_up(), "{counts:?}");
    assert_eq!(counts.manifests, manifests.len() as u64);
    counts
}

fn offered(manifests: &[Manifest]) -> Vec<String> {
    manifests.iter().flat_map(|manifest| &manifest.objects).map(|object| object.key.clone()).collect()
}

/// Puts `keys` at the source, each with other bytes.
fn fill(world: &World, keys: &[&str]) {
    for (seed, key) in (1..).zip(keys) {
        world.put(key, seed, 9);
    }
}

/// Copies a source object to the destination, as one migrated before.
fn copy(world: &World, key: &str) {
    let body = world.here.store().get("departures", key).unwrap();
    world.there.store().put("arrivals", &world.route.destination_key(key).unwrap(), body);
}

/// Work of a run, with everything else as it is.
fn with_work(world: &World, work: std::sync::Arc<dyn Work>) -> Clients {
    Clients { work, ..(*world.clients).clone() }
}
