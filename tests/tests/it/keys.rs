//! Lists of keys, read over the wire and from the work bucket.

use crate::world::World;
use flate2::{Compression, write::GzEncoder};
use longhaul_aws::error::StepError;
use longhaul_aws::scan::keys::{KeyEntry, KeyRow, KeysReader};
use longhaul_core::backfill::manifest::Place;
use longhaul_core::backfill::request::{KeysFormat, KeysFrom};
use longhaul_core::error::ErrorName;
use longhaul_testing::{Fault, Rule};
use std::io::Write as _;

async fn world() -> World {
    let mut world = World::new().await;
    world.route.source.prefix = "p/".into();
    world.here.store().bucket("lists");
    world
}

fn list(format: KeysFormat, key: &str) -> KeysFrom {
    KeysFrom { format, bucket: "lists".into(), key: key.into() }
}

fn packed(members: &[&[u8]]) -> Vec<u8> {
    let pack = |text: &&[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    members.iter().flat_map(pack).collect()
}

async fn read(world: &World, keys: &KeysFrom, from: Place) -> Result<Vec<KeyEntry>, StepError> {
    let mut reader = KeysReader::open(&world.clients, &world.route, keys, from).await?;
    let mut entries = Vec::new();
    while let Some(row) = reader.next().await? {
        if let KeyRow::Entry(entry) = row {
            entries.push(*entry);
        }
    }
    assert_eq!(reader.next().await?, None, "the end lasts");
    Ok(entries)
}

async fn refused(world: &World, keys: &KeysFrom) -> String {
    let error = read(world, keys, Place::Start).await.unwrap_err();
    assert_eq!(error.name, ErrorName::Rejected, "{error}");
    error.message
}

fn keys_of(entries: &[KeyEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.object.key.as_str()).collect()
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("p/{number:07}-{}", "ü,\"\n x".repeat(number % 7))).collect()
}

fn csv(keys: &[String]) -> Vec<u8> {
    keys.iter().map(|key| format!("\"{}\"\r\n", key.replace('"', "\"\""))).collect::<String>().into_bytes()
}

#[tokio::test]
async fn a_list_is_read_from_either_bucket_packed_or_not() {
    let world = world().await;
    let keys = many(8_000);
    let text = csv(&keys);
    let (one, two) = text.split_at(text.len() / 3);
    let store = world.here.store();
    store.put("lists", "plain.csv", text.clone());
    store.put("lists", "packed", packed(&[one, two]));
    let json: String = keys.iter().map(|key| serde_json::to_string(key).unwrap() + "\n").collect();
    store.put("lists", "keys.jsonl", json.into_bytes());
    world.clients.work.put("lists/own.csv", text.into()).await.unwrap();
    let own = KeysFrom {
        format: KeysFormat::Csv,
        bucket: world.clients.work.bucket().to_owned(),
        key: "lists/own.csv".into(),
    };
    let lists = [
        list(KeysFormat::Csv, "plain.csv"),
        list(KeysFormat::Csv, "packed"),
        list(KeysFormat::JsonLines, "keys.jsonl"),
        own,
    ];
    for keys_from in lists {
        let entries = read(&world, &keys_from, Place::Start).await.unwrap();
        assert_eq!(keys_of(&entries), keys, "{keys_from:?}");
        assert_eq!(entries[0].object.bucket, "departures");
        for at in [0, 1, 5_000, keys.len() - 1] {
            let place = entries[at].place.clone();
            let rest = read(&world, &keys_from, place).await.unwrap();
            assert_eq!(rest, entries[at + 1..], "{keys_from:?} behind {at}");
        }
        let beyond = Place::Line { object: 0, entry: keys.len() as u64 + 1 };
        let error = read(&world, &keys_from, beyond).await.unwrap_err();
        assert!(error.message.contains("was longer"), "{error}");
    }
}

