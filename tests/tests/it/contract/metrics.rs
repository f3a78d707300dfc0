//! The dashboard and the alarms name only metrics that exist: Longhaul's own as the functions print them, and AWS's from
//! a list.

use super::Documents;
use longhaul_core::tally::Tally;
use serde_json::Value as Json;
use serde_yaml_ng::Value as Yaml;
use std::collections::{BTreeMap, BTreeSet};

/// Most metrics that an alarm may read.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html>
const ALARM_METRICS_MAX: usize = 10;

/// Metrics of AWS with their only dimension: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/aws-services-cloudwatch-metrics.html>
const KNOWN: [(&str, &str, &[&str]); 4] = [
    (
        "AWS/SQS",
        "QueueName",
        &[
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        ],
    ),
    (
        "AWS/States",
        "StateMachineArn",
        &[
            "ExecutionThrottled",
            "ExecutionsAborted",
            "ExecutionsFailed",
            "ExecutionsStarted",
            "ExecutionsSucceeded",
            "ExecutionsTimedOut",
        ],
    ),
    ("AWS/Lambda", "FunctionName", &["ConcurrentExecutions", "Duration", "Errors", "Invocations", "Throttles"]),
    (
        "AWS/DynamoDB",
        "TableName",
        &["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"],
    ),
];

/// A metric as a document names it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    /// The resource that names it.
    by: String,
    namespace: String,
    name: String,
    /// Names and values; a value of the template is the text behind its tag.
    dimensions: Vec<(String, String)>,
}

/// What is wrong with the metrics that the template names.
fn check(template: &Yaml) -> Vec<String> {
    let functions = of_kind(template, "AWS::Serverless::Function");
    let functions: BTreeSet<&str> =
        functions.values().filter_map(|function| text(&function["Properties"]["FunctionName"])).collect();
    let mut violations: Vec<String> =
        named(template).iter().filter_map(|metric| unknown(metric, &functions, template)).collect();
    for (id, alarm) in of_kind(template, "AWS::CloudWatch::Alarm") {
        let metrics = alarm["Properties"]["Metrics"].as_sequence().map_or(&[][..], Vec::as_slice);
        let ids: Vec<&str> = metrics.iter().filter_map(|metric| metric["Id"].as_str()).collect();
        if ids.len() > ALARM_METRICS_MAX + 1 {
            violations.push(format!("{id}: reads more than {ALARM_METRICS_MAX} metrics"));
        }
        for expression in metrics.iter().filter_map(|metric| metric["Expression"].as_str()) {
            violations.extend(unbound(expression, &ids).map(|word| format!("{id}: no metric has the id {word}")));
        }
    }
    violations
}

fn of_kind<'t>(template: &'t Yaml, kind: &str) -> BTreeMap<&'t str, &'t Yaml> {
    let all = template["Resources"].as_mapping().into_iter().flatten();
    let all = all.filter_map(|(id, resource)| Some((id.as_str()?, resource)));
    all.filter(|(_, resource)| resource["Type"] == kind).collect()
}

/// A string, or the string behind a tag.
fn text(value: &Yaml) -> Option<&str> {
    match value {
        Yaml::Tagged(tagged) => tagged.value.as_str(),
        _ => value.as_str(),
    }
}

fn named(template: &Yaml) -> Vec<Named> {
    let mut all = Vec::new();
    for (id, alarm) in of_kind(template, "AWS::CloudWatch::Alarm") {
        let properties = &alarm["Properties"];
        let read =
            properties["Metrics"].as_sequence().into_iter().flatten().map(|metric| &metric["MetricStat"]["Metric"]);
        for metric in read.chain([properties]).filter(|metric| metric["MetricName"].is_string()) {
            let dimensions = metric["Dimensions"].as_sequence().into_iter().flatten();
            let dimension = |one: &Yaml| (word(&one["Name"]), word(&one["Value"]));
            all.push(Named {
                by: id.to_owned(),
                namespace: word(&metric["Namespace"]),
                name: word(&metric["MetricName"]),
                dimensions: dimensions.map(dimension).collect(),
            });
        }
    }
    for (id, dashboard) in of_kind(template, "AWS::CloudWatch::Dashboard") {
        for row in rows(&body(dashboard)) {
            let words: Vec<&str> = row.iter().filter_map(Json::as_str).collect();
            let [namespace, name, dimensions @ ..] = words.as_slice() else { continue };
            let pairs = dimensions.chunks(2).map(|pair| (pair[0].to_owned(), pair[1..].concat()));
            let (namespace, name) = ((*namespace).to_owned(), (*name).to_owned());
            all.push(Named { by: id.to_owned(), namespace, name, dimensions: pairs.collect() });
        }
    }
    all
}

fn word(value: &Yaml) -> String {
    text(value).unwrap_or_default().to_owned()
}

fn body(dashboard: &Yaml) -> Json {
    serde_json::from_str(text(&dashboard["Properties"]["DashboardBody"]).unwrap()).unwrap()
}

