//! Documents with one fault each, and the state that the check must name.

use super::edit::{
    appended, in_state, replaced, swapped, with_field, with_state, without_entry, without_field, without_object,
};
use super::{Documents, check};
use longhaul_asl::{Condition, Machine, Operator, Rule, State};
use longhaul_core::error::ErrorName;

/// A fault, as a document that has it.
struct Fault {
    what: String,
    /// The state, or the name in the template, that is to blame.
    blamed: String,
    documents: Documents,
}

/// Every state of both machines.
fn all_states() -> Vec<State> {
    let real = Documents::real();
    let machines = real.definitions().map(|(_, definition)| Machine::parse(definition).unwrap());
    machines.iter().flat_map(Machine::states).map(|placed| placed.state.clone()).collect()
}

fn states_of(kinds: &[&str]) -> Vec<State> {
    all_states().into_iter().filter(|state| kinds.contains(&state.kind())).collect()
}

/// The real documents with one state edited. No name stands in both machines.
fn fault(what: impl Into<String>, state: &str, edit: impl FnOnce(&str) -> String) -> Fault {
    let mut documents = Documents::real();
    let head = format!("\"{state}\": {{\n");
    let definition = if documents.asl.contains(&head) { &mut documents.asl } else { &mut documents.backfill };
    *definition = in_state(definition, state, edit);
    Fault { what: what.into(), blamed: state.to_owned(), documents }
}

/// Fails for every fault that no violation blames on its state.
fn assert_found(faults: impl IntoIterator<Item = Fault>) {
    let mut count = 0;
    for Fault { what, blamed, documents } in faults {
        let violations = check(&documents);
        assert!(violations.iter().any(|violation| blames(violation, &blamed)), "{blamed}, {what}: {violations:#?}");
        count += 1;
    }
    assert!(count > 0);
}

fn blames(violation: &str, name: &str) -> bool {
    let (place, _) = violation.split_once(": ").unwrap();
    place == name || place.rsplit('/').next() == Some(name)
}

#[test]
fn every_task_and_map_needs_its_catch() {
    let lost = |state: &State| fault("no Catch", state.name(), |block| without_field(block, "Catch"));
    assert_found(states_of(&["Task", "Map"]).iter().map(lost));
    let narrow = |state: &State| {
        let catch = r#""Catch": [{"ErrorEquals": ["Rejected"], "Next": "Settle"}]"#;
        fault("a Catch on one error", state.name(), |block| with_field(block, "Catch", catch))
    };
    let inside = |state: &State| ["CopyObjects", "CopyRanges", "Complete", "PlanAgain"].contains(&state.name());
    assert_found(states_of(&["Task", "Map"]).iter().filter(|state| inside(state)).map(narrow));
}

#[test]
fn every_task_needs_its_timeout_and_its_retry() {
    for field in ["TimeoutSeconds", "Retry"] {
        let lost = |state: &State| fault(format!("no {field}"), state.name(), |block| without_field(block, field));
        assert_found(states_of(&["Task"]).iter().map(lost));
    }
}

#[test]
fn every_state_needs_its_comment() {
    let all = all_states();
    let names = all.iter().map(State::name);
    assert_found(names.map(|name| fault("no Comment", name, |block| without_field(block, "Comment"))));
}

#[test]
fn every_edge_leads_to_a_state() {
    for state in all_states() {
        for (place, next) in state.edges() {
            let (right, wrong) = (format!("\"Next\": \"{next}\""), format!("\"Next\": \"{next}s\""));
            let what = format!("{place} misspelt");
            assert_found([fault(what, state.name(), |block| replaced(block, &right, &wrong))]);
        }
    }
}

#[test]
fn every_retrier_has_full_jitter() {
    for state in states_of(&["Task"]) {
        assert_found((0..state.retry().len()).map(|number| {
            let jitter = "\"JitterStrategy\": \"FULL\"";
            fault(format!("no jitter in retrier {number}"), state.name(), |block| without_entry(block, jitter, number))
        }));
    }
}

#[test]
fn every_retryable_error_is_retried() {
    for state in states_of(&["Task"]) {
        let names = state.retry().iter().flat_map(|retrier| &retrier.error_equals);
        assert_found(names.map(|name| {
            let entry = format!("\"{name}\"");
            fault(format!("{name} is lost"), state.name(), |block| without_entry(block, &entry, 0))
        }));
    }
}

