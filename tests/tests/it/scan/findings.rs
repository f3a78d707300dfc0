//! What a scan makes of what stands on both sides.

use super::*;
use crate::world::MIB;
use longhaul_aws::ledger::Expected;
use longhaul_aws::outcomes::ledger_key;
use longhaul_aws::scan::{Job, Stretch, scan_into};
use longhaul_core::backfill::filters::Filters;
use longhaul_core::backfill::manifest::Place;
use longhaul_core::backfill::request::{Compare, KeysFormat, KeysFrom};
use longhaul_core::config::Overwrite;
use longhaul_core::etag::{ETag, Encryption};
use longhaul_core::job::{JobRecord, SourceIdentity};
use longhaul_testing::Attributes;
use tokio::sync::mpsc;

/// `same` is the same, `size` has another size, `bytes` other bytes, `paired` another ETag that the ledger pairs,
/// `parts` the same bytes in other parts, and `new` is not there.
async fn both_sides() -> World {
    let world = World::over_tls().await;
    fill(&world, &["bytes", "new", "paired", "same", "size"]);
    copy(&world, "same");
    let there = world.there.store();
    there.put("arrivals", "size", "longer than nine");
    there.put("arrivals", "bytes", "123456789");
    let paired = there.put("arrivals", "paired", "987654321");
    let here = world.here.store();
    let bytes = Bytes::from(World::bytes(9, 12 * MIB));
    let cut = |each: u64| bytes.chunks((each * MIB) as usize).map(|part| bytes.slice_ref(part)).collect();
    here.put_parts("departures", "parts", cut(6));
    there.put_parts("arrivals", "parts", cut(5));

    let source = here.object("departures", "paired").unwrap();
    let key = ledger_key(&world.route, "paired").unwrap();
    let mut record = JobRecord::new(key, "departures", "paired", "e", 1);
    record.source = Some(SourceIdentity {
        version_id: None,
        etag: ETag::new(&source.etag),
        encryption: Encryption::Plain,
        size: 9,
        last_modified: None,
    });
    record.destination_etag = Some(ETag::new(&paired.etag));
    world.clients.ledger.put(&record, Expected::Absent).await.unwrap();
    world
}

async fn compared(world: &World, compare: Compare) -> (Vec<String>, Counts) {
    let manifests = scanned(world, BackfillRequest { compare, ..BackfillRequest::default() }).await;
    (offered(&manifests), counts(&manifests).clone())
}

#[tokio::test]
async fn sizes_prove_nothing() {
    let (offered, counts) = compared(&both_sides().await, Compare::Size).await;
    assert_eq!(offered, ["new", "size"]);
    assert_eq!((counts.listed, counts.unchanged, counts.unproven), (6, 4, 4));
    assert_eq!((counts.heads, counts.ledger_reads), (0, 0));
}

#[tokio::test]
async fn rule_10_etags_or_what_the_ledger_pairs() {
    let (offered, counts) = compared(&both_sides().await, Compare::Etag).await;
    assert_eq!(offered, ["bytes", "new", "parts", "size"]);
    assert_eq!((counts.listed, counts.unchanged, counts.unproven), (6, 2, 0));
    assert_eq!((counts.heads, counts.ledger_reads), (0, 3));
    assert_eq!((counts.offered_large, counts.parts, counts.mirrored), (1, 2, 1));
    assert_eq!((counts.destination_listed, counts.extra), (5, 0));
}

#[tokio::test]
async fn checksums_of_whole_objects() {
    let (offered, counts) = compared(&both_sides().await, Compare::Checksum).await;
    // The checksum of an object in parts is that of its bytes, however it is cut.
    assert_eq!(offered, ["bytes", "new", "paired", "size"]);
    assert_eq!((counts.unchanged, counts.unproven), (2, 0));
    assert_eq!((counts.heads, counts.ledger_reads), (8, 0));
}

