//! The policies of the functions' roles are what the table beside the calls says, and the table has every call.

use super::Documents;
use longhaul_aws::permissions::{CALLS, FUNCTIONS, LAMBDA, Resource};
use serde_yaml_ng::Value as Yaml;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a role may do, to what; with the condition under which the template says so.
type Allowed = BTreeSet<(Resource, String, Option<&'static str>)>;

/// The text of a resource in the template, for a function of this logical id.
fn texts(resource: Resource, id: &str) -> String {
    let states = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}";
    let secret = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret";
    let s3 = "arn:${AWS::Partition}:s3::";
    match resource {
        Resource::Log => format!("{id}Log.Arn"),
        Resource::Queue => "Queue.Arn".into(),
        Resource::DeadLetterQueue => "DeadLetterQueue.Arn".into(),
        Resource::FailedQueue => "FailedQueue.Arn".into(),
        Resource::Migrate => format!("{states}:stateMachine:${{AWS::StackName}}-migrate"),
        Resource::MigrateExecutions => format!("{states}:execution:${{AWS::StackName}}-migrate:*"),
        Resource::BackfillExecutions => format!("{states}:execution:${{AWS::StackName}}-backfill:*"),
        Resource::Routes => {
            "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/longhaul/${AWS::StackName}/routes"
                .into()
        }
        Resource::SourceSecret => format!("{secret}:${{SourceSecret}}-??????"),
        Resource::DestinationSecret => format!("{secret}:${{DestinationSecret}}-??????"),
        Resource::SourceRole => "SourceRoleArn".into(),
        Resource::DestinationRole => "DestinationRoleArn".into(),
        Resource::Ledger => "Ledger.Arn".into(),
        Resource::WorkBucket => "WorkBucket.Arn".into(),
        Resource::WorkObjects => "${WorkBucket.Arn}/*".into(),
        Resource::SourceBucket => format!("{s3}:${{SourceBucket}}"),
        Resource::SourceObjects => format!("{s3}:${{SourceBucket}}/*"),
        Resource::DestinationBucket => format!("{s3}:${{DestinationBucket}}"),
        Resource::DestinationObjects | Resource::RemovableObjects => format!("{s3}:${{DestinationBucket}}/*"),
        Resource::SourceKey => "SourceKmsKeyArn".into(),
        Resource::DestinationKey => "DestinationKmsKeyArn".into(),
        Resource::Topic => "Notifications".into(),
    }
}

/// The condition of the template under which there is such a resource.
fn condition(resource: Resource) -> Option<&'static str> {
    match resource {
        Resource::SourceSecret => Some("SourceBySecret"),
        Resource::SourceRole => Some("SourceByAssumedRole"),
        Resource::SourceBucket | Resource::SourceObjects => Some("SourceByRole"),
        Resource::DestinationSecret => Some("DestinationBySecret"),
        Resource::DestinationRole => Some("DestinationByAssumedRole"),
        Resource::DestinationBucket | Resource::DestinationObjects => Some("DestinationByRole"),
        Resource::RemovableObjects => Some("DeleteByRole"),
        Resource::SourceKey => Some("SourceUnderKey"),
        Resource::DestinationKey => Some("DestinationUnderKey"),
        _ => None,
    }
}

/// `copy-objects` is `CopyObjects`.
fn logical_id(folder: &str) -> String {
    folder.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// What the template allows a function, as text: resource, action, condition.
fn written(template: &Yaml, id: &str) -> BTreeSet<(String, String, Option<String>)> {
    let role = &template["Resources"][format!("{id}Role").as_str()]["Properties"];
    let policies = role["Policies"].as_sequence().into_iter().flatten();
    let statements = policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_sequence().unwrap());
    let mut allowed = BTreeSet::new();
    for statement in statements {
        let (condition, statement) = match statement {
            Yaml::Tagged(tagged) if tagged.tag == "If" => (tagged.value[0].as_str(), &tagged.value[1]),
            plain => (None, plain),
        };
        assert_eq!(statement["Effect"], "Allow", "{id}");
        let resource = match &statement["Resource"] {
            Yaml::Tagged(tagged) => tagged.value.as_str().unwrap(),
            plain => plain.as_str().unwrap(),
        };
        for action in one_or_more(&statement["Action"]) {
            let fresh = allowed.insert((resource.to_owned(), action.to_owned(), condition.map(str::to_owned)));
            assert!(fresh, "{id}: {action} on {resource} is allowed twice");
        }
    }
    allowed
}

fn one_or_more(value: &Yaml) -> Vec<&str> {
    match value.as_sequence() {
        Some(all) => all.iter().map(|one| one.as_str().unwrap()).collect(),
        None => vec![value.as_str().unwrap()],
    }
}