#[test]
fn nothing_else_is_retried() {
    let ours = ErrorName::ALL.into_iter().filter(|name| !name.is_retryable()).map(ErrorName::as_str);
    let wrong: Vec<&str> = ours.chain(["Tansient", "Lambda.*", "States.TaskFailed"]).collect();
    for state in states_of(&["Task"]) {
        let first = format!("\"{}\"", state.retry()[0].error_equals[0]);
        assert_found(wrong.iter().map(|name| {
            let both = format!("{first}, \"{name}\"");
            fault(format!("{name} is retried"), state.name(), |block| replaced(block, &first, &both))
        }));
        // Alone in the last retrier it is good ASL, so that only the table refuses it.
        let all = r#"{"ErrorEquals": ["States.ALL"], "JitterStrategy": "FULL"}"#;
        assert_found([fault("States.ALL is retried", state.name(), |block| appended(block, "Retry", all))]);
    }
}

#[test]
fn a_map_is_not_retried() {
    let both = r#""Retry": [{"ErrorEquals": ["Transient"], "JitterStrategy": "FULL"}], "ResultPath": "$.results""#;
    let retried =
        |state: &State| fault("a Map is retried", state.name(), |block| with_field(block, "ResultPath", both));
    assert_found(states_of(&["Map"]).iter().map(retried));
}

#[test]
fn retries_have_the_numbers_of_the_table() {
    let edits = [
        ("\"IntervalSeconds\": 2", "\"IntervalSeconds\": 1"),
        ("\"BackoffRate\": 2.0", "\"BackoffRate\": 1.5"),
        ("\"MaxDelaySeconds\": 300", "\"MaxDelaySeconds\": 30"),
        ("\"MaxAttempts\": 60", "\"MaxAttempts\": 6"),
    ];
    assert_found(edits.map(|(from, to)| fault(to, "CopyParts", |block| replaced(block, from, to))));
}

#[test]
fn every_tag_has_its_rule() {
    for state in states_of(&["Choice"]) {
        for rule in state.rules() {
            let tag = format!("\"StringEquals\": \"{}\"", tag(rule));
            let next = format!("\"Next\": \"{}\"", rule.next);
            assert_found([
                fault(format!("no rule of {tag}"), state.name(), |block| without_object(block, &tag)),
                fault(format!("wrong tag for {tag}"), state.name(), |block| {
                    replaced(block, &tag, "\"StringEquals\": \"copyPart\"")
                }),
                fault(format!("wrong target for {tag}"), state.name(), |block| {
                    let at = block.find(&tag).unwrap();
                    [&block[..at], &replaced(&block[at..], &next, "\"Next\": \"RouteItem\"")].concat()
                }),
            ]);
        }
    }
}

