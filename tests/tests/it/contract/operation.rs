//! What the template promises an operator beyond names and permissions.

use super::Documents;
use super::template::{most, resources, tagged};
use serde_yaml_ng::Value as Yaml;

const FOURTEEN_DAYS: u64 = 14 * 24 * 60 * 60;

fn template() -> Yaml {
    serde_yaml_ng::from_str(&Documents::real().template).unwrap()
}

/// Lambda advises six times the function's timeout, and the window on top:
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
#[test]
fn messages_stay_hidden_while_intake_may_work_on_them() {
    let template = template();
    let intake = &template["Resources"]["Intake"]["Properties"];
    let timeout = most(&template, &intake["Timeout"]).unwrap();
    let event = &intake["Events"]["Queue"]["Properties"];
    let window = most(&template, &event["MaximumBatchingWindowInSeconds"]).unwrap();
    let hidden = template["Resources"]["Queue"]["Properties"]["VisibilityTimeout"].as_u64().unwrap();
    assert!(hidden >= 6 * timeout + window, "{hidden} s for six times {timeout} s and {window} s");
    assert_eq!(event["FunctionResponseTypes"][0], "ReportBatchItemFailures");
}

#[test]
fn queues_keep_their_messages_encrypted_for_a_fortnight() {
    let template = template();
    let queues: Vec<_> = resources(&template, "AWS::SQS::Queue").collect();
    assert_eq!(queues.len(), 3);
    for (id, queue) in queues {
        assert_eq!(queue["Properties"]["MessageRetentionPeriod"], FOURTEEN_DAYS, "{id}");
        assert_eq!(queue["Properties"]["SqsManagedSseEnabled"], true, "{id}");
    }
    let redrive = &template["Resources"]["Queue"]["Properties"]["RedrivePolicy"];
    assert_eq!(tagged(&redrive["deadLetterTargetArn"], "GetAtt"), Some("DeadLetterQueue.Arn"));
    assert_eq!(tagged(&redrive["maxReceiveCount"], "Ref"), Some("MaxReceiveCount"));
}

/// A service may act for one resource of one account: anybody's bucket could send otherwise.
#[test]
fn services_send_for_one_resource_of_this_account() {
    let template = template();
    let kinds = ["AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"];
    let policies: Vec<_> = kinds.iter().flat_map(|kind| resources(&template, kind)).collect();
    assert_eq!(policies.len(), 3);
    for (id, policy) in policies {
        let statements = policy["Properties"]["PolicyDocument"]["Statement"].as_sequence().unwrap();
        for statement in statements.iter().filter(|statement| statement["Effect"] == "Allow") {
            let when = &statement["Condition"];
            let source = ["ArnEquals", "ArnLike"].iter().any(|test| !when[*test]["aws:SourceArn"].is_null());
            let account = tagged(&when["StringEquals"]["aws:SourceAccount"], "Ref") == Some("AWS::AccountId");
            assert!(source && account, "{id}: {statement:?}");
        }
    }
}

#[test]
fn the_ledger_costs_by_use_can_be_restored_and_forgets() {
    let template = template();
    let (_, ledger) = resources(&template, "AWS::DynamoDB::Table").next().unwrap();
    let ledger = &ledger["Properties"];
    assert_eq!(ledger["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(ledger["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(ledger["TimeToLiveSpecification"]["Enabled"], true);
    let expires = ledger["TimeToLiveSpecification"]["AttributeName"].as_str().unwrap();
    assert!(include_str!("../../../../crates/aws/src/ledger/item.rs").contains(&format!("{expires:?}")));
}

/// Every function and state machine logs into a group of the stack, for as long as the parameter says, and leaves tracing
/// out where it is not to be had.
#[test]
fn logs_end_and_tracing_knows_where_it_is() {
    let template = template();
    for (id, function) in resources(&template, "AWS::Serverless::Function") {
        let group = tagged(&function["Properties"]["LoggingConfig"]["LogGroup"], "Ref");
        assert_eq!(group, Some(format!("{id}Log").as_str()), "{id}");
    }
    for (id, group) in resources(&template, "AWS::Logs::LogGroup") {
        assert_eq!(tagged(&group["Properties"]["RetentionInDays"], "Ref"), Some("LogRetentionDays"), "{id}");
    }
    let traced = |value: &Yaml| match value {
        Yaml::Tagged(tagged) if tagged.tag == "If" => tagged.value[0] == "Traced",
        _ => false,
    };
    assert!(traced(&template["Globals"]["Function"]["Tracing"]));
    for (id, machine) in resources(&template, "AWS::Serverless::StateMachine") {
        assert!(traced(&machine["Properties"]["Tracing"]["Enabled"]), "{id}");
        assert!(!machine["Properties"]["Logging"]["Destinations"].is_null(), "{id}");
    }
}

/// What holds objects of the user outlives the stack; whatever else keeps something says that it goes.
#[test]
fn what_becomes_of_data_is_said() {
    let template = template();
    for (kind, policies) in [
        ("AWS::S3::Bucket", ["RetainExceptOnCreate", "Retain"]),
        ("AWS::DynamoDB::Table", ["Delete", "Delete"]),
        ("AWS::Logs::LogGroup", ["Delete", "Delete"]),
    ] {
        for (id, resource) in resources(&template, kind) {
            assert_eq!([&resource["DeletionPolicy"], &resource["UpdateReplacePolicy"]], policies, "{id}");
        }
    }
}

#[test]
fn alarms_ring_for_what_an_operator_must_know() {
    let template = template();
    let alarm = |id: &str| template["Resources"][id]["Properties"].clone();
    for id in ["FailedQueueAlarm", "DeadLetterQueueAlarm", "OldestMessageAlarm", "FailureRateAlarm", "ThrottlesAlarm"] {
        assert_eq!(tagged(&alarm(id)["AlarmActions"][0], "Ref"), Some("Notifications"), "{id}");
    }
    let empty = alarm("QueueEmptyAlarm");
    assert_eq!((&empty["EvaluationPeriods"], &empty["DatapointsToAlarm"]), (&Yaml::from(3), &Yaml::from(3)));
    let done = alarm("AllDoneAlarm");
    let rule = tagged(&done["AlarmRule"], "Sub").unwrap();
    assert!(rule.contains("${QueueEmptyAlarm}") && rule.contains(" AND ") && rule.contains("${NothingRunningAlarm}"));
    assert_eq!(tagged(&done["AlarmActions"][0], "Ref"), Some("Notifications"));
}
