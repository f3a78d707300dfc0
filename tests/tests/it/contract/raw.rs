//! The definition as JSON, where the interpreter's view says too little or would refuse it whole.

use serde_json::{Value, json};

/// A state as it is written.
pub(super) struct RawState<'a> {
    /// Its name after those of the Maps around it.
    pub(super) path: String,
    /// Its name.
    pub(super) name: &'a str,
    /// Its fields.
    pub(super) fields: &'a Value,
}

/// Every state, those inside a Map included.
pub(super) fn states(machine: &Value) -> Vec<RawState<'_>> {
    let mut all = Vec::new();
    collect(machine, "", &mut all);
    all
}

fn collect<'a>(scope: &'a Value, around: &str, all: &mut Vec<RawState<'a>>) {
    for (name, fields) in scope["States"].as_object().into_iter().flatten() {
        let path = format!("{around}{name}");
        if fields["Type"] == "Map" {
            collect(&fields["ItemProcessor"], &format!("{path}/"), all);
        }
        all.push(RawState { path, name, fields });
    }
}

impl RawState<'_> {
    /// Every string of the state's own, without those of the states inside a Map.
    pub(super) fn strings(&self) -> Vec<&str> {
        let mut all = Vec::new();
        strings(self.fields, &mut all);
        all
    }

    /// The substitution that is its `Resource`, without `${` and `}`.
    pub(super) fn substitution(&self) -> Option<&str> {
        substitution(self.fields["Resource"].as_str()?)
    }
}

fn strings<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => all.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, all)),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| *name != "States").for_each(|(_, value)| strings(value, all));
        }
        _ => {}
    }
}

/// The name in `${name}`, if the whole string is that.
pub(super) fn substitution(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}')
}

/// What the interpreter would not mind, or would lay at another state's door: a lost `Catch` leaves its target unreached.
pub(super) fn check(machine: &Value) -> Vec<String> {
    let all = states(machine);
    let of = |state: &RawState<'_>| {
        let wrong = literals(state).into_iter().chain(catch(state, &all));
        wrong.map(|wrong| format!("{}: {wrong}", state.path)).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

/// No partition is named, and nothing is computed in the definition: functions decide. But for the name under which the
/// child of a distributed Map starts an execution: no function stands before it.
fn literals(state: &RawState<'_>) -> Vec<String> {
    let strings = state.strings();
    let partitions = strings.iter().filter(|text| text.contains("arn:aws"));
    let name = state.fields["Parameters"]["Name.$"].as_str().filter(|_| state.name == "Migrate");
    let functions =
        strings.iter().filter(|text| text.starts_with("States.") && text.contains('(') && Some(**text) != name);
    let partitions = partitions.map(|text| format!("{text:?} names a partition"));
    partitions.chain(functions.map(|text| format!("{text:?} is an intrinsic function"))).collect()
}

/// A Task or Map catches everything, and what it caught does not end well by itself.
fn catch(state: &RawState<'_>, all: &[RawState<'_>]) -> Option<String> {
    if state.fields["Type"] != "Task" && state.fields["Type"] != "Map" {
        return None;
    }
    let catchers = state.fields["Catch"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(last) = catchers.last() else { return Some("no Catch".to_owned()) };
    if last["ErrorEquals"] != json!(["States.ALL"]) {
        return Some("the last Catch is not on States.ALL".to_owned());
    }
    let ends_well = |name: &str| all.iter().any(|state| state.name == name && state.fields["Type"] == "Succeed");
    let wrong = catchers.iter().filter_map(|catcher| catcher["Next"].as_str()).find(|next| ends_well(next));
    wrong.map(|next| format!("what it catches ends well, in {next}"))
}
