//! Uploads that no ledger knows: found, told apart and reported.

use crate::world::{MIB, World};
use longhaul_aws::uploads::{Uploads, abort, check};
use longhaul_core::backfill::check::Verdict;
use longhaul_core::backfill::run::report_prefix;
use longhaul_core::backfill::summary::{RunStatus, RunSummary, page_key, summary_key};
use longhaul_core::uploads::OpenUpload;
use longhaul_testing::{Fault, Rule};
use serde_json::json;
use std::time::Duration;

/// Later than anything here.
const ALL: u64 = u64::MAX;

async fn begun(world: &World, key: &str) -> String {
    let client = world.clients.sides.client(&world.route.destination).await.unwrap();
    let upload = client.create_multipart_upload().bucket("arrivals").key(key).send().await.unwrap();
    upload.upload_id.unwrap()
}

/// An upload that the ledger ties to its object: one whose parts could not be sent.
async fn known(world: &World, key: &str) -> String {
    world.put(key, 1, 20 * MIB);
    world.there.faults().add(Rule::on("UploadPart").times(0).fails(Fault::Status { status: 400, code: None }));
    let ended = world.migrate(key, &world.request(&[key])).await;
    assert!(ended.result.is_err() || ended.tally.failed == 1, "{ended:?}");
    world.there.faults().clear();
    let record = world.record(key).await.unwrap();
    match record.upload {
        Some(upload) => upload.upload_id,
        None => panic!("{record:?}"),
    }
}

async fn orphans(world: &World, before_ms: u64) -> (u64, Vec<OpenUpload>) {
    let mut uploads = Uploads::of(&world.clients, &world.route.destination, before_ms).await.unwrap();
    let (mut open, mut orphans) = (0, Vec::new());
    while let Some(page) = uploads.next(&[&*world.clients.ledger]).await.unwrap() {
        assert!(page.len() <= 1_000);
        open += page.len() as u64;
        orphans.extend(page.into_iter().filter(|found| found.is_orphan).map(|found| found.upload));
    }
    (open, orphans)
}

async fn text(world: &World, key: &str) -> Option<String> {
    let found = world.clients.work.find(key, 1 << 24).await.unwrap();
    found.map(|found| String::from_utf8(found.body.to_vec()).unwrap())
}

async fn summary(world: &World, run: &str) -> RunSummary {
    serde_json::from_str(&text(world, &summary_key(run)).await.unwrap()).unwrap()
}

#[tokio::test]
async fn rule_19_uploads_that_no_record_knows_are_found_page_by_page() {
    let mut world = World::new().await;
    world.route.destination.prefix = "in to/".into();
    // More than a page, under keys that a listing encodes; several of one key.
    let mut expected = Vec::new();
    for number in 0..1_100 {
        let key = format!("in to/{}+ü%20//&<", number / 3);
        expected.push((begun(&world, &key).await, key));
    }
    begun(&world, "elsewhere").await;
    let (open, found) = orphans(&world, ALL).await;
    assert_eq!(open, 1_100);
    let mut found: Vec<_> = found.into_iter().map(|upload| (upload.upload_id, upload.key)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(orphans(&world, 1_000).await.0, 0, "begun since");
}

#[tokio::test]
async fn rule_19_a_run_reports_what_nobody_goes_on_with() {
    let world = World::new().await;
    let resumable = known(&world, "film").await;
    let lost = begun(&world, "note,1").await;
    // A second upload of the known one's object.
    let twin = begun(&world, "film").await;
    // A store tells times in whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let ended = world.backfill("one", json!({"dryRun": true})).await;
    assert!(ended.result.is_ok(), "{:?}", ended.result);
    let told = summary(&world, "one").await;
    assert_eq!((told.uploads.open, told.uploads.orphans), (3, 2), "{:?}", told.uploads);
    assert!(told.uploads.oldest_ms.is_some_and(|at| at < told.started_ms) && told.uploads.unseen.is_empty());
    let name = format!("{}uploads.csv", report_prefix("one"));
    let csv = text(&world, &name).await.unwrap();
    assert!(csv.contains(&format!("film,arrivals,{twin},20")), "{csv}");
    assert!(csv.contains(&format!("\"note,1\",arrivals,{lost},20")) && !csv.contains(&resumable), "{csv}");
    assert!(told.report.contains(&name));
    let page = text(&world, &page_key("one")).await.unwrap();
    assert!(page.contains("Unfinished uploads") && page.contains("uploads.csv"));
    let mail = world.sent.notified.lock().unwrap().pop().unwrap().1;
    assert!(mail.contains("Open uploads that the ledger does not know: 2"), "{mail}");

    // Aborted, they are gone; what the ledger knows is not.
    for upload in orphans(&world, ALL).await.1 {
        abort(&world.clients, &world.route.destination, &upload).await.unwrap();
    }
    assert_eq!(orphans(&world, ALL).await, (1, Vec::new()));
    let ended = world.backfill("two", json!({})).await;
    assert!(ended.result.is_ok(), "{:?}", ended.result);
    world.assert_equal("film");
    let told = summary(&world, "two").await;
    assert_eq!((told.status, told.uploads.orphans), (RunStatus::Succeeded, 0));
    assert_eq!(text(&world, &format!("{}uploads.csv", report_prefix("two"))).await, None);
}

#[tokio::test]
async fn rule_19_uploads_that_may_not_be_listed_fail_nothing() {
    let world = World::new().await;
    let denied = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
    world.there.faults().add(Rule::on("ListMultipartUploads").times(0).fails(denied));
    let ended = world.backfill("one", json!({})).await;
    assert!(ended.result.is_ok(), "{:?}", ended.result);
    let told = summary(&world, "one").await;
    assert_eq!((told.status, told.uploads.orphans), (RunStatus::Succeeded, 0));
    let [unseen] = told.uploads.unseen.as_slice() else { panic!("{:?}", told.uploads) };
    assert!(unseen.contains("not looked for") && unseen.contains("AccessDenied"), "{unseen}");
    let page = text(&world, &page_key("one")).await.unwrap();
    assert!(page.contains("not looked for"));
    assert_eq!(check(&world.clients, &world.route, ALL).await.verdict, Verdict::Unknown);
}

#[tokio::test]
async fn rule_19_a_check_counts_open_uploads_and_tells_the_oldest() {
    let world = World::new().await;
    assert_eq!(check(&world.clients, &world.route, ALL).await.verdict, Verdict::Ok);
    begun(&world, "one").await;
    begun(&world, "two").await;
    let warning = check(&world.clients, &world.route, ALL).await;
    assert_eq!(warning.verdict, Verdict::Warning);
    assert!(warning.told.starts_with("2 uploads, the oldest of 20"), "{}", warning.told);
}