/// What the table says that a function may do.
fn tabled(function: &str) -> Allowed {
    let (_, grants) = FUNCTIONS.iter().find(|(name, _)| *name == function).unwrap();
    let each = |grant: &longhaul_aws::permissions::Grant| {
        let on = grant.on;
        grant.actions.iter().map(move |action| (on, (*action).to_owned(), condition(on))).collect::<Vec<_>>()
    };
    grants.iter().flat_map(each).collect()
}

/// Where table and template differ.
fn differences(template: &Yaml) -> Vec<String> {
    let mut found = Vec::new();
    for (function, _) in FUNCTIONS {
        let id = logical_id(function);
        let right =
            tabled(function).into_iter().map(|(on, action, when)| (texts(on, &id), action, when.map(str::to_owned)));
        let (right, written) = (right.collect::<BTreeSet<_>>(), written(template, &id));
        found.extend(right.difference(&written).map(|lacks| format!("{id}: lacks {lacks:?}")));
        found.extend(written.difference(&right).map(|idle| format!("{id}: {idle:?} is of no use")));
    }
    found
}

fn template(text: &str) -> Yaml {
    serde_yaml_ng::from_str(text).unwrap()
}

#[test]
fn policies_hold_exactly_what_the_functions_call() {
    let documents = Documents::real();
    assert_eq!(differences(&template(&documents.template)), Vec::<String>::new());
    let folders: Vec<&str> = documents.functions.iter().map(|(folder, _)| folder.as_str()).collect();
    let tabled: BTreeSet<&str> = FUNCTIONS.iter().map(|(function, _)| *function).collect();
    assert_eq!(tabled.into_iter().collect::<Vec<_>>(), folders);
}

#[test]
fn an_action_too_many_or_too_few_is_found() {
    let text = Documents::real().template;
    for (function, grants) in FUNCTIONS {
        let id = logical_id(function);
        let role = text.find(&format!("  {id}Role:\n")).unwrap();
        let policies = role + text[role..].find("      Policies:\n").unwrap();
        let (before, after) = text.split_at(policies);
        for action in grants.iter().flat_map(|grant| grant.actions) {
            for wrong in ["s3:Else".to_owned(), format!("[{action}, s3:Else]")] {
                let line = after.lines().find(|line| line.ends_with(&format!(" {action}"))).unwrap();
                // A list within a list is no document: there the action too many is one more line.
                let planted = match line.trim_start().strip_prefix("- ") {
                    Some(_) if wrong.starts_with('[') => format!("{line}\n{}", line.replace(*action, "s3:Else")),
                    _ => line.replace(*action, &wrong),
                };
                let faulty = format!("{before}{}", after.replacen(&format!("{line}\n"), &format!("{planted}\n"), 1));
                let found = differences(&template(&faulty));
                assert!(found.iter().any(|line| line.starts_with(&format!("{id}: "))), "{function}: {action}: {wrong}");
            }
        }
    }
}

/// A grant is for calls that need it, and all of it.
#[test]
fn actions_belong_to_calls() {
    let calls: BTreeMap<&str, &[&str]> = CALLS.into_iter().collect();
    for (function, grants) in FUNCTIONS {
        for grant in grants.iter().filter(|grant| grant.calls != [LAMBDA]) {
            let needs = |call: &&str| calls.get(call).copied().unwrap_or_default();
            for action in grant.actions {
                assert!(grant.calls.iter().any(|call| needs(call).contains(action)), "{function}: {action}");
            }
            for call in grant.calls {
                assert!(needs(call).iter().any(|action| grant.actions.contains(action)), "{function}: {call}");
            }
        }
    }
}

/// The table's calls are those that the crate makes: a client's method, some of its fields, `send`.
#[test]
fn every_call_of_the_crate_is_in_the_table() {
    let mut source = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/aws/src"), &mut source);
    let listed: BTreeSet<&str> = CALLS.iter().map(|(call, _)| *call).collect();
    let made: BTreeSet<&str> =
        source.split('.').filter_map(|word| word.split_once("()")).map(|(word, _)| word).collect();
    for call in listed.iter().filter(|call| **call != "assume_role") {
        assert!(made.contains(call), "nothing calls {call}");
    }
    assert!(source.contains("AssumeRoleProvider"));
    const VERBS: [&str; 18] = [
        "abort_",
        "batch_",
        "complete_multipart",
        "copy_object",
        "create_multipart",
        "delete_object",
        "describe_",
        "get_bucket",
        "get_item",
        "get_object",
        "get_parameter",
        "get_secret",
        "head_",
        "list_",
        "put_",
        "send_message",
        "start_exec",
        "upload_part",
    ];
    let calls = made.iter().filter(|word| VERBS.iter().any(|verb| word.starts_with(verb)) && !ANSWERS.contains(word));
    assert_eq!(calls.filter(|call| !listed.contains(*call)).collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// Methods that begin like calls and are none.
const ANSWERS: [&str; 1] = ["abort_incomplete_multipart_upload"];

fn collect(folder: &Path, source: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, source);
        } else {
            source.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
