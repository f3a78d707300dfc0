//! The error table of SEMANTICS.md against each `Retry`.

use longhaul_asl::{Jitter, Machine, Retrier, State};
use longhaul_core::error::ErrorName;
use std::collections::BTreeSet;

/// A row of the table: errors that are retried alike.
struct Row {
    names: &'static [&'static str],
    interval_seconds: u64,
    max_delay_seconds: u64,
    max_attempts: u64,
}

/// For tasks that are functions.
const FUNCTION: [Row; 3] = [
    Row {
        names: &[
            "Transient",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.Unknown",
            "Runtime.ExitError",
            "Runtime.OutOfMemory",
            "Sandbox.Timedout",
            "States.Timeout",
        ],
        interval_seconds: 2,
        max_delay_seconds: 60,
        max_attempts: 6,
    },
    Row { names: &["Throttled"], interval_seconds: 5, max_delay_seconds: 300, max_attempts: 10 },
    Row { names: &["Lambda.TooManyRequestsException"], interval_seconds: 30, max_delay_seconds: 600, max_attempts: 60 },
];

/// For the task that is a nested execution. `States.TaskFailed`, its failure, is not retried: its own `Retry`s are spent.
const EXECUTION: [Row; 1] = [Row {
    names: &[
        "StepFunctions.SfnException",
        "StepFunctions.SdkClientException",
        "StepFunctions.ExecutionLimitExceededException",
    ],
    interval_seconds: 30,
    max_delay_seconds: 600,
    max_attempts: 10,
}];

const BACKOFF_RATE: f64 = 2.0;

fn rows(state: &State) -> &'static [Row] {
    match state.kind() {
        "Task" if state.resource().is_some_and(|resource| resource.ends_with("FunctionArn}")) => &FUNCTION,
        "Task" => &EXECUTION,
        // A Map that is tried again runs every iteration again, those that ended too.
        _ => &[],
    }
}

/// Every `Retry` has the rows of the table, with their names and numbers and FULL jitter.
pub(super) fn check(machine: &Machine) -> Vec<String> {
    let mut violations = Vec::new();
    for placed in machine.states() {
        let (state, rows) = (placed.state, rows(placed.state));
        let wrong = names(state, rows).into_iter().chain(state.retry().iter().flat_map(|retrier| row(retrier, rows)));
        violations.extend(wrong.map(|wrong| format!("{}: {wrong}", placed.path())));
    }
    violations
}

/// The names of a state's retriers are those of the table, each once, and none that repeating cannot help.
fn names(state: &State, rows: &[Row]) -> Vec<String> {
    let stand: Vec<&str> = state.retry().iter().flat_map(|retrier| &retrier.error_equals).map(String::as_str).collect();
    let wanted: Vec<&str> = rows.iter().flat_map(|row| row.names).copied().collect();
    let missing = wanted.iter().filter(|name| !stand.contains(name)).map(|name| format!("{name} is not retried"));
    let extra = stand.iter().filter(|name| !wanted.contains(name)).map(|name| format!("{name} must not be retried"));
    let mut seen = BTreeSet::new();
    let twice = stand.iter().filter(|name| !seen.insert(**name)).map(|name| format!("{name} is retried twice"));
    missing.chain(extra).chain(twice).collect()
}

/// A retrier is one row of the table.
fn row(retrier: &Retrier, rows: &[Row]) -> Vec<String> {
    let names = &retrier.error_equals;
    let mut wrong = Vec::new();
    if retrier.jitter != Jitter::Full {
        wrong.push(format!("no FULL jitter for {}", names.join(", ")));
    }
    match rows.iter().find(|row| row.names.iter().any(|name| names.iter().any(|other| other == name))) {
        None => wrong.push(format!("no row of the table for {}", names.join(", "))),
        Some(row) if numbers(row) != numbers_of(retrier) => {
            wrong.push(format!("other numbers for {}", names.join(", ")))
        }
        Some(row) if row.names != names.as_slice() => wrong.push(format!("rows are mixed: {}", names.join(", "))),
        Some(_) => {}
    }
    wrong
}

type Numbers = (u64, f64, Option<u64>, u64);

fn numbers(row: &Row) -> Numbers {
    (row.interval_seconds, BACKOFF_RATE, Some(row.max_delay_seconds), row.max_attempts)
}

fn numbers_of(retrier: &Retrier) -> Numbers {
    (retrier.interval_seconds, retrier.backoff_rate, retrier.max_delay_seconds, retrier.max_attempts)
}

#[test]
fn the_table_retries_just_the_names_that_say_so() {
    for name in ErrorName::ALL {
        let rows = FUNCTION.iter().filter(|row| row.names.contains(&name.as_str())).count();
        assert_eq!(rows, usize::from(name.is_retryable()), "{name}");
    }
    assert!(FUNCTION.iter().chain(&EXECUTION).all(|row| !row.names.contains(&"States.ALL")));
}
