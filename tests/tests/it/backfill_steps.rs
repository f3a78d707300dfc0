//! Each step of a backfill by itself, but for the scan: done twice, held up, given bad input.

mod begin;
mod delete;
mod flow;
mod gather;
mod preflight;

use crate::world::World;
use longhaul_aws::error::StepError;
use longhaul_aws::steps::scan;
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::manifest::{Deletion, Header, HeaderLine, Place, Progress, manifest_key};
use longhaul_core::backfill::run::{Control, ControlObject, Run, RunRef, control_key, run_key};
use longhaul_core::backfill::states::{Begin, Begun, Gather, Gathered, ScanInput, ScanOutput};
use serde_json::Value;

const EXECUTION: &str = "arn:aws:states:us-east-1:1:execution:backfill:monday";

async fn begin(world: &World, request: Value, execution: &str) -> Result<Begun, StepError> {
    let input = ScanInput::Begin(Begin { request, execution: execution.into() });
    match scan(&world.clients, &world.context(), input).await? {
        ScanOutput::Begun(begun) => Ok(begun),
        other => panic!("{other:?}"),
    }
}

async fn begun(world: &World, request: Value) -> Begun {
    begin(world, request, EXECUTION).await.unwrap()
}

async fn gather(world: &World, input: Gather) -> Gathered {
    match scan(&world.clients, &world.context(), ScanInput::Gather(input)).await.unwrap() {
        ScanOutput::Gathered(gathered) => gathered,
        other => panic!("{other:?}"),
    }
}

fn gathering(run: &RunRef) -> Gather {
    Gather { run: run.clone(), results: Vec::new(), copied: false, error: None }
}

async fn run_of(world: &World, name: &str) -> Run {
    let found = world.clients.work.find(&run_key(name), 1 << 20).await.unwrap().unwrap();
    serde_json::from_slice(&found.body).unwrap()
}

async fn want(world: &World, run: &str, control: Option<Control>) {
    let body = serde_json::to_vec(&ControlObject { control }).unwrap();
    world.clients.work.put(&control_key(run), body.into()).await.unwrap();
}

/// Writes a manifest as a scan does.
async fn manifest(world: &World, run: &Run, shard: u32, number: u32, counts: Counts, gone: &[Deletion], done: bool) {
    let progress = Progress { through: Place::Start, counts, done };
    let mut header = Header {
        run: run.name.clone(),
        shard,
        number,
        route: run.routes[run.shards[shard as usize].route as usize].clone(),
        objects: 0,
        bytes: 0,
        deletions: gone.len() as u32,
        deletions_at: 0,
        progress,
    };
    let line = |header: &Header| serde_json::to_string(&HeaderLine { manifest: header.clone() }).unwrap() + "\n";
    // Until the number of its own digits is told as it is.
    while header.deletions_at != line(&header).len() as u64 {
        header.deletions_at = line(&header).len() as u64;
    }
    let mut text = line(&header);
    for deletion in gone {
        text += &(serde_json::to_string(deletion).unwrap() + "\n");
    }
    world.clients.work.put(&manifest_key(&run.name, shard, number), text.into()).await.unwrap();
}