#[tokio::test]
async fn always_offers_everything_without_a_look() {
    let world = both_sides().await;
    let (offered, counts) = compared(&world, Compare::Always).await;
    assert_eq!(offered, ["bytes", "new", "paired", "parts", "same", "size"]);
    assert_eq!((counts.destination_listed, counts.destination_pages), (0, 0));
    assert_eq!(world.there.log().count("ListObjectsV2"), 0);
}

#[tokio::test]
async fn overwrite_says_what_becomes_of_what_stands() {
    let mut world = both_sides().await;
    world.route.options.overwrite = Overwrite::Never;
    let (offers, counts) = compared(&world, Compare::Etag).await;
    assert_eq!(offers, ["new"]);
    assert_eq!((counts.unchanged, counts.exists, counts.ledger_reads), (1, 4, 0));

    let mut world = both_sides().await;
    world.route.options.overwrite = Overwrite::Always;
    assert_eq!(compared(&world, Compare::Etag).await.0.len(), 6);
}

#[tokio::test]
async fn what_is_filtered_out_is_counted() {
    let world = both_sides().await;
    let filters = Filters { exclude: vec!["s*".into()], max_size: Some(1_000), ..Filters::default() };
    let manifests = scanned(&world, BackfillRequest { filters, ..BackfillRequest::default() }).await;
    assert_eq!(offered(&manifests), ["bytes", "new"]);
    let counts = counts(&manifests);
    assert_eq!((counts.listed, counts.excluded, counts.unchanged), (6, 3, 1));
    assert_eq!((counts.destination_listed, counts.extra), (5, 0));
}

#[tokio::test]
async fn offers_carry_what_was_listed() {
    let mut world = World::over_tls().await;
    world.route.destination.prefix = "to/".into();
    world.put("a", 1, 9);
    let archive = Attributes { storage_class: Some("DEEP_ARCHIVE".into()), ..Attributes::default() };
    world.here.store().put_with("departures", "b", "x", archive, Default::default());
    let long = "k".repeat(1_023);
    world.put(&long, 2, 9);
    let manifests = scanned(&world, BackfillRequest::default()).await;
    let object = &manifests[0].objects[0];
    let etag = world.here.store().object("departures", "a").unwrap().etag.clone();
    assert_eq!(
        (object.bucket.as_str(), object.size, object.etag.clone()),
        ("departures", Some(9), Some(ETag::new(&etag)))
    );
    assert_eq!(manifests[0].header.route, world.route);
    assert_eq!(counts(&manifests).archived, 1);
    // What the destination cannot hold is offered, so that it fails with a reason.
    assert_eq!(offered(&manifests), ["a", "b", &long]);
}

#[tokio::test]
async fn only_what_is_older_than_the_run_is_removed() {
    let mut world = World::over_tls().await;
    world.route.source.prefix = "s/".into();
    world.route.destination.prefix = "d/".into();
    world.put("s/a", 1, 9);
    let old = world.there.store().put("arrivals", "d/old", "12345");
    world.there.store().put("arrivals", "outside", "x");
    let run = |started_ms| Run { started_ms, ..run(&world, deleting(), whole()) };
    let found = run(world.context().clock.now_ms() + 60_000);
    assert_eq!(scan(&world, &found).await.unwrap(), ScanEnd::Done);
    let manifests = manifests(&world.clients, &found, 0).await;
    let deletion = Deletion { delete: "d/old".into(), source_key: "s/old".into(), etag: ETag::new(&old.etag), size: 5 };
    assert_eq!(manifests.iter().flat_map(|manifest| manifest.deletions.clone()).collect::<Vec<_>>(), [deletion]);
    assert_eq!((counts(&manifests).extra, counts(&manifests).deletions), (1, 1));

    let newer = Run { name: "run-2".into(), ..run(1_000) };
    assert_eq!(scan(&world, &newer).await.unwrap(), ScanEnd::Done);
    let manifests = super::manifests(&world.clients, &newer, 0).await;
    assert_eq!((counts(&manifests).extra, counts(&manifests).deletions), (1, 0));
}

