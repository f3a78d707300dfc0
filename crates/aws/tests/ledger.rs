//! One suite over every ledger, and what holds for one of them only.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use futures::executor::block_on;
use futures::future::join_all;
use longhaul_aws::ledger::{DynamoLedger, EmbeddedLedger, Expected, Ledger, LedgerError, OpenError};
use longhaul_core::config::{Options, Route, Side};
use longhaul_core::error::{Failure, MESSAGE_MAX_BYTES};
use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use longhaul_core::outcome::{Outcome, Proof};
use longhaul_core::rate::{RateKey, Rates};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

const ENDPOINT: &str = "LONGHAUL_TEST_DYNAMODB_ENDPOINT";
/// Set for a copy of this test program that plays the second process.
const SECOND_PROCESS: &str = "LONGHAUL_TEST_LEDGER_DATABASE";

fn key(name: &str) -> LedgerKey {
    LedgerKey::new(&Side { bucket: "bucket".into(), ..Side::default() }, name)
}

fn record(name: &str, execution: &str) -> JobRecord {
    JobRecord::new(key(name), "from", name, execution, 1_700_000_000_000)
}

async fn suite(ledger: &dyn Ledger) {
    absent_then_conditions(ledger).await;
    many_keys_with_repeats(ledger).await;
    awkward_keys(ledger).await;
    one_of_many_writers_wins(ledger).await;
    rates_are_kept_apart_and_twins_do_no_harm(ledger).await;
}

async fn absent_then_conditions(ledger: &dyn Ledger) {
    let key = key("one");
    assert_eq!(ledger.get(&key).await, Ok(None));
    assert_eq!(ledger.put(&record("one", "a"), Expected::Revision(1)).await, Err(LedgerError::Conflict));
    assert_eq!(ledger.get(&key).await, Ok(None));

    let first = ledger.put(&record("one", "a"), Expected::Absent).await.unwrap();
    assert_eq!(first, JobRecord { revision: 1, ..record("one", "a") });
    assert_eq!(ledger.get(&key).await, Ok(Some(first.clone())));
    assert_eq!(ledger.put(&record("one", "b"), Expected::Absent).await, Err(LedgerError::Conflict));

    let ended = first.clone().ended(&Outcome::Migrated { bytes: 7, proof: Proof::Etag }, "a", 1_700_000_000_001);
    let second = ledger.put(&ended, Expected::Revision(1)).await.unwrap();
    assert_eq!(second, JobRecord { revision: 2, ..ended });
    let stale = JobRecord { execution: "late".into(), ..first };
    assert_eq!(ledger.put(&stale, Expected::Revision(1)).await, Err(LedgerError::Conflict));
    assert_eq!(ledger.get(&key).await, Ok(Some(second)));

    let any = ledger.put(&record("one", "c"), Expected::Any).await.unwrap();
    assert_eq!(any.revision, 1);
    assert_eq!(ledger.get(&key).await, Ok(Some(any)));
    let unseen = ledger.put(&record("two", "c"), Expected::Any).await.unwrap();
    assert_eq!(ledger.get(&unseen.destination).await, Ok(Some(unseen)));
}

async fn many_keys_with_repeats(ledger: &dyn Ledger) {
    assert_eq!(ledger.get_many(&[]).await, Ok(Vec::new()));
    let name = |number: usize| format!("many/{number}");
    for number in (0..230).filter(|number| number % 3 != 0) {
        ledger.put(&record(&name(number), "many"), Expected::Absent).await.unwrap();
    }
    // 500 keys in an order of their own, each at least twice, side by side.
    let numbers: Vec<_> = (0..500).map(|index| index / 2 * 7 % 230).collect();
    let keys: Vec<_> = numbers.iter().map(|number| key(&name(*number))).collect();
    let found = ledger.get_many(&keys).await.unwrap();
    let expected: Vec<_> = numbers
        .iter()
        .map(|number| (number % 3 != 0).then(|| JobRecord { revision: 1, ..record(&name(*number), "many") }))
        .collect();
    assert_eq!(found, expected);
}

async fn awkward_keys(ledger: &dyn Ledger) {
    let longest = "ü".repeat(512);
    let names = ["/", "//", "a//b", "a/b", "a//b/", "../a", ".", " ", "Ü\u{308}✂️🦀", "\"\\\n\t\u{1}%2F+", &longest];
    for name in names {
        let failure = Failure::new("Rejected", "🦀".repeat(MESSAGE_MAX_BYTES));
        let failed = record(name, name).ended(&Outcome::Failed { failure }, name, 2);
        let written = ledger.put(&failed, Expected::Absent).await.unwrap();
        assert_eq!(ledger.get(&key(name)).await, Ok(Some(written)));
    }
    let found = ledger.get_many(&names.map(key)).await.unwrap();
    for (name, record) in names.iter().zip(found) {
        assert_eq!(record.unwrap().source_key, *name);
    }
}