fn tag(rule: &Rule) -> &str {
    match &rule.condition {
        Condition::Test { operator: Operator::StringEquals(tag), .. } => tag,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_rule_is_without_its_tag() {
    for state in states_of(&["Choice"]) {
        let next = &state.rules()[0].next;
        let rule = format!(r#"{{"Variable": "$.next", "StringEquals": "more", "Next": "{next}"}}"#);
        let default = format!(r#""Default": "{next}", "Choices":"#);
        assert_found([
            fault("an extra rule", state.name(), |block| appended(block, "Choices", &rule)),
            fault("another variable", state.name(), |block| {
                replaced(block, "\"Variable\": \"$.", "\"Variable\": \"$.x")
            }),
            fault("a Default", state.name(), |block| replaced(block, "\"Choices\":", &default)),
        ]);
    }
}

#[test]
fn a_failed_item_never_ends_well() {
    let next = |from: &'static str, to: &'static str| move |block: &str| replaced(block, from, to);
    assert_found([
        fault("failed is success", "RouteEnd", next("SomeFailed", "Migrated")),
        fault("failed is success", "RouteContinued", next("SomeFailed", "Migrated")),
        fault("a failed successor is success", "Continue", next("SomeFailed", "Migrated")),
        fault("what is not recorded is success", "Record", next("Broken", "Migrated")),
        fault("a failed batch is done", "CopyObjects", next("\"Settle\"", "\"ItemDone\"")),
        fault("settling failed, unseen", "Settle", next("Unsettled", "ItemDone")),
        fault("nothing to settle", "SettleRequest", next("Broken", "Migrated")),
    ]);
}

/// What stands right and runs wrong: found by the scenarios alone.
#[test]
fn what_runs_wrong_is_found() {
    let with = |from: &'static str, to: &'static str| move |block: &str| replaced(block, from, to);
    assert_found(
        [
            fault("unsettled is not counted", "Unsettled", with("\"unsettled\": 1", "\"skipped\": 1")).blame("Record"),
            fault("the error is lost", "Settle", with(",\n              \"error.$\": \"$.error\"", "")),
            fault("the error is lost", "RangeFailed", with(",\n                    \"error.$\": \"$.error\"", ""))
                .blame("Settle"),
            fault("the item is lost", "CopyObjects", with("\"ResultPath\": \"$.error\",", "")).blame("Settle"),
            fault("the object is lost", "CopyRanges", |block| without_field(block, "ResultPath")).blame("Complete"),
            fault("the range is lost", "CopyRanges", with("$$.Map.Item.Value", "$$.Map.Item.Index")).blame("CopyParts"),
            fault("the plan is lost", "Work", |block| without_field(block, "ResultPath")).blame("Record"),
            fault("the request is lost", "SettleRequest", with("\"request.$\": \"$$.Execution.Input\",", "")),
            fault("the rest is lost", "Record", with("\"rest.$\": \"$.rest\",", "")).blame("Continue"),
            fault("the wrong machine", "Continue", with("$$.StateMachine.Id", "$$.Execution.Id")),
            fault("the verdict is lost", "Continue", |block| without_field(block, "ResultPath")),
            fault("another tag", "Plan", with("\"next\": \"plan\"", "\"next\": \"plans\"")),
        ]
        .map(Fault::laid_out),
    );
}

/// An error that a detour turns into the end of the item: every scenario goes well, and still an object is lost.
#[test]
fn a_failure_that_is_forgiven_is_found() {
    let catch = r#""Catch": [
        {"ErrorEquals": ["SourceGone"], "Next": "Forgiven"},
        {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Settle"}]"#;
    let state = r#""Forgiven": {"Comment": "As if it were done.", "Type": "Pass", "Result": {"next": "done"}, "Next": "ItemDone"}"#;
    let mut forgiven = fault("forgiven", "Complete", |block| with_field(block, "Catch", catch));
    forgiven.documents.asl = with_state(&forgiven.documents.asl, "ItemDone", state);
    assert_found([forgiven.laid_out()]);
}

impl Fault {
    /// Where the consequence shows, if not in the edited state.
    fn blame(mut self, state: &str) -> Self {
        state.clone_into(&mut self.blamed);
        self
    }

    /// Without empty lines and the like that an edit left, so that nothing but the fault is found.
    fn laid_out(mut self) -> Self {
        for definition in [&mut self.documents.asl, &mut self.documents.backfill] {
            *definition = format!("{}\n", super::format::pretty(definition));
        }
        let found: Vec<String> = super::as_it_stands(&self.documents);
        assert_eq!(found, Vec::<String>::new(), "{}", self.what);
        self
    }
}

#[test]
fn literals_of_a_partition_are_found() {
    let texts = ["arn:aws:states:::lambda:invoke", "arn:aws-cn:lambda:cn-north-1:1:function:f"];
    assert_found(
        texts.map(|arn| fault(arn, "Plan", |block| with_field(block, "Resource", &format!("\"Resource\": \"{arn}\"")))),
    );
    assert_found(["Plan", "CopyRanges", "RangeDone", "Broken", "CopyManifests", "Migrate", "Refused"].map(|state| {
        fault("in its Comment", state, |block| with_field(block, "Comment", "\"Comment\": \"arn:aws:s3:::b\""))
    }));
    let inside = "\"next\": \"settle\", \"topic\": \"arn:aws:sns:x\"";
    assert_found([fault("in Parameters", "Settle", |block| replaced(block, "\"next\": \"settle\"", inside))]);
}

#[test]
fn nothing_is_computed_by_the_machine() {
    assert_found([fault("an intrinsic function", "Continue", |block| {
        replaced(block, "\"$.name\"", "\"States.Format('next-{}', $.name)\"")
    })]);
}

#[test]
fn substitutions_are_known_and_whole() {
    assert_found(states_of(&["Task"]).iter().flat_map(|state| {
        let wrong = ["${CompletFunctionArn}", "${CompleteFunctionArn}:live", "${StartExecutionSync}x"];
        wrong.map(|to| {
            fault(to, state.name(), |block| with_field(block, "Resource", &format!("\"Resource\": \"{to}\"")))
        })
    }));
    let other = "\"Resource\": \"${SettleFunctionArn}\"";
    assert_found([fault("another function", "Plan", |block| with_field(block, "Resource", other))]);
}

#[test]
fn a_task_waits_for_its_function() {
    assert_found(states_of(&["Task"]).iter().filter(|state| !["Continue", "Migrate"].contains(&state.name())).map(
        |state| {
            let seconds = format!("\"TimeoutSeconds\": {}", state.timeout_seconds().unwrap() - 1);
            fault(seconds.clone(), state.name(), |block| with_field(block, "TimeoutSeconds", &seconds))
        },
    ));
}

#[test]
fn order_is_kept() {
    let real = Documents::real();
    let with = |asl: String| Documents { asl, ..real.clone() };
    let orphan = "    \"Orphan\": {\n      \"Comment\": \"Nobody comes here.\",\n      \"Type\": \"Succeed\"\n    }";
    let known =
        |what: &str, blamed: &str, asl| Fault { what: what.into(), blamed: blamed.into(), documents: with(asl) };
    assert_found([
        known("never reached", "Orphan", with_state(&real.asl, "Migrated", orphan)),
        known("above what leads to it", "Unsettled", swapped(&real.asl, "Settle", "Unsettled")),
        known("above what leads to it", "Record", swapped(&real.asl, "Work", "Record")),
        known("indented by tabs", "migrate.asl.json", real.asl.replace("  ", "\t")),
        known("on one line", "migrate.asl.json", real.asl.replace("[\n            ", "[")),
        known("cut off", "migrate.asl.json", real.asl[..real.asl.len() / 2].to_owned()),
    ]);
    assert_found(["Plan", "Work", "RouteItem", "RangeFailed", "Broken", "CopyManifests", "Failed"].map(|state| {
        fault("fields out of order", state, |block| {
            let fields: Vec<&str> = block.lines().skip(1).take(2).collect();
            replaced(block, &fields.join("\n"), &[fields[1], fields[0]].join("\n"))
        })
    }));
}

#[test]
fn the_template_agrees() {
    let known = |blamed: &str, resource: &str, from: &str, to: &str| {
        let real = Documents::real();
        let place = real.template.find(&format!("\n  {resource}:\n")).unwrap();
        let template = [&real.template[..place], &replaced(&real.template[place..], from, to)].concat();
        Fault { what: to.into(), blamed: blamed.into(), documents: Documents { template, ..real } }
    };
    let plan = "PlanFunctionArn: !GetAtt Plan.Arn";
    let integration = "arn:${AWS::Partition}:states:::states";
    assert_found([
        known("CopyParts", "CopyParts", "Timeout: !Ref CopyTimeout", "Timeout: 901"),
        known("PlanAgain", "Plan", "Timeout: 300", "Timeout: 301"),
        known("Plan", "Plan", "Timeout: 300", "Time: 300"),
        known("functions/plan", "Plan", "Binary: plan", "Binary: planner"),
        known("Plan", "Plan", "Binary: plan", "Binary: planner"),
        known("CopyParts", "CopyParts", "Binary: copy-parts", "Binary: copy-objects"),
        known("functions/intake", "Intake", "AWS::Serverless::Function", "AWS::Lambda::Function"),
        known("Plan", "Migrate", "PlanFunctionArn:", "PlannerFunctionArn:"),
        known("PlannerFunctionArn", "Migrate", "PlanFunctionArn:", "PlannerFunctionArn:"),
        known("PlanFunctionArn", "Migrate", plan, "PlanFunctionArn: !GetAtt Settle.Arn"),
        known("PlanFunctionArn", "Migrate", plan, "PlanFunctionArn: !Ref Plan"),
        known("Unused", "Migrate", plan, &format!("{plan}\n        Unused: !Sub {integration}:x")),
        known("StartExecutionSync", "Migrate", integration, "arn:aws:states:::states"),
        known("Migrate", "Backfill", "ListObjects:", "ListObject:").blame("CopyManifests"),
        known("WorkBucket", "Backfill", "!Ref WorkBucket", "!Ref Source"),
        known("QueueUrl", "Backfill", "QueueUrl: !Ref Queue", "QueueUrl: !GetAtt Queue.Arn"),
        known("FailedQueueUrl", "Backfill", "!Ref FailedQueue", "!Ref Queue"),
        known("MigrateStateMachineArn", "Backfill", "!Ref Migrate", "!Ref Backfill"),
        known("MigrateStateMachineArn", "Backfill", "!Ref Migrate", "!GetAtt Migrate.Arn"),
        known("ScanFunctionArn", "Backfill", "statemachine/backfill.asl.json", "statemachine/backfills.asl.json")
            .blame("Begin"),
        known("Report", "Report", "Timeout: 900", "Timeout: 901"),
        known("template.yaml", "Migrate", integration, "arn:aws:states:::states"),
        known("LONGHAUL_CONFIG", "Plan", "LONGHAUL_CONFIG_PARAMETER", "LONGHAUL_CONFIG"),
        known("template.yaml", "Plan", "Timeout: 300", "Timeout: [300"),
    ]);
}

#[test]
fn folders_and_the_environment_agree() {
    let real = Documents::real();
    let mut renamed = real.clone();
    renamed.functions[0].1 = "finish".into();
    let mut more = real.clone();
    more.functions.push(("abort".into(), "abort".into()));
    let mut fewer = real.clone();
    fewer.functions.retain(|(folder, _)| folder != "settle");
    let mut reads = real.clone();
    reads.environment.push_str("needed(\"LONGHAUL_TOPIC\")");
    let known = |blamed: &str, documents| Fault { what: "folders".into(), blamed: blamed.into(), documents };
    assert_found([
        known("functions/complete", renamed),
        known("functions/abort", more),
        known("Settle", fewer),
        known("LONGHAUL_TOPIC", reads),
    ]);
}
