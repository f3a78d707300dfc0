//! Executions with a known course.

use super::super::raw;
use super::super::samples::shard;
use super::super::trial::{When, instrumented};
use super::trial::{Answer, RUN_FAILED, Script, Trial, execute};
use longhaul_asl::Machine;
use longhaul_core::backfill::states::ShardState;
use longhaul_core::error::ErrorName;
use serde_json::Value;
use std::collections::BTreeSet;

struct Scenario {
    name: &'static str,
    script: Script,
    /// The Tasks and integrations that are called, in order.
    calls: &'static str,
    /// Error and cause that it fails with.
    fails: Option<(&'static str, &'static str)>,
}

const REJECTED: Answer = Answer::Fails("Rejected");
const REFUSED: Option<(&str, &str)> = Some(("Rejected", "because"));

fn failed(cause: &'static str) -> Option<(&'static str, &'static str)> {
    Some((RUN_FAILED, cause))
}

/// Two shards and two manifests, and then what `edit` makes of it.
fn given(
    name: &'static str,
    told: Vec<(&str, When, Answer)>,
    edit: impl FnOnce(&mut Script),
    calls: &'static str,
    fails: Option<(&'static str, &'static str)>,
) -> Scenario {
    let told = told.into_iter().map(|(state, when, answer)| (state.to_owned(), when, answer)).collect();
    let mut script = Script { shards: 2, manifests: 2, deletes: false, tolerated: 100.0, told };
    edit(&mut script);
    Scenario { name, script, calls, fails }
}

fn as_it_is(_: &mut Script) {}

fn with_deletions(script: &mut Script) {
    script.deletes = true;
}

fn nothing_to_copy(script: &mut Script) {
    script.manifests = 0;
}

/// What the scan can meet.
fn scans() -> Vec<Scenario> {
    let more = Answer::Shard(ShardState::Scan(shard(0)));
    let always = |state| (state, When::Always, REJECTED);
    vec![
        given(
            "a shard needs two invocations",
            vec![("Scan", When::Call(0), more)],
            nothing_to_copy,
            "Begin Scan Scan Scan Gather Report",
            None,
        ),
        given(
            "a transient error is repeated",
            vec![("Scan", When::Call(0), Answer::Fails("Transient"))],
            nothing_to_copy,
            "Begin Scan Scan Scan Gather Report",
            None,
        ),
        given(
            "a shard fails",
            vec![("Scan", When::Call(0), REJECTED)],
            as_it_is,
            "Begin Scan Scan Gather Report",
            failed("Rejected"),
        ),
        given(
            "an iteration is lost",
            vec![("Scan", When::Call(0), Answer::Unheard)],
            as_it_is,
            "Begin Scan Report",
            failed("States.NoChoiceMatched"),
        ),
        given("every shard was scanned before", vec![], |script| script.shards = 0, COPIED_ALONE, None),
        given("the run may not begin", vec![always("Begin")], as_it_is, "Begin", REFUSED),
        given(
            "nobody knows what follows",
            vec![always("Gather")],
            as_it_is,
            "Begin Scan Scan Gather Report",
            failed("Rejected"),
        ),
        given("a dry run, or a pause", vec![], nothing_to_copy, "Begin Scan Scan Gather Report", None),
    ]
}

const COPIED_ALONE: &str = "Begin Gather ListObjects Migrate Migrate PutObject GatherCopied Report";
const COPIED: &str = "Begin Scan Scan Gather ListObjects Migrate Migrate PutObject GatherCopied Report";
const BROKEN: &str = "Begin Scan Scan Gather ListObjects GatherBroken Report";

/// What the copies can meet.
fn copies() -> Vec<Scenario> {
    let always = |state| (state, When::Always, REJECTED);
    let one_fails = || vec![("Migrate", When::Call(0), Answer::Fails("ObjectsFailed"))];
    vec![
        given("all is copied", vec![], as_it_is, COPIED, None),
        given(
            "a start is repeated under the same name",
            vec![("Migrate", When::Call(0), Answer::Fails("StepFunctions.SfnException"))],
            |script| script.manifests = 1,
            "Begin Scan Scan Gather ListObjects Migrate Migrate PutObject GatherCopied Report",
            // The trial counts the start that failed.
            failed("objects failed"),
        ),
        given("an execution fails, which is tolerated", one_fails(), as_it_is, COPIED, failed("objects failed")),
        given("all fail, which is tolerated", vec![always("Migrate")], as_it_is, COPIED, failed("objects failed")),
        given(
            "half of them fail, which is tolerated just so",
            one_fails(),
            |script| script.tolerated = 50.0,
            COPIED,
            failed("objects failed"),
        ),
        given(
            "more fail than is tolerated",
            one_fails(),
            |script| script.tolerated = 49.9,
            "Begin Scan Scan Gather ListObjects Migrate GatherBroken Report",
            failed("States.ExceedToleratedFailureThreshold"),
        ),
        given(
            "no manifest can be listed",
            vec![always("ListObjects")],
            as_it_is,
            BROKEN,
            failed("States.ItemReaderFailed"),
        ),
        given(
            "the results cannot be written",
            vec![always("PutObject")],
            as_it_is,
            "Begin Scan Scan Gather ListObjects Migrate Migrate PutObject GatherBroken Report",
            failed("States.ResultWriterFailed"),
        ),
        given("nobody knows what follows", vec![always("GatherCopied")], as_it_is, COPIED, failed("Rejected")),
        given(
            "the copies broke off, and nobody knows what follows",
            vec![always("ListObjects"), always("GatherBroken")],
            as_it_is,
            BROKEN,
            failed("Rejected"),
        ),
    ]
}