async fn one_of_many_writers_wins(ledger: &dyn Ledger) {
    let offers: Vec<_> = (0..20).map(|number| record("contended", &format!("run-{number}"))).collect();
    let results = join_all(offers.iter().map(|offer| ledger.put(offer, Expected::Absent))).await;
    let won = only_one_won(results);
    assert_eq!(ledger.get(&key("contended")).await, Ok(Some(won)));
}

async fn rates_are_kept_apart_and_twins_do_no_harm(ledger: &dyn Ledger) {
    let side = |bucket: &str| Side { bucket: bucket.into(), ..Side::default() };
    let key = |to: &str| {
        let (source, destination) = (side("from"), side(to));
        RateKey::new(&Route { name: String::new(), source, destination, options: Options::default() })
    };
    let none = ledger.rates(&key("to")).await.unwrap();
    assert_eq!(none, Rates::none(key("to")));
    let first = none.with(7, 1_700_000_000_000).unwrap();
    ledger.put_rates(&first).await.unwrap();
    assert_eq!(ledger.put_rates(&first).await, Err(LedgerError::Conflict), "a twin");
    let held = ledger.rates(&key("to")).await.unwrap();
    assert_eq!(held, Rates { revision: 1, ..first });
    let second = held.with(70, 1_700_000_000_001).unwrap();
    ledger.put_rates(&second).await.unwrap();
    assert_eq!(ledger.rates(&key("to")).await, Ok(Rates { revision: 2, ..second }));
    assert_eq!(ledger.put_rates(&Rates::none(key("to"))).await, Err(LedgerError::Conflict));
    assert_eq!(ledger.rates(&key("elsewhere")).await, Ok(Rates::none(key("elsewhere"))));
}

fn only_one_won(results: Vec<Result<JobRecord, LedgerError>>) -> JobRecord {
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(lost.into_iter().all(|result| result == Err(LedgerError::Conflict)));
    assert_eq!(won.len(), 1);
    won.into_iter().next().unwrap().unwrap()
}

/// A directory of this test's own, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("longhaul-ledger-{}-{number}", std::process::id())))
    }

    fn database(&self) -> PathBuf {
        self.0.join("not yet there").join("ledger.redb")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn in_memory() {
    suite(&EmbeddedLedger::in_memory().unwrap()).await;
}

#[test]
fn in_memory_needs_no_runtime() {
    block_on(suite(&EmbeddedLedger::in_memory().unwrap()));
}

#[tokio::test]
async fn on_disk_records_survive_a_reopening() {
    let place = Place::new();
    let ledger = EmbeddedLedger::open(&place.database()).unwrap();
    suite(&ledger).await;
    let before = ledger.all().unwrap();
    assert!(before.is_sorted_by_key(|record| record.destination.clone()));
    drop(ledger);
    let again = EmbeddedLedger::open(&place.database()).unwrap();
    assert_eq!(again.all().unwrap(), before);
    assert_eq!(again.get(&before[0].destination).await, Ok(Some(before[0].clone())));
}

#[test]
fn on_disk_reads_see_writes_before_between_and_after_commits() {
    let place = Place::new();
    let ledger = EmbeddedLedger::open(&place.database()).unwrap();
    block_on(async {
        let mut last = ledger.put(&record("k", "e"), Expected::Absent).await.unwrap();
        for round in 0..600 {
            last = ledger.put(&last, Expected::Revision(last.revision)).await.unwrap();
            assert_eq!(ledger.get(&key("k")).await, Ok(Some(last.clone())));
            if round % 100 == 0 {
                ledger.flush().await.unwrap();
                assert_eq!(ledger.all(), Ok(vec![last.clone()]));
            }
        }
        ledger.flush().await.unwrap();
        ledger.flush().await.unwrap();
    });
}

#[test]
fn of_many_threads_one_wins() {
    let place = Place::new();
    let ledgers = [EmbeddedLedger::in_memory().unwrap(), EmbeddedLedger::open(&place.database()).unwrap()];
    for ledger in &ledgers {
        for round in 0..20 {
            let name = format!("contended/{round}");
            let offer = |number: u32| block_on(ledger.put(&record(&name, &number.to_string()), Expected::Absent));
            let results = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || offer(number))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(block_on(ledger.get(&key(&name))), Ok(Some(only_one_won(results))));
        }
    }
}

