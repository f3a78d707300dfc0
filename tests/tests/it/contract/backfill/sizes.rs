//! Payloads and history of the largest runs.

use super::super::Documents;
use super::super::trial::{When, instrumented};
use super::trial::{Answer, RUN_FAILED, Script, execute};
use longhaul_core::backfill::request::SCANS_MAX;
use longhaul_core::error::MESSAGE_MAX_BYTES;
use serde_json::json;

/// What Step Functions makes of the longest message of a function: JSON in a string, quotes escaped twice.
fn longest_cause() -> String {
    json!({"errorType": "Rejected", "errorMessage": "\"".repeat(MESSAGE_MAX_BYTES)}).to_string()
}

fn largest(told: Vec<(String, When, Answer)>) -> Script {
    Script { shards: SCANS_MAX, manifests: 3_000, deletes: true, tolerated: 100.0, told }
}

#[test]
fn a_run_of_many_shards_and_manifests_fits() {
    let machine = instrumented(&Documents::real().backfill);
    let trial = execute(&machine, &largest(vec![]));
    assert_eq!((trial.failed, trial.unread), (None, vec![]));
    assert_eq!(trial.stats.children, 3_000);
    // The state never holds anything a manifest.
    assert!(trial.stats.largest_payload < 32 * 1024, "{:?}", trial.stats);
    assert!(trial.stats.history_events < 5_000, "{:?}", trial.stats);
}

#[test]
fn the_longest_errors_of_every_shard_fit() {
    let machine = instrumented(&Documents::real().backfill);
    for state in ["Scan", "Delete"] {
        let told = vec![(state.to_owned(), When::Always, Answer::Told("Rejected", longest_cause()))];
        let trial = execute(&machine, &largest(told));
        assert_eq!(trial.failed, Some((RUN_FAILED.to_owned(), "Rejected".to_owned())));
        assert!(trial.stats.largest_payload < 256 * 1024, "{state}: {:?}", trial.stats);
    }
}