#[tokio::test]
async fn broken_connections_lose_and_double_nothing() {
    let world = world().await;
    let keys = many(6_000);
    world.here.store().put("lists", "plain", csv(&keys));
    world.here.store().put("lists", "packed", packed(&[&csv(&keys)]));
    for key in ["plain", "packed"] {
        for after in [0, 1, 2, 4_097] {
            let before = world.here.faults().total();
            world.here.faults().clear();
            world.here.faults().add(Rule::on("GetObject").times(4).fails(Fault::CutBody { after }));
            let entries = read(&world, &list(KeysFormat::Csv, key), Place::Start).await.unwrap();
            assert!(keys_of(&entries) == keys, "{key} cut after {after}");
            assert_eq!(world.here.faults().total() - before, 4);
        }
    }
}

#[tokio::test]
async fn a_list_that_is_replaced_is_refused() {
    let world = world().await;
    let keys = many(40_000);
    let own = KeysFrom { bucket: world.clients.work.bucket().to_owned(), ..list(KeysFormat::Csv, "l") };
    for from in [list(KeysFormat::Csv, "l"), own] {
        world.here.store().put("lists", "l", csv(&keys));
        world.clients.work.put("l", csv(&keys).into()).await.unwrap();
        world.here.faults().clear();
        world.here.faults().add(Rule::on("GetObject").times(1).fails(Fault::CutBody { after: 1_000 }));
        let mut reader = KeysReader::open(&world.clients, &world.route, &from, Place::Start).await.unwrap();
        assert!(reader.next().await.unwrap().is_some());
        world.here.store().put("lists", "l", csv(&many(40_001)));
        world.clients.work.put("l", csv(&many(40_001)).into()).await.unwrap();
        let error = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{from:?}: read to an end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.name, ErrorName::Rejected);
        assert!(error.message.contains("replaced"), "{error}");
    }
}

#[tokio::test]
async fn wrong_lists_are_refused_by_object_and_line() {
    let world = world().await;
    let put = |key: &str, body: &[u8]| world.here.store().put("lists", key, body.to_vec());
    put("l", b"key\np/a\nq/b\n");
    let told = refused(&world, &list(KeysFormat::Csv, "l")).await;
    assert!(told.contains("s3://lists/l") && told.contains("line 3") && told.contains("q/b"), "{told}");
    put("j", b"\"p/a\"\n{\"key\":\"p/a\",\"bucket\":\"other\"}\n");
    let told = refused(&world, &list(KeysFormat::JsonLines, "j")).await;
    assert!(told.contains("s3://lists/j") && told.contains("line 2") && told.contains("other"), "{told}");
    let whole = packed(&[b"p/a\np/b\n"]);
    put("cut", &whole[..whole.len() - 5]);
    assert!(refused(&world, &list(KeysFormat::Csv, "cut")).await.contains("gzip"));
    let mut damaged = whole.clone();
    damaged[12] ^= 0x55;
    put("damaged", &damaged);
    assert!(refused(&world, &list(KeysFormat::Csv, "damaged")).await.contains("gzip"));
    assert!(refused(&world, &list(KeysFormat::Csv, "missing")).await.contains("s3://lists/missing"));
    put("empty", b"");
    assert_eq!(read(&world, &list(KeysFormat::Csv, "empty"), Place::Start).await.unwrap(), []);
    world.clients.work.put("empty", bytes::Bytes::new()).await.unwrap();
    let own = KeysFrom { bucket: world.clients.work.bucket().to_owned(), ..list(KeysFormat::Csv, "empty") };
    assert_eq!(read(&world, &own, Place::Start).await.unwrap(), []);
    let missing = KeysFrom { key: "none".into(), ..own };
    assert!(refused(&world, &missing).await.contains("does not exist"));
}