#[test]
fn a_database_that_is_none_is_refused() {
    let place = Place::new();
    std::fs::create_dir_all(place.database().parent().unwrap()).unwrap();
    std::fs::write(place.database(), "no database").unwrap();
    let refused = EmbeddedLedger::open(&place.database()).unwrap_err();
    assert!(matches!(refused, OpenError::Unusable { .. }));
    assert!(refused.to_string().contains("ledger.redb"), "{refused}");
}

#[test]
fn a_second_opening_is_refused() {
    let place = Place::new();
    let held = EmbeddedLedger::open(&place.database()).unwrap();
    let refused = EmbeddedLedger::open(&place.database()).unwrap_err();
    assert!(matches!(&refused, OpenError::InUse(database) if *database == place.database()));
    assert!(refused.to_string().contains("ledger.redb"), "{refused}");
    assert_eq!(second_process("plays_a_second_opening", &place.database()), Some(0));
    drop(held);
    EmbeddedLedger::open(&place.database()).unwrap();
}

#[test]
fn what_was_flushed_survives_a_kill() {
    let place = Place::new();
    let ended = second_process("plays_a_killed_writer", &place.database());
    assert_ne!(ended, Some(0));
    let ledger = EmbeddedLedger::open(&place.database()).unwrap();
    let kept = ledger.all().unwrap();
    for number in 0..300 {
        let name = format!("flushed/{number:03}");
        assert!(kept.iter().any(|record| record.destination == key(&name)), "{name} is lost");
    }
}

/// Runs one test of this program in a process of its own; returns its exit code.
fn second_process(test: &str, database: &Path) -> Option<i32> {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    let output = command.args(["--exact", test, "--nocapture"]).env(SECOND_PROCESS, database).output().unwrap();
    // Else a misspelt name would pass for a success.
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("{test} plays")));
    output.status.code()
}

/// The database to play with, in the second process only.
fn played(test: &str) -> Option<PathBuf> {
    let database = std::env::var_os(SECOND_PROCESS)?;
    println!("{test} plays");
    Some(database.into())
}

#[test]
fn plays_a_second_opening() {
    let Some(database) = played("plays_a_second_opening") else { return };
    assert!(matches!(EmbeddedLedger::open(&database), Err(OpenError::InUse(_))));
}

#[test]
fn plays_a_killed_writer() {
    let Some(database) = played("plays_a_killed_writer") else { return };
    let ledger = EmbeddedLedger::open(&database).unwrap();
    block_on(async {
        for number in 0..300 {
            ledger.put(&record(&format!("flushed/{number:03}"), "e"), Expected::Absent).await.unwrap();
        }
        ledger.flush().await.unwrap();
        for number in 0..300 {
            ledger.put(&record(&format!("late/{number:03}"), "e"), Expected::Absent).await.unwrap();
        }
    });
    std::process::abort();
}

#[tokio::test]
async fn in_dynamodb() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        println!("skipped: {ENDPOINT} is not set");
        return;
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "test".into());
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let credentials = Credentials::new(id, secret, std::env::var("AWS_SESSION_TOKEN").ok(), None, "test");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .build();
    let client = Client::from_conf(config);
    let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let table = format!("longhaul-test-{}-{nanoseconds}", std::process::id());
    create(&client, &table).await;
    // A task of its own, so that the table is deleted after a failure too.
    let ledger = DynamoLedger::new(client.clone(), table.clone());
    let (looking, looked_at) = (client.clone(), table.clone());
    let result = tokio::spawn(async move {
        suite(&ledger).await;
        items_are_for_people_too(&looking, &looked_at).await;
    });
    let result = result.await;
    client.delete_table().table_name(&table).send().await.unwrap();
    result.unwrap();
}

async fn create(client: &Client, table: &str) {
    let attribute = AttributeDefinition::builder();
    let attribute = attribute.attribute_name("destination").attribute_type(ScalarAttributeType::S).build().unwrap();
    let partition = KeySchemaElement::builder().attribute_name("destination").key_type(KeyType::Hash).build().unwrap();
    let creation = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    creation.attribute_definitions(attribute).key_schema(partition).send().await.unwrap();
    loop {
        let described = client.describe_table().table_name(table).send().await.unwrap();
        if described.table.and_then(|table| table.table_status).is_some_and(|status| status.as_str() == "ACTIVE") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn items_are_for_people_too(client: &Client, table: &str) {
    let at = aws_sdk_dynamodb::types::AttributeValue::S(key("a//b").as_str().into());
    let item = client.get_item().table_name(table).key("destination", at).send().await.unwrap().item.unwrap();
    assert_eq!(item["status"].as_s().unwrap(), "failed");
    assert_eq!(item["failure"].as_s().unwrap(), "Rejected");
    assert_eq!(item["revision"].as_n().unwrap(), "1");
    assert!(item.contains_key("expires"));
}