/// The rows of all widgets that draw metrics.
fn rows(body: &Json) -> Vec<Vec<Json>> {
    let widgets = body["widgets"].as_array().into_iter().flatten();
    let rows = widgets.filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten();
    rows.filter_map(|row| row.as_array().cloned()).collect()
}

/// Why nobody reports this metric.
fn unknown(metric: &Named, functions: &BTreeSet<&str>, template: &Yaml) -> Option<String> {
    let Named { by, namespace, name, dimensions } = metric;
    let [(dimension, value)] = dimensions.as_slice() else {
        return Some(format!("{by}: {namespace} {name} has not one dimension"));
    };
    if namespace == "Longhaul" {
        let counted = Tally::default().fields().iter().any(|(field, _)| field == name);
        let emitted = counted && dimension == "function" && functions.contains(value.as_str());
        return (!emitted).then(|| format!("{by}: no function prints {name} with {dimension} {value}"));
    }
    let known = KNOWN.iter().find(|(known, ..)| known == namespace);
    if !known.is_some_and(|(_, key, names)| key == dimension && names.contains(&name.as_str())) {
        return Some(format!("{by}: AWS has no {namespace} {name} with {dimension}"));
    }
    if namespace == "AWS/Lambda" {
        return (!functions.contains(value.as_str())).then(|| format!("{by}: no function is called {value}"));
    }
    let id = value.trim_start_matches("${").trim_end_matches('}').split('.').next().unwrap_or_default();
    template["Resources"].get(id).is_none().then(|| format!("{by}: {name} is of no resource, {value}"))
}

/// Words of an expression that are neither functions nor ids.
fn unbound<'e>(expression: &'e str, ids: &'e [&str]) -> impl Iterator<Item = &'e str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(move |word| word.starts_with(|c: char| c.is_ascii_lowercase()) && !ids.contains(word))
}

fn template() -> Yaml {
    serde_yaml_ng::from_str(&Documents::real().template).unwrap()
}

#[test]
fn every_metric_is_one_that_somebody_reports() {
    let template = template();
    assert_eq!(check(&template), Vec::<String>::new());
    let metrics = named(&template);
    let of = |by: &str| metrics.iter().filter(|metric| metric.by == by && metric.namespace == "Longhaul").count();
    assert!(of("Dashboard") > 20 && of("FailureRateAlarm") > 4, "{metrics:#?}");
}

#[test]
fn a_metric_that_nobody_reports_is_found() {
    let text = Documents::real().template;
    let faults = [
        ("\"bytes_up\"", "\"bytes_sent\""),
        ("\"function\", \"${AWS::StackName}-settle\"", "\"function\", \"${AWS::StackName}-settler\""),
        ("MetricName: ApproximateAgeOfOldestMessage", "MetricName: AgeOfOldestMessage"),
        ("\"${Ledger}\"", "\"${Register}\""),
        ("              MetricName: failed", "              MetricName: lost"),
        ("Expression: FILL(visible, 0)", "Expression: FILL(shown, 0)"),
    ];
    for (right, wrong) in faults {
        assert!(text.contains(right), "{right}");
        let template: Yaml = serde_yaml_ng::from_str(&text.replace(right, wrong)).unwrap();
        assert!(!check(&template).is_empty(), "{wrong}");
    }
}

/// An expression of the dashboard names rows of its own widget.
#[test]
fn expressions_of_the_dashboard_have_their_metrics() {
    let template = template();
    for dashboard in of_kind(&template, "AWS::CloudWatch::Dashboard").values() {
        let body = body(dashboard);
        for widget in body["widgets"].as_array().unwrap() {
            let rows: Vec<&Json> = widget["properties"]["metrics"].as_array().into_iter().flatten().collect();
            let options = rows.iter().filter_map(|row| row.as_array().and_then(|row| row.last()));
            let options: Vec<&Json> = options.collect();
            let ids: Vec<&str> = options.iter().filter_map(|options| options["id"].as_str()).collect();
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{}", widget["properties"]["title"]);
            for expression in options.iter().filter_map(|options| options["expression"].as_str()) {
                assert_eq!(unbound(expression, &ids).collect::<Vec<_>>(), Vec::<&str>::new());
            }
        }
    }
}

/// "Nothing running" looks back further than any retry waits: an execution that waits calls nothing.
#[test]
fn all_done_outlasts_the_longest_wait_of_a_retry() {
    let documents = Documents::real();
    let waits = documents.definitions().into_iter().flat_map(|(_, definition)| {
        let waits = definition.lines().filter_map(|line| line.trim().strip_prefix("\"MaxDelaySeconds\": "));
        waits.map(|seconds| seconds.trim_end_matches(',').parse::<u64>().unwrap()).collect::<Vec<_>>()
    });
    let longest = waits.max().unwrap();
    let template = template();
    let alarm = &template["Resources"]["NothingRunningAlarm"]["Properties"];
    let period = alarm["Metrics"][1]["MetricStat"]["Period"].as_u64().unwrap();
    assert!(period * alarm["EvaluationPeriods"].as_u64().unwrap() > longest, "{longest} s");
}
