//! What the functions log: one line an outcome, all of it in fields, and never a secret.

use crate::world::{MIB, World};
use longhaul_aws::lambda::structured;
use longhaul_core::request::{ObjectRef, Request};
use longhaul_testing::{Fault, Keys, Rule};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::util::SubscriberInitExt as _;

const SECRET: &str = "secret-of-test";

/// What this thread logs, as the functions write it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type Line = Map<String, Value>;

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The outcomes, by source key. A second line of a key fails.
    fn outcomes(&self) -> BTreeMap<String, Line> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
        let mut outcomes = BTreeMap::new();
        for line in lines.filter(|line| line.get("message").is_some_and(|message| message == "outcome")) {
            let key = line["key"].as_str().unwrap().to_owned();
            assert_eq!(outcomes.insert(key, line), None, "a second line");
        }
        outcomes
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// Log and guard: until it is dropped, the thread logs into it.
macro_rules! listen {
    ($level:literal) => {{
        let log = Log::default();
        let writer = log.clone();
        let guard = structured($level.into(), move || writer.clone()).set_default();
        (log, guard)
    }};
}

/// Objects of every fate.
async fn world() -> World {
    let mut world = World::under(Keys { access_key: "id-of-test".into(), secret_key: SECRET.into() }).await;
    world.route.destination.prefix = "in/".into();
    for (seed, key, size) in [(1, "small", 10), (2, "film", 20 * MIB), (3, "denied", 10), (4, "denied film", 20 * MIB)]
    {
        world.put(key, seed, size);
    }
    world.put("same", 5, 100);
    world.there.store().put("arrivals", "in/same", World::bytes(5, 100));
    let denied = || Fault::Status { status: 403, code: Some("AccessDenied".into()) };
    world.there.faults().add(Rule::on("PutObject").key("in/denied").fails(denied()));
    world.there.faults().add(Rule::on("UploadPart").key("in/denied film").fails(denied()));
    world
}

/// These fields are all that a line has, but for `others`, whose values are merely there.
fn assert_fields(line: &Line, expected: Value, others: &[&str]) {
    let mut told = line.clone();
    for name in ["message", "target"].iter().chain(others) {
        assert!(told.remove(*name).is_some_and(|value| !value.as_str().unwrap_or("-").is_empty()), "{name}: {line:?}");
    }
    assert_eq!(Value::Object(told), expected);
}

#[tokio::test]
async fn each_outcome_is_one_line_with_its_fields() {
    let world = world().await;
    let mut request = world.request(&["small", "film", "denied", "denied film", "same", "gone"]);
    request.objects.push(ObjectRef { bucket: "nobody-knows".into(), key: "x".into(), ..ObjectRef::default() });
    let request = Request { route: Some(world.route.clone()), ..request };
    let (log, _guard) = listen!("info");
    world.migrate("arn:of:an:execution:one", &request).await;
    let lines = log.outcomes();
    let of = |level: &str, status: &str, key: &str| {
        json!({"level": level, "status": status, "execution": "one", "route": "test", "bucket": "departures", "key": key,
            "destination_bucket": "arrivals", "destination_key": format!("in/{key}")})
    };
    let with = |mut fields: Value, more: Value| {
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    assert_eq!(lines.len(), 7, "{lines:?}");
    let small = with(of("INFO", "migrated", "small"), json!({"bytes": 10}));
    assert_fields(&lines["small"], small, &["proof", "etag"]);
    let film = with(of("INFO", "migrated", "film"), json!({"bytes": 20 * MIB}));
    assert_fields(&lines["film"], film, &["proof", "etag", "upload_id"]);
    assert_fields(&lines["same"], of("INFO", "unchanged", "same"), &["proof", "etag"]);
    let gone = with(of("INFO", "skipped", "gone"), json!({"reason": "sourceGone"}));
    assert_fields(&lines["gone"], gone, &[]);
    let failed = json!({"error": "Rejected"});
    assert_fields(&lines["denied"], with(of("WARN", "failed", "denied"), failed.clone()), &["reason"]);
    let denied = with(of("WARN", "failed", "denied film"), failed.clone());
    assert_fields(&lines["denied film"], denied, &["reason", "upload_id"]);
    let unrouted = json!({"level": "WARN", "status": "failed", "error": "Rejected", "execution": "one",
        "bucket": "nobody-knows", "key": "x"});
    assert_fields(&lines["x"], unrouted, &["reason"]);
    for key in ["small", "film", "same"] {
        let proof = lines[key]["proof"].as_str().unwrap();
        assert!(["checksum", "etag", "parts"].contains(&proof), "{proof}");
    }
}

#[tokio::test]
async fn the_lines_of_a_backfill_name_its_run_and_attempt() {
    let world = world().await;
    let (log, _guard) = listen!("info");
    let request = json!({"routes": [world.route]});
    world.backfill("monday", request).await.result.unwrap_err();
    let of = |line: &Line| (line["run"].clone(), line["attempt"].clone(), line["status"].clone());
    let lines = log.outcomes();
    // What the scan finds unchanged is offered to nobody.
    assert_eq!(lines.keys().collect::<Vec<_>>(), ["denied", "denied film", "film", "small"]);
    for (key, status) in [("small", "migrated"), ("film", "migrated"), ("denied", "failed"), ("denied film", "failed")]
    {
        assert_eq!(of(&lines[key]), (json!("monday"), json!(1), json!(status)), "{key}");
    }
    log.forget();
    world.there.faults().clear();
    world.backfill("tuesday", json!({"resume": "monday"})).await.result.unwrap();
    let lines = log.outcomes();
    for key in ["denied", "denied film"] {
        assert_eq!(of(&lines[key]), (json!("monday"), json!(2), json!("migrated")), "{key}");
    }
    let ended = log.text().lines().filter(|line| line.contains(r#""message":"ended""#)).count();
    assert!(ended > 0, "no line on the end of an execution");
}

/// At the level that tells most, and with a side that refuses.
#[tokio::test]
async fn no_line_holds_a_secret() {
    let world = world().await;
    let (log, _guard) = listen!("trace");
    world.migrate("one", &Request { route: Some(world.route.clone()), ..world.request(&["small", "denied"]) }).await;
    let text = log.text();
    assert!(text.contains(r#""level":"TRACE""#) && log.outcomes().len() == 2, "nothing was told");
    assert!(!text.contains(SECRET));
}
