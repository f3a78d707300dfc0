//! The roles of the state machines and of the schedule allow what the definitions do, and no more. The local AWS does
//! not enforce these roles: this table stands for it.

use super::Documents;
use serde_yaml_ng::Value as Yaml;
use std::collections::BTreeSet;

/// What a definition that holds this text asks of its role.
const NEEDS: [(&str, &[&str]); 5] = [
    ("FunctionArn}", &["lambda:InvokeFunction"]),
    (
        "${StartExecutionSync}",
        &[
            "states:StartExecution",
            "states:DescribeExecution",
            "states:StopExecution",
            "events:PutRule",
            "events:PutTargets",
            "events:DescribeRule",
        ],
    ),
    ("${ListObjects}", &["s3:ListBucket"]),
    // Where a large result is written, in parts.
    ("${PutObject}", &["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]),
    (
        "\"DISTRIBUTED\"",
        &["states:StartExecution", "states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
    ),
];

/// What logging asks of any machine's role.
const LOGGING: [&str; 8] = [
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
];

/// The statements of a role's own policies.
fn statements<'t>(template: &'t Yaml, role: &str) -> Vec<&'t Yaml> {
    let policies = template["Resources"][role]["Properties"]["Policies"].as_sequence().unwrap().iter();
    policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_sequence().unwrap()).collect()
}

fn one_or_more(value: &Yaml) -> Vec<&Yaml> {
    value.as_sequence().map_or_else(|| vec![value], |all| all.iter().collect())
}

fn actions<'t>(template: &'t Yaml, role: &str) -> BTreeSet<&'t str> {
    let statements = statements(template, role).into_iter();
    statements.flat_map(|statement| one_or_more(&statement["Action"])).map(|action| action.as_str().unwrap()).collect()
}

fn text(value: &Yaml) -> &str {
    match value {
        Yaml::Tagged(tagged) => tagged.value.as_str().unwrap(),
        plain => plain.as_str().unwrap(),
    }
}

/// Where the roles of the machines and what these do differ.
fn differences(documents: &Documents) -> Vec<String> {
    let template: Yaml = serde_yaml_ng::from_str(&documents.template).unwrap();
    let mut found = Vec::new();
    for ((_, definition), machine) in documents.definitions().into_iter().zip(["Migrate", "Backfill"]) {
        let role = format!("{machine}Role");
        let needed = NEEDS.iter().filter(|(part, _)| definition.contains(part)).flat_map(|(_, actions)| *actions);
        let needed: BTreeSet<&str> = needed.chain(&LOGGING).copied().collect();
        let allowed = actions(&template, &role);
        if needed != allowed {
            found.push(format!("{role}: {:?}", needed.symmetric_difference(&allowed)));
        }
        let called = definition.split("${").filter_map(|rest| rest.split_once("FunctionArn}"));
        let called: BTreeSet<String> =
            called.filter(|(id, _)| !id.contains('}')).map(|(id, _)| format!("{id}.Arn")).collect();
        let invoke = |statement: &&Yaml| {
            one_or_more(&statement["Action"]).iter().any(|action| text(action) == "lambda:InvokeFunction")
        };
        let invoked = statements(&template, &role).into_iter().filter(invoke);
        let invoked: BTreeSet<String> =
            invoked.flat_map(|statement| one_or_more(&statement["Resource"])).map(|one| text(one).to_owned()).collect();
        if called != invoked {
            found.push(format!("{role}: invokes {:?}", called.symmetric_difference(&invoked)));
        }
    }
    let schedule = actions(&template, "BackfillScheduleRole");
    if schedule != BTreeSet::from(["states:StartExecution"]) {
        found.push(format!("BackfillScheduleRole: {schedule:?}"));
    }
    found
}

#[test]
fn roles_of_machines_allow_what_they_do() {
    assert_eq!(differences(&Documents::real()), Vec::<String>::new());
}

#[test]
fn a_role_that_allows_more_or_less_is_found() {
    let real = Documents::real();
    let at = real.template.find("  MigrateRole:\n").unwrap();
    let (before, after) = real.template.split_at(at);
    let faults = [
        ("- !GetAtt Settle.Arn", "- !GetAtt Report.Arn"),
        ("- events:PutRule", "- events:DeleteRule"),
        ("- states:StopExecution", "- states:DescribeExecution"),
        ("Action: states:RedriveExecution", "Action: states:DescribeExecution"),
        ("- s3:AbortMultipartUpload", "- s3:DeleteObject"),
    ];
    for (right, wrong) in faults {
        assert!(after.contains(right), "{right}");
        let template = format!("{before}{}", after.replace(right, wrong));
        assert!(!differences(&Documents { template, ..real.clone() }).is_empty(), "{wrong}");
    }
}