#[tokio::test]
async fn a_list_of_keys_is_offered_as_it_is() {
    let world = World::over_tls().await;
    world.here.store().put("departures", "lists/keys.csv", "b\na\n\"with, comma\"\nskipped\n");
    let keys = KeysFrom { format: KeysFormat::Csv, bucket: "departures".into(), key: "lists/keys.csv".into() };
    let filters = Filters { exclude: vec!["skip*".into()], ..Filters::default() };
    let request = BackfillRequest { keys: Some(keys), filters, ..BackfillRequest::default() };
    let manifests = scanned(&world, request).await;
    assert_eq!(offered(&manifests), ["b", "a", "with, comma"]);
    let counts = counts(&manifests);
    assert_eq!((counts.listed, counts.excluded, counts.unsized_objects), (4, 1, 3));
    assert!(matches!(progress(&manifests).through, Place::Line { .. }));
    assert_eq!(world.there.log().count("ListObjectsV2"), 0);
}

#[tokio::test]
async fn one_process_takes_the_manifests_as_they_come() {
    let world = World::over_tls().await;
    let keys: Vec<String> = (0..4_500).map(|number| format!("{number:05}")).collect();
    fill(&world, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    // Between them, some that stay as they are.
    let mut all = keys.clone();
    for key in keys.iter().step_by(3).map(|key| format!("{key}~")) {
        world.put(&key, 1, 9);
        copy(&world, &key);
        all.push(key);
    }
    all.sort();
    let (request, shard) = (BackfillRequest::default(), Shard::default());
    let job = Job { route: &world.route, shard: &shard, request: &request, started_ms: 0 };
    let (sink, mut stretches) = mpsc::channel(1);
    let context = world.context();
    let taking = async {
        let mut taken = Vec::new();
        while let Some(stretch) = stretches.recv().await {
            taken.push(stretch);
        }
        taken
    };
    let (ended, taken) = tokio::join!(scan_into(&world.clients, &context, job, sink), taking);
    assert_eq!(ended.unwrap(), ScanEnd::Done);
    assert_eq!(taken.iter().map(|stretch| stretch.pile.objects.len()).collect::<Vec<_>>(), [2_000, 2_000, 500]);
    assert_eq!(taken.iter().map(|stretch| stretch.progress.done).collect::<Vec<_>>(), [false, false, true]);
    let found: Vec<_> = taken.iter().flat_map(|stretch| &stretch.pile.objects).map(|object| &object.key).collect();
    assert!(found.into_iter().eq(&keys));
    for Stretch { progress: Progress { through, counts, .. }, .. } in &taken {
        let Place::Key(through) = through else { panic!("{through:?}") };
        let listed = all.partition_point(|key| key <= through) as u64;
        assert_eq!(
            (counts.listed, counts.add_up()),
            (listed, true),
            "counts of everything up to there, of nothing else"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_be_no_key_of_the_source_is_not_removed() {
    let mut world = World::over_tls().await;
    world.route.destination.prefix = "x/".into();
    let there = world.there.store();
    there.put("arrivals", "x/", "");
    there.put("arrivals", "x/a", "x");
    let found = scanned(&world, deleting()).await;
    assert_eq!(found[0].deletions.iter().map(|deletion| deletion.delete.as_str()).collect::<Vec<_>>(), ["x/a"]);
    assert_eq!((counts(&found).extra, counts(&found).deletions), (2, 1));

    let mut world = World::over_tls().await;
    world.route.source.prefix = "p/".into();
    let there = world.there.store();
    // With the prefix of the source, the first would be too long.
    there.put("arrivals", &"k".repeat(1_023), "x");
    there.put("arrivals", &"k".repeat(1_022), "x");
    let found = scanned(&world, deleting()).await;
    assert_eq!(found[0].deletions.iter().map(|deletion| deletion.source_key.len()).collect::<Vec<_>>(), [1_024]);
    assert_eq!((counts(&found).extra, counts(&found).deletions), (2, 1));
}