#[tokio::test]
async fn an_inventory_is_read_through_its_data_objects() {
    let world = world().await;
    let manifest = |format: &str, source: &str| {
        serde_json::json!({
            "sourceBucket": source, "destinationBucket": "arn:aws:s3:::lists", "fileFormat": format,
            "fileSchema": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag",
            "files": [{"key": "data/1.csv.gz"}, {"key": "data/2.csv.gz"}, {"key": "data/3.csv.gz"}]
        })
        .to_string()
    };
    let store = world.here.store();
    store.put("lists", "manifest.json", manifest("CSV", "departures").into_bytes());
    store.put("lists", "orc.json", manifest("ORC", "departures").into_bytes());
    store.put("lists", "other.json", manifest("CSV", "elsewhere").into_bytes());
    let row = |key: &str, latest: bool| {
        format!("\"departures\",\"{key}\",\"v\",\"{latest}\",\"false\",\"7\",\"1970-01-02T00:00:00.000Z\",\"e\"\n")
    };
    let one = [row("p/a+b", true), row("p/a+b", false), row("outside", true), row("p/%C3%BC%2B", true)].concat();
    store.put("lists", "data/1.csv.gz", packed(&[one.as_bytes()]));
    store.put("lists", "data/2.csv.gz", packed(&[b""]));
    store.put("lists", "data/3.csv.gz", packed(&[row("p/last", true).as_bytes()]));
    let inventory = list(KeysFormat::Inventory, "manifest.json");
    let entries = read(&world, &inventory, Place::Start).await.unwrap();
    assert_eq!(keys_of(&entries), ["p/a b", "p/ü+", "p/last"]);
    assert_eq!((entries[0].object.size, entries[0].modified), (Some(7), Some(86_400)));
    let places: Vec<Place> = entries.iter().map(|entry| entry.place.clone()).collect();
    let line = |object, entry| Place::Line { object, entry };
    assert_eq!(places, [line(0, 1), line(0, 4), line(2, 1)]);
    for (at, place) in places.into_iter().enumerate() {
        assert_eq!(read(&world, &inventory, place).await.unwrap(), entries[at + 1..]);
    }
    assert!(refused(&world, &list(KeysFormat::Inventory, "orc.json")).await.contains("ORC and Parquet"));
    assert!(refused(&world, &list(KeysFormat::Inventory, "other.json")).await.contains("elsewhere"));
    store.put("lists", "data/3.csv.gz", packed(&[b"\"departures\",\"p/x\"\n"]));
    let told = refused(&world, &inventory).await;
    assert!(told.contains("data/3.csv.gz") && told.contains("line 1"), "{told}");
}

#[tokio::test]
async fn rows_without_an_entry_are_told_of_too() {
    let world = world().await;
    let manifest = serde_json::json!({
        "sourceBucket": "departures", "destinationBucket": "arn:aws:s3:::lists", "fileFormat": "CSV",
        "fileSchema": "Bucket, Key", "files": [{"key": "1"}, {"key": "2"}, {"key": "3"}]
    });
    let rows = |prefix: &str, count: usize| -> String {
        (0..count).map(|number| format!("\"departures\",\"{prefix}{number}\"\n")).collect()
    };
    let store = world.here.store();
    store.put("lists", "m", manifest.to_string().into_bytes());
    store.put("lists", "1", rows("outside/", 25_000) + &rows("p/", 1));
    store.put("lists", "2", rows("outside/", 3));
    store.put("lists", "3", rows("outside/", 1) + &rows("p/", 1));
    let inventory = list(KeysFormat::Inventory, "m");
    let line = |object, entry| Place::Line { object, entry };
    let told = async |from: Place| {
        let mut reader = KeysReader::open(&world.clients, &world.route, &inventory, from).await.unwrap();
        let (mut places, mut skipped) = (Vec::new(), 0);
        while let Some(row) = reader.next().await.unwrap() {
            match row {
                KeyRow::Entry(entry) => places.push((true, entry.place)),
                KeyRow::Passed(place) => places.push((false, place)),
                KeyRow::Skipped => skipped += 1,
            }
        }
        (places, skipped)
    };
    let all = [
        (false, line(0, 10_000)),
        (false, line(0, 20_000)),
        (true, line(0, 25_001)),
        (false, line(1, 0)),
        (false, line(2, 0)),
        (true, line(2, 2)),
    ];
    assert_eq!(told(Place::Start).await, (all.to_vec(), 0));
    // From each of these places, the rest is what comes behind it.
    for (at, (_, place)) in all.iter().enumerate() {
        let (places, skipped) = told(place.clone()).await;
        assert_eq!(places, all[at + 1..], "behind {place:?}");
        let Place::Line { entry, .. } = place else { panic!("{place:?}") };
        assert!((0..=1).contains(&(skipped - *entry as usize / 10_000)), "{skipped} times behind {place:?}");
    }
}
