//! What stands right and runs wrong: found by the scenarios alone.

use super::super::edit::{in_state, replaced, with_field, without_field};
use super::super::{Documents, check, format};

fn assert_found(what: &str, state: &str, edit: impl FnOnce(&str) -> String, blamed: &str) {
    let real = Documents::real();
    let edited = in_state(&real.backfill, state, edit);
    let documents = Documents { backfill: format!("{}\n", format::pretty(&edited)), ..real };
    let violations = check(&documents);
    let found = violations.iter().any(|violation| violation.split(['/', ':']).any(|place| place == blamed));
    assert!(found, "{what}: {violations:#?}");
}

fn with(from: &'static str, to: &'static str) -> impl Fn(&str) -> String {
    move |block| replaced(block, from, to)
}

#[test]
fn what_is_handed_on_wrongly_is_found() {
    assert_found("another tag", "Begin", with("\"begin\"", "\"scan\""), "Begin");
    assert_found("the request is lost", "Begin", with("$$.Execution.Input", "$$.Execution.Name"), "Begin");
    assert_found("the execution is lost", "Begin", with("$$.Execution.Id", "$$.Execution.Name"), "Begin");
    assert_found("the run is lost", "ScanShards", |block| without_field(block, "ResultPath"), "Gather");
    assert_found("results are lost", "Gather", with(",\n        \"results.$\": \"$.results\"", ""), "Gather");
    assert_found("it is copied again", "GatherCopied", with("true", "false"), "GatherCopied");
    assert_found("the error is lost", "GatherBroken", with(",\n        \"error.$\": \"$.error\"", ""), "Report");
    let lost = with(",\n              \"error.$\": \"$.error\"", "");
    assert_found("the error is lost", "ShardFailed", &lost, "Report");
    assert_found("the error is lost", "DeletionsFailed", &lost, "Report");
    let elsewhere = with("\"ResultPath\": \"$.error\"", "\"ResultPath\": \"$.errors\"");
    assert_found("the error is elsewhere", "Gather", &elsewhere, "Report");
    assert_found("the error is elsewhere", "Report", &elsewhere, "Report");
    assert_found(
        "the results stay",
        "DeleteShards",
        |block| with_field(block, "ResultPath", "\"ResultPath\": \"$\""),
        "Report",
    );
}

#[test]
fn executions_of_migrate_are_named_and_told_apart() {
    assert_found("another run", "Migrate", with("\"attempt.$\": \"$.run.attempt\"", "\"attempt\": 1"), "Migrate");
    assert_found(
        "another manifest",
        "Migrate",
        with("\"manifest.$\": \"$.manifest\"", "\"manifest.$\": \"$.bucket\""),
        "Migrate",
    );
    assert_found(
        "one name for all",
        "Migrate",
        with("$.run.attempt, $.manifest)", "$.run.attempt, $.run.name)"),
        "Migrate",
    );
    assert_found(
        "one name for all attempts",
        "Migrate",
        with("$.run.attempt, $.manifest)", "$.run.name, $.manifest)"),
        "Migrate",
    );
    assert_found(
        "what a child thinks of itself",
        "Migrate",
        with("$.run.attempt, $.manifest)", "$$.Execution.Name, $.manifest)"),
        "Migrate",
    );
    assert_found("no name", "Migrate", with("\"Name.$\": ", "\"Called\": "), "Migrate");
    assert_found(
        "another machine",
        "Migrate",
        with("\"${MigrateStateMachineArn}\"", "\"$.machine\""),
        "MigrateStateMachineArn",
    );
    assert_found("the whole answer stays", "Migrate", with("\"ResultPath\": null,", ""), "PutObject");
}

#[test]
fn the_map_over_manifests_is_held_to_its_bounds() {
    assert_found("other objects", "CopyManifests", with("\"$.prefix\"", "\"$.bucket\""), "ListObjects");
    assert_found(
        "results among the manifests",
        "CopyManifests",
        with("\"$.resultsPrefix\"", "\"$.prefix\""),
        "PutObject",
    );
    let none = |block: &str| without_field(block, "ToleratedFailurePercentagePath");
    assert_found("nothing is tolerated", "CopyManifests", none, "Migrate");
    assert_found(
        "the copies' results replace the run",
        "CopyManifests",
        |block| without_field(block, "ResultPath"),
        "GatherCopied",
    );
}

#[test]
fn a_failure_never_ends_well() {
    assert_found(
        "failed is success",
        "RouteReported",
        with("\"Next\": \"Failed\"", "\"Next\": \"Succeeded\""),
        "RouteReported",
    );
    assert_found("unreported is success", "Report", with("Unreported", "Succeeded"), "Report");
    assert_found("refused is success", "Begin", with("Refused", "Succeeded"), "Begin");
    assert_found("a failed child is well", "Migrate", with("CountFailure", "ManifestDone"), "Migrate");
    assert_found("another reason", "Failed", with("$.cause", "$.error"), "Report");
    assert_found("another reason", "Refused", with("$.Cause", "$.Error"), "Begin");
}
