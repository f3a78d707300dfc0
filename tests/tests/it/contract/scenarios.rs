//! What executions do: which states follow each other, what they are given, and how they end.

use super::raw;
use super::samples::{again, batch, error, failed, large, object, range_work};
use super::trial::{Answer, Script, Trial, When, instrumented, run};
use longhaul_asl::Machine;
use longhaul_core::contract::{Done, ItemState, RangeState, Rest};
use longhaul_core::error::ErrorName;
use std::collections::BTreeSet;

/// An execution with a known course.
struct Scenario {
    name: &'static str,
    script: Script,
    /// The Tasks that are called, in order.
    calls: &'static str,
    /// The error name that it fails with.
    fails: Option<&'static str>,
}

const OBJECTS_FAILED: Option<&str> = Some("ObjectsFailed");
const UNSETTLED: Option<&str> = Some("Unsettled");

/// Executions of one batch.
fn small() -> Vec<Scenario> {
    let given = |name, told: Vec<(&str, When, Answer)>, calls, fails| Scenario {
        name,
        script: script([ItemState::CopyObjects(batch(&["a", "b"]))], told),
        calls,
        fails,
    };
    let rest = Answer::Item(Box::new(ItemState::CopyObjects(batch(&["b"]))));
    vec![
        given("a batch is copied", vec![], "Plan CopyObjects Record", None),
        given(
            "a batch needs two invocations",
            vec![("CopyObjects", When::Call(0), rest)],
            "Plan CopyObjects CopyObjects Record",
            None,
        ),
        given(
            "a transient error is repeated",
            vec![("CopyObjects", When::Call(0), Answer::Fails("Transient"))],
            "Plan CopyObjects CopyObjects Record",
            None,
        ),
        given("a batch is refused", vec![fails("CopyObjects")], "Plan CopyObjects Settle Record", OBJECTS_FAILED),
        given(
            "a batch is refused and cannot be settled",
            vec![fails("CopyObjects"), fails("Settle")],
            "Plan CopyObjects Settle Record",
            OBJECTS_FAILED,
        ),
        given(
            "an iteration is lost",
            vec![("CopyObjects", When::Always, Answer::Unheard)],
            "Plan CopyObjects SettleRequest Record",
            OBJECTS_FAILED,
        ),
        given("there is no plan", vec![fails("Plan")], "Plan SettleRequest Record", OBJECTS_FAILED),
        given(
            "there is no plan, and settling fails",
            vec![fails("Plan"), fails("SettleRequest")],
            "Plan SettleRequest",
            UNSETTLED,
        ),
        given("nothing can be recorded", vec![fails("Record")], "Plan CopyObjects Record", UNSETTLED),
    ]
}

/// Executions of one large object.
fn large_ones() -> Vec<Scenario> {
    let given = |name, item: ItemState, told: Vec<(&str, When, Answer)>, calls, fails| Scenario {
        name,
        script: script([item], told),
        calls,
        fails,
    };
    let two_ranges = || ItemState::CopyParts(large(&[(1, 3), (4, 5)]).into());
    let held = || ItemState::Complete(large(&[]).into());
    let missing = || Answer::Item(Box::new(ItemState::CopyParts(large(&[(4, 5)]).into())));
    let rest_of_range = Answer::Range(Box::new(RangeState::CopyParts(range_work(2, 3).into())));
    let change = Answer::Item(Box::new(ItemState::PlanAgain(again().into())));
    let already_there = Answer::Item(Box::new(ItemState::Done(Done::default())));
    vec![
        given(
            "a range needs two invocations",
            two_ranges(),
            vec![("CopyParts", When::Call(0), rest_of_range)],
            "Plan CopyParts CopyParts CopyParts Complete Record",
            None,
        ),
        given(
            "a range fails, and its parts go round again",
            two_ranges(),
            vec![("CopyParts", When::Call(1), REJECTED), ("Complete", When::Call(0), missing())],
            "Plan CopyParts CopyParts Complete CopyParts Complete Record",
            None,
        ),
        given(
            "a range fails for good",
            two_ranges(),
            vec![("CopyParts", When::Call(0), REJECTED)],
            "Plan CopyParts CopyParts Complete Settle Record",
            OBJECTS_FAILED,
        ),
        given(
            "a range is lost",
            two_ranges(),
            vec![("CopyParts", When::Call(0), Answer::Unheard)],
            "Plan CopyParts Settle Record",
            OBJECTS_FAILED,
        ),
        given("all parts are held", held(), vec![], "Plan Complete Record", None),
        given("completion is refused", held(), vec![fails("Complete")], "Plan Complete Settle Record", OBJECTS_FAILED),
        given(
            "the source changed",
            held(),
            vec![("Complete", When::Call(0), change)],
            "Plan Complete PlanAgain CopyParts CopyParts Complete Record",
            None,
        ),
        given(
            "planned again, it is there already",
            ItemState::PlanAgain(again().into()),
            vec![("PlanAgain", When::Always, already_there)],
            "Plan PlanAgain Record",
            None,
        ),
        given(
            "planning again is refused",
            ItemState::PlanAgain(again().into()),
            vec![fails("PlanAgain")],
            "Plan PlanAgain Settle Record",
            OBJECTS_FAILED,
        ),
        given(
            "plan gives an object up",
            ItemState::Settle(failed(error("TooSlow")).into()),
            vec![],
            "Plan Settle Record",
            OBJECTS_FAILED,
        ),
    ]
}

