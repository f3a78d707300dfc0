//! What every state has, and in which order.

use longhaul_asl::{Machine, State};
use std::collections::BTreeSet;

/// The order of fields, over all types of states. What is not listed is not used.
const FIELDS: [&str; 23] = [
    "Comment",
    "Type",
    "Resource",
    "ItemReader",
    "ItemsPath",
    "MaxConcurrencyPath",
    "ToleratedFailurePercentagePath",
    "ItemSelector",
    "ItemProcessor",
    "ResultWriter",
    "Choices",
    "Parameters",
    "Result",
    "Error",
    "ErrorPath",
    "Cause",
    "CausePath",
    "TimeoutSeconds",
    "ResultPath",
    "Retry",
    "Catch",
    "Next",
    "End",
];

/// Violations of any state; what is never reached the interpreter has refused already.
pub(super) fn check(machine: &Machine) -> Vec<String> {
    let mut violations = Vec::new();
    for placed in machine.states() {
        let wrong = [comment(placed.state), field_order(placed.state), timeout(placed.state)];
        violations.extend(wrong.into_iter().flatten().map(|wrong| format!("{}: {wrong}", placed.path())));
    }
    violations.extend(reading_order(machine));
    violations
}

fn comment(state: &State) -> Option<String> {
    state.comment().is_none_or(|comment| comment.trim().is_empty()).then(|| "no Comment".to_owned())
}

fn field_order(state: &State) -> Option<String> {
    let places: Option<Vec<_>> =
        state.fields().iter().map(|field| FIELDS.iter().position(|known| known == field)).collect();
    match places {
        None => Some("a field that has no place in the order".to_owned()),
        Some(places) => (!places.is_sorted()).then(|| format!("fields out of order: {}", state.fields().join(", "))),
    }
}

fn timeout(state: &State) -> Option<String> {
    (state.kind() == "Task" && state.timeout_seconds().is_none()).then(|| "no TimeoutSeconds".to_owned())
}

/// Each scope begins with its start; every other state is led to by one above it.
fn reading_order(machine: &Machine) -> Vec<String> {
    let mut led_to: BTreeSet<&str> = BTreeSet::new();
    let mut violations = Vec::new();
    for placed in machine.states() {
        if !placed.is_start && !led_to.contains(placed.state.name()) {
            violations.push(format!("{}: no state above leads here", placed.path()));
        }
        // Names are unique in the whole machine, so scopes need not be told apart.
        led_to.extend(placed.state.edges().into_iter().map(|(_, next)| next));
    }
    violations
}