const DELETED: &str = "Begin Scan Scan Gather ListObjects Migrate Migrate PutObject GatherCopied Delete Delete Report";

/// What deletions and the report can meet.
fn ends() -> Vec<Scenario> {
    let always = |state| (state, When::Always, REJECTED);
    let more = Answer::Shard(ShardState::Delete(shard(0)));
    vec![
        given("copies and deletions", vec![], with_deletions, DELETED, None),
        given(
            "deletions alone, in two invocations",
            vec![("Delete", When::Call(0), more)],
            |script| (script.manifests, script.deletes) = (0, true),
            "Begin Scan Scan Gather Delete Delete Delete Report",
            None,
        ),
        given(
            "deletions of a shard fail",
            vec![("Delete", When::Call(1), REJECTED)],
            with_deletions,
            DELETED,
            failed("Rejected"),
        ),
        given(
            "an iteration is lost",
            vec![("Delete", When::Call(0), Answer::Unheard)],
            |script| (script.shards, script.deletes) = (1, true),
            "Begin Scan Gather ListObjects Migrate Migrate PutObject GatherCopied Delete Report",
            failed("States.NoChoiceMatched"),
        ),
        given(
            "copies break off, and nothing is deleted",
            vec![always("ListObjects")],
            with_deletions,
            BROKEN,
            failed("States.ItemReaderFailed"),
        ),
        given(
            "the report takes two rounds",
            vec![("Report", When::Call(0), Answer::ReportsOn)],
            nothing_to_copy,
            "Begin Scan Scan Gather Report Report",
            None,
        ),
        given("there is no report", vec![always("Report")], as_it_is, COPIED, REFUSED),
    ]
}

/// Violations of any scenario, and of what holds for all executions.
pub(in super::super) fn check(asl: &str) -> Vec<String> {
    let machine = instrumented(asl);
    let mut violations = Vec::new();
    let mut entered = BTreeSet::new();
    for scenario in [scans(), copies(), ends()].into_iter().flatten() {
        let trial = execute(&machine, &scenario.script);
        violations.extend(judge(&scenario, &trial));
        entered.extend(trial.entered);
    }
    let definition: Value = serde_json::from_str(asl).unwrap();
    let idle = raw::states(&definition).into_iter().filter(|state| !entered.contains(state.name));
    violations.extend(idle.map(|state| format!("{}: entered in no scenario", state.path)));
    violations.extend(failures_end_in_failure(&machine));
    violations.extend(named(&definition));
    violations
}

/// An execution's name is made of the run, its attempt and the manifest, and of nothing that a child of a distributed Map
/// thinks of itself: the documentation does not say whether `$$.Execution` there is the child or its parent.
fn named(definition: &Value) -> Vec<String> {
    let states = raw::states(definition);
    let children = states.iter().filter(|state| state.path.starts_with("CopyManifests/"));
    let mut wrong: Vec<String> = children
        .flat_map(|state| state.strings().into_iter().map(|text| (state.path.clone(), text)))
        .filter(|(_, text)| text.contains("$$.Execution"))
        .map(|(path, text)| format!("{path}: what {text} is in a child is not known"))
        .collect();
    let migrate = states.iter().find(|state| state.name == "Migrate");
    let name = migrate.and_then(|state| state.fields["Parameters"]["Name.$"].as_str()).unwrap_or_default();
    let missing = ["$.run.name", "$.run.attempt", "$.manifest"].into_iter().filter(|part| !name.contains(part));
    wrong.extend(missing.map(|part| format!("Migrate: its execution's name does not depend on {part}")));
    wrong
}

fn judge(scenario: &Scenario, trial: &Trial) -> Vec<String> {
    let mut wrong: Vec<String> = trial
        .unread
        .iter()
        .map(|(state, reason)| format!("{state}: cannot read its input, {reason} ({})", scenario.name))
        .collect();
    wrong.extend(first_difference(scenario, &trial.calls));
    let ended = trial.failed.as_ref().map(|(error, cause)| (error.as_str(), cause.as_str()));
    let last = trial.calls.last().map_or("Begin", String::as_str);
    if ended != scenario.fails {
        wrong.push(format!("{last}: after it the execution ends in {ended:?} ({})", scenario.name));
    }
    if trial.output.as_ref().is_some_and(|output| output["cause"] != "all is well") {
        wrong.push(format!("{last}: after it the output is not the report's ({})", scenario.name));
    }
    wrong
}

/// The call that was not made when it should have been.
fn first_difference(scenario: &Scenario, calls: &[String]) -> Option<String> {
    let wanted: Vec<&str> = scenario.calls.split(' ').collect();
    let same = wanted.iter().zip(calls).take_while(|(wanted, call)| *wanted == call).count();
    let blamed = wanted.get(same).copied().or(calls.get(same).map(String::as_str))?;
    Some(format!("{blamed}: out of its turn in {:?} ({})", calls.join(" "), scenario.name))
}

/// Whatever fails for good, and with whatever error, the execution fails; and only then.
fn failures_end_in_failure(machine: &Machine) -> Vec<String> {
    let everything = given("everything", vec![], with_deletions, DELETED, None).script;
    let clean = execute(machine, &everything);
    let mut violations: Vec<String> = clean
        .failed
        .iter()
        .map(|error| format!("Begin: nothing failed, yet the execution ends in {error:?}"))
        .collect();
    for task in clean.calls.into_iter().collect::<BTreeSet<_>>() {
        for name in ErrorName::ALL {
            let told = vec![(task.clone(), When::Always, Answer::Fails(name.as_str()))];
            if execute(machine, &Script { told, ..everything.clone() }).failed.is_none() {
                violations.push(format!("{task}: it fails as {name}, yet the execution succeeds"));
            }
        }
    }
    violations
}