/// Executions with nothing to do, or with more than one of them does.
fn others() -> Vec<Scenario> {
    let given = |name, told: Vec<(&str, When, Answer)>, calls, fails| Scenario {
        name,
        script: Script { rest: rest(), ..script([ItemState::CopyObjects(batch(&["a"]))], told) },
        calls,
        fails,
    };
    vec![
        Scenario { name: "nothing is to be copied", script: script([], vec![]), calls: "Plan Record", fails: None },
        given("a successor succeeds", vec![], "Plan CopyObjects Record Continue", None),
        given("a successor fails", vec![fails("Continue")], "Plan CopyObjects Record Continue", OBJECTS_FAILED),
        given(
            "a successor succeeds where this one failed",
            vec![fails("CopyObjects")],
            "Plan CopyObjects Settle Record Continue",
            OBJECTS_FAILED,
        ),
    ]
}

/// An execution that calls each Task that is called while nothing fails.
fn everything() -> Script {
    let items = [
        ItemState::CopyObjects(batch(&["a"])),
        ItemState::CopyParts(large(&[(1, 3), (4, 5)]).into()),
        ItemState::PlanAgain(again().into()),
    ];
    Script { rest: rest(), ..script(items, vec![]) }
}

const REJECTED: Answer = Answer::Fails("Rejected");

fn fails(state: &str) -> (&str, When, Answer) {
    (state, When::Always, REJECTED)
}

fn rest() -> Rest {
    Rest { objects: vec![object("z")], manifests: Vec::new() }
}

fn script<const N: usize>(work: [ItemState; N], told: Vec<(&str, When, Answer)>) -> Script {
    let told = told.into_iter().map(|(state, when, answer)| (state.to_owned(), when, answer)).collect();
    Script { work: work.into(), rest: Rest::default(), told }
}

/// Violations of any scenario, and of what holds for all executions.
pub(super) fn check(asl: &str) -> Vec<String> {
    let machine = instrumented(asl);
    let mut violations = Vec::new();
    let mut entered = BTreeSet::new();
    for scenario in [small(), large_ones(), others()].into_iter().flatten() {
        let trial = run(&machine, &scenario.script);
        violations.extend(judge(&scenario, &trial));
        entered.extend(trial.entered);
    }
    violations.extend(never_entered(asl, &entered));
    violations.extend(failures_end_in_failure(&machine));
    violations
}

fn judge(scenario: &Scenario, trial: &Trial) -> Vec<String> {
    let mut wrong: Vec<String> = trial
        .unread
        .iter()
        .map(|(state, reason)| format!("{state}: cannot read its input, {reason} ({})", scenario.name))
        .collect();
    wrong.extend(first_difference(scenario, &trial.calls));
    if trial.failed.as_deref() != scenario.fails {
        let last = trial.calls.last().map_or("Plan", String::as_str);
        wrong.push(format!("{last}: after it the execution ends in {:?} ({})", trial.failed, scenario.name));
    }
    wrong
}

/// The Task that was not called when it should have been.
fn first_difference(scenario: &Scenario, calls: &[String]) -> Option<String> {
    let wanted: Vec<&str> = scenario.calls.split(' ').collect();
    let same = wanted.iter().zip(calls).take_while(|(wanted, call)| *wanted == call).count();
    let blamed = wanted.get(same).copied().or(calls.get(same).map(String::as_str))?;
    Some(format!("{blamed}: out of its turn in {:?} ({})", calls.join(" "), scenario.name))
}

fn never_entered(asl: &str, entered: &BTreeSet<String>) -> Vec<String> {
    let machine = serde_json::from_str(asl).unwrap();
    let all = raw::states(&machine);
    all.iter()
        .filter(|state| !entered.contains(state.name))
        .map(|state| format!("{}: entered in no scenario", state.path))
        .collect()
}

/// Whatever Task fails for good, and with whatever error, the execution fails; and only then.
fn failures_end_in_failure(machine: &Machine) -> Vec<String> {
    let clean = run(machine, &everything());
    let mut violations: Vec<String> =
        clean.failed.iter().map(|error| format!("Plan: nothing failed, yet the execution ends in {error}")).collect();
    let tasks: BTreeSet<String> = clean.calls.into_iter().collect();
    for task in &tasks {
        for name in ErrorName::ALL {
            let told = vec![(task.clone(), When::Always, Answer::Fails(name.as_str()))];
            if run(machine, &Script { told, ..everything() }).failed.is_none() {
                violations.push(format!("{task}: it fails as {name}, yet the execution succeeds"));
            }
        }
    }
    violations
}
