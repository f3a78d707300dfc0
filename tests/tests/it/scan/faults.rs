//! What a listing that goes wrong does to a scan.

use super::*;
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::scan::control;
use longhaul_core::backfill::manifest::Place;
use longhaul_core::backfill::request::{Compare, KeysFormat, KeysFrom};
use longhaul_core::backfill::run::{Control, Hint, control_key, hint_key};
use longhaul_core::error::ErrorName;
use longhaul_testing::{Fault, Rule};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn thirty() -> Vec<String> {
    (0..30).map(|number| format!("k{number:02}")).collect()
}

fn listings(world: &World) -> usize {
    world.here.log().count("ListObjectsV2")
}

#[tokio::test(start_paused = true)]
async fn an_error_on_page_7_fails_and_the_next_scan_goes_on_from_there() {
    let world = World::over_tls().await;
    let keys = thirty();
    fill(&world, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    let run = run(&world, BackfillRequest::default(), whole());
    let refusal = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
    world.here.faults().add(Rule::on("ListObjectsV2").nth(7).times(0).fails(refusal));
    for _ in 0..2 {
        let error = scan(&world, &run).await.unwrap_err();
        assert_eq!(error.name, ErrorName::Rejected);
        for told in ["page ", "\"k17\"", "s3://departures/", "at the source", "403 AccessDenied"] {
            assert!(error.message.contains(told), "{told:?} in {}", error.message);
        }
    }
    let saved = manifests(&world.clients, &run, 0).await;
    assert_eq!(offered(&saved), keys[..18], "what was scanned is saved");
    assert_eq!(progress(&saved).through, Place::Key("k17".into()));
    assert!(!progress(&saved).done);

    world.here.faults().clear();
    let before = listings(&world);
    assert_eq!(scan(&world, &run).await.unwrap(), ScanEnd::Done);
    assert_eq!(listings(&world) - before, 4, "pages 7 to 10");
    let all = manifests(&world.clients, &run, 0).await;
    assert_eq!(offered(&all), keys);
    assert_eq!(counts(&all).listed, 30);
    assert_eq!(counts(&all).source_pages, 10);
}

#[tokio::test(start_paused = true)]
async fn the_page_is_named_that_failed() {
    let world = World::over_tls().await;
    let keys = thirty();
    fill(&world, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    keys.iter().for_each(|key| copy(&world, key));
    let refusal = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
    world.there.faults().add(Rule::on("ListObjectsV2").nth(7).fails(refusal));
    let run = run(&world, BackfillRequest::default(), whole());
    let error = scan(&world, &run).await.unwrap_err();
    for told in ["page 7 of this scan", "behind key \"k17\"", "s3://arrivals/", "at the destination"] {
        assert!(error.message.contains(told), "{told:?} in {}", error.message);
    }
    // Nothing was to be written, so only a hint says how far it came.
    assert!(manifests(&world.clients, &run, 0).await.is_empty());
    let before = listings(&world);
    assert_eq!(scan(&world, &run).await.unwrap(), ScanEnd::Done);
    assert_eq!(listings(&world) - before, 4);
    assert_eq!(counts(&manifests(&world.clients, &run, 0).await).unchanged, 30);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_asked_for_again() {
    let world = World::over_tls().await;
    let keys = thirty();
    fill(&world, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    for fault in [
        Fault::Status { status: 503, code: Some("SlowDown".into()) },
        Fault::ResetBeforeRequest,
        Fault::LoseReply,
        Fault::CutBody { after: 300 },
    ] {
        world.here.faults().add(Rule::on("ListObjectsV2").nth(2).every(3).times(9).fails(fault));
    }
    assert_eq!(offered(&scanned(&world, BackfillRequest::default()).await), keys);
}

#[tokio::test(start_paused = true)]
async fn a_missing_bucket_is_no_empty_one() {
    let mut world = World::over_tls().await;
    world.route.source.bucket = "nowhere".into();
    let run = run(&world, deleting(), whole());
    let error = scan(&world, &run).await.unwrap_err();
    assert!(error.name == ErrorName::Rejected && error.message.contains("NoSuchBucket"), "{error}");
    assert!(manifests(&world.clients, &run, 0).await.is_empty());
}

/// Answers every request with this document until the test ends.
async fn server(document: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0; 512];
                match stream.read(&mut byte).await {
                    Ok(read) if read > 0 => request.extend(&byte[..read]),
                    _ => break,
                }
            }
            let length = document.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{document}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_store_that_sorts_otherwise_is_refused() {
    let entry = |key: &str| format!("<Contents><Key>{key}</Key><ETag>\"e\"</ETag><Size>1</Size></Contents>");
    let entries: String = ["a", "b", "\u{1F980}", "\u{FF21}"].map(entry).concat();
    let document = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>");
    let mut world = World::new().await;
    world.route.source.endpoint = Some(server(document).await);
    let run = run(&world, BackfillRequest::default(), whole());
    let error = scan(&world, &run).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Rejected);
    for told in ["\u{1F980}", "\u{FF21}", "UTF-8", "Nothing was skipped", "at the source"] {
        assert!(error.message.contains(told), "{told:?} in {}", error.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_run_is_not_scanned_until_it_goes_on() {
    let world = World::over_tls().await;
    fill(&world, &["a", "b"]);
    let run = run(&world, BackfillRequest::default(), whole());
    let work = &world.clients.work;
    assert_eq!(control(&**work, "run-1").await.unwrap(), None);
    work.put(&control_key("run-1"), r#"{"control":"paused"}"#.into()).await.unwrap();
    assert_eq!(control(&**work, "run-1").await.unwrap(), Some(Control::Paused));
    assert_eq!(scan(&world, &run).await.unwrap(), ScanEnd::Held);
    assert!(manifests(&world.clients, &run, 0).await.is_empty());
    work.put(&control_key("run-1"), "{}".into()).await.unwrap();
    assert_eq!(scan(&world, &run).await.unwrap(), ScanEnd::Done);
    assert_eq!(offered(&manifests(&world.clients, &run, 0).await), ["a", "b"]);
}

/// How far the first shard has come without a manifest.
async fn hinted(world: &World) -> Option<Progress> {
    let found = world.clients.work.find(&hint_key("run-1", 0), 1 << 20).await.unwrap()?;
    Some(serde_json::from_slice::<Hint>(&found.body).unwrap().progress)
}

fn by_checksum() -> BackfillRequest {
    BackfillRequest { compare: Compare::Checksum, ..BackfillRequest::default() }
}

/// Both sides hold these keys alike, and every question takes ten seconds.
fn slow(world: &World, count: usize) {
    for number in 0..count {
        let key = format!("k{number:03}");
        world.put(&key, number as u64, 9);
        copy(world, &key);
    }
    world.here.faults().add(Rule::on("HeadObject").times(0).fails(Fault::Delay { ms: 10_000 }));
}

async fn scan_for(world: &World, run: &Run, time: Duration) -> Result<ScanEnd, StepError> {
    let context = Context::new(Clock::system(), time, 1, 7);
    scan_shard_with(&world.clients, &context, run, 0, Settings::default()).await
}

#[tokio::test(start_paused = true)]
async fn questions_end_with_the_time() {
    let world = World::over_tls().await;
    slow(&world, 450);
    let run = run(&world, by_checksum(), whole());
    // Two hundred questions take longer than this; all keys stand on one page.
    let time = Duration::from_secs(60);
    for last in ["k199", "k399"] {
        assert_eq!(scan_for(&world, &run, time).await.unwrap(), ScanEnd::More);
        assert_eq!(hinted(&world).await.unwrap().through, Place::Key(last.into()));
    }
    assert_eq!(scan_for(&world, &run, time).await.unwrap(), ScanEnd::Done);
    let found = manifests(&world.clients, &run, 0).await;
    assert_eq!((counts(&found).unchanged, counts(&found).heads), (450, 900));
}

#[tokio::test(start_paused = true)]
async fn questions_end_with_a_pause() {
    let world = World::over_tls().await;
    slow(&world, 450);
    let run = run(&world, by_checksum(), whole());
    let pause = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.clients.work.put(&control_key("run-1"), r#"{"control":"paused"}"#.into()).await.unwrap();
    };
    let (ended, ()) = tokio::join!(scan_for(&world, &run, Duration::from_secs(3_600)), pause);
    assert_eq!(ended.unwrap(), ScanEnd::Held);
    assert_eq!(hinted(&world).await.unwrap().through, Place::Key("k199".into()));
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_questions_costs_a_minute_or_a_batch() {
    let world = World::over_tls().await;
    slow(&world, 450);
    let run = run(&world, by_checksum(), whole());
    let scanning = scan_for(&world, &run, Duration::from_secs(3_600));
    let died = tokio::time::timeout(Duration::from_secs(100), scanning).await;
    assert!(died.is_err(), "{died:?}");
    assert_eq!(hinted(&world).await.unwrap().through, Place::Key("k199".into()));
}

#[tokio::test(start_paused = true)]
async fn what_stands_before_a_question_that_fails_is_saved() {
    let world = World::over_tls().await;
    fill(&world, &["a", "b", "c", "d", "e"]);
    ["b", "d", "e"].iter().for_each(|key| copy(&world, key));
    world.here.faults().add(Rule::on("HeadObject").key("d").times(0).fails(Fault::Status { status: 503, code: None }));
    let run = run(&world, by_checksum(), whole());
    // The first scan sees all on one page, the second goes on behind what was saved.
    scan_for(&world, &run, Duration::from_secs(3_600)).await.unwrap_err();
    let saved = manifests(&world.clients, &run, 0).await;
    assert_eq!(offered(&saved), ["a"]);
    assert_eq!(progress(&saved).through, Place::Key("a".into()));
    scan(&world, &run).await.unwrap_err();
    assert_eq!(offered(&manifests(&world.clients, &run, 0).await), ["a"]);
    world.here.faults().clear();
    assert_eq!(scan(&world, &run).await.unwrap(), ScanEnd::Done);
    let found = manifests(&world.clients, &run, 0).await;
    assert_eq!((offered(&found), counts(&found).unchanged), (vec!["a".to_owned(), "c".to_owned()], 3));
}

#[tokio::test(start_paused = true)]
async fn an_inventory_of_other_keys_is_left_and_taken_up() {
    let mut world = World::over_tls().await;
    world.route.source.prefix = "p/".into();
    let row = |key: &str| format!("\"departures\",\"{key}\"\n");
    let other: String = (0..12_000).map(|number| row(&format!("q/{number}"))).collect();
    let manifest = serde_json::json!({
        "sourceBucket": "departures", "destinationBucket": "arn:aws:s3:::departures", "fileFormat": "CSV",
        "fileSchema": "Bucket, Key", "files": [{"key": "1"}, {"key": "2"}]
    });
    let store = world.here.store();
    store.put("departures", "m", manifest.to_string());
    store.put("departures", "1", other);
    store.put("departures", "2", row("p/a"));
    let keys = KeysFrom { format: KeysFormat::Inventory, bucket: "departures".into(), key: "m".into() };
    let run = run(&world, BackfillRequest { keys: Some(keys), ..BackfillRequest::default() }, whole());
    // The margin is all that is left.
    let time = Duration::from_secs(10);
    for place in [Place::Line { object: 0, entry: 10_000 }, Place::Line { object: 1, entry: 0 }] {
        assert_eq!(scan_for(&world, &run, time).await.unwrap(), ScanEnd::More);
        assert_eq!(hinted(&world).await.unwrap().through, place);
    }
    assert_eq!(scan_for(&world, &run, time).await.unwrap(), ScanEnd::Done);
    let found = manifests(&world.clients, &run, 0).await;
    assert_eq!((offered(&found), counts(&found).listed), (vec!["p/a".to_owned()], 1));
}
