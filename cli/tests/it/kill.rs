//! Interrupted runs, and what the next one sends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use longhaul_testing::{Discard, Fault, FaultPlan, Rule, Store, StoreConfig, TestS3};
use rand::Rng as _;

use crate::world::{Ran, World, until};

const MIB: u64 = 1 << 20;

/// Parts by key and number.
type Parts = BTreeSet<(String, u32)>;

fn uploaded(s3: &TestS3) -> Vec<(String, u32)> {
    let entries = s3.log().entries().into_iter().filter(|entry| entry.call.operation == "UploadPart");
    entries.map(|entry| (entry.call.key.unwrap(), entry.call.part_number.unwrap())).collect()
}

/// The parts that the open uploads hold.
fn held(s3: &TestS3) -> Parts {
    let uploads = s3.store().open_uploads();
    uploads.iter().flat_map(|upload| upload.parts.keys().map(|number| (upload.key.clone(), *number))).collect()
}

/// Runs until `enough`, then SIGKILL.
async fn run_and_kill(world: &World, more: &[&str], enough: impl Fn(&World) -> bool) {
    let mut child = world.start("s3://from", "s3://into", more);
    while !enough(world) && child.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().await.unwrap();
    // The endpoint notices the closed connections.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// The next run sends no part that stood there when it began.
async fn resumes(world: &World, more: &[&str], parts: usize, in_flight: usize) -> Ran {
    let first = uploaded(&world.destination);
    let before = held(&world.destination);
    let open: BTreeSet<String> = world.destination.store().open_uploads().into_iter().map(|u| u.key).collect();
    world.destination.log().reset();
    let ran = world.run("s3://from", "s3://into", &[more, &["--json"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let second = uploaded(&world.destination);
    let again: Vec<_> = second.iter().filter(|part| before.contains(*part)).collect();
    assert_eq!(again, Vec::<&(String, u32)>::new(), "sent although held; {} parts were", before.len());
    assert!(first.len() + second.len() <= parts + in_flight, "{} + {} of {parts}", first.len(), second.len());
    assert_eq!(second.iter().collect::<BTreeSet<_>>().len(), second.len(), "a part was sent twice");
    // Every upload that stood open was gone on with, and none is left.
    let begun = world.destination.log().entries();
    let begun = begun.iter().filter(|entry| entry.call.operation == "CreateMultipartUpload");
    assert!(begun.clone().all(|entry| !open.contains(entry.call.key.as_deref().unwrap())), "{open:?}");
    assert!(world.destination.store().open_uploads().is_empty());
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_sends_nothing_twice() {
    const PART: u64 = 5 * MIB;
    for _ in 0..3 {
        let world = World::new().await;
        for key in ["one", "two"] {
            world.source.store().put_generated("from", key, 64 * MIB, None);
        }
        for number in 0..100 {
            world.source.store().put("from", &format!("small/{number}"), "x".repeat(number));
        }
        // Slow enough to be caught in the middle.
        let slow = Rule::on("UploadPart").times(0).fails(Fault::Delay { ms: 30 });
        world.destination.faults().plan(FaultPlan { rules: vec![slow], ..FaultPlan::default() });
        let parts = 2 * (64 * MIB).div_ceil(PART) as usize;
        let after = rand::rng().random_range(1..parts - 2);
        let more = ["--part-size", "5MiB", "--concurrency", "4"];
        // Between Create's reply and the ledger nobody knows an upload: the kill waits until both have sent a part.
        let both = |sent: &[(String, u32)]| sent.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len() == 2;
        let enough = |sent: &[(String, u32)]| sent.len() > after && both(sent);
        run_and_kill(&world, &more, |world| enough(&uploaded(&world.destination))).await;
        resumes(&world, &more, parts, 4).await;
        world.assert_equal("", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_with_130_and_the_next_run_goes_on() {
    let world = World::new().await;
    world.source.store().put_generated("from", "large", 40 * MIB, None);
    let slow = Rule::on("UploadPart").nth(3).times(0).fails(Fault::Delay { ms: 600_000 });
    world.destination.faults().plan(FaultPlan { rules: vec![slow], ..FaultPlan::default() });
    let more = ["--part-size", "5MiB", "--concurrency", "2"];
    let child = world.start("s3://from", "s3://into", &more);
    until(|| held(&world.destination).len() == 2 && uploaded(&world.destination).len() == 4).await;
    let id = child.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    let ran = Ran::from(child.wait_with_output().await.unwrap());
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.stderr.contains("run the same command again to resume"), "{ran:?}");
    world.destination.faults().plan(FaultPlan::default());
    let ran = resumes(&world, &more, 8, 2).await;
    assert_eq!((&ran.json()["partsHeld"], &ran.json()["partsSent"]), (&2.into(), &6.into()));
    world.assert_equal("", "");
}

/// The full measure: 1 GiB and 2,000 objects of 64 KiB, killed at a random moment.
/// `cargo test --release -p longhaul --test it -- --ignored --nocapture full_measure`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "moves several GiB"]
async fn full_measure() {
    let discard = Discard { bucket: "from".into(), destination_prefix: String::new(), source_prefix: String::new() };
    let destination = || Store::new(StoreConfig { discard: Some(discard.clone()), ..StoreConfig::default() });
    let fill = |store: &Store| {
        store.put_generated("from", "one GiB", 1024 * MIB, None);
        for number in 0..2_000 {
            store.put_generated("from", &format!("small/{number:04}"), 64 << 10, None);
        }
    };
    let source = Store::default();
    fill(&source);
    for prefix in ["one", "small/"] {
        let world = World::over(source.clone(), destination()).await;
        let begun = Instant::now();
        let ran = world.run(&format!("s3://from/{prefix}"), &format!("s3://into/{prefix}"), &["--json"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        eprintln!("{prefix}: {:.1} s in all; {}", begun.elapsed().as_secs_f64(), ran.stdout.trim());
    }
    let parts = 128;
    for _ in 0..5 {
        let world = World::over(source.clone(), destination()).await;
        let after = rand::rng().random_range(1..parts);
        run_and_kill(&world, &[], |world| uploaded(&world.destination).len() > after).await;
        let (sent, held) = (uploaded(&world.destination).len(), held(&world.destination).len());
        let ran = resumes(&world, &[], parts, 16).await;
        eprintln!("killed after {sent} parts, {held} held; then {}", ran.stdout.trim());
        let summary = world.destination.store().summary();
        assert!(!summary.to_string().contains("unequal"));
        assert_eq!(world.destination.store().keys("into").len(), 2_001);
    }
}
