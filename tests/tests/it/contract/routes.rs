//! Each `Choice` against the enum whose tags it routes.

use super::raw::{RawState, states};
use super::samples;
use longhaul_core::backfill::states::{Gathered, Reported, ShardState};
use longhaul_core::contract::{End, ItemState, RangeState, Verdict};
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// Where a tag must lead.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leads {
    /// To a Task with this substitution as its resource, or to a Map that begins with one.
    Task(&'static str),
    /// To success.
    Succeed,
    /// To failure.
    Fail,
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(resource) => write!(f, "the task ${{{resource}}}"),
            Self::Succeed => f.write_str("a Succeed"),
            Self::Fail => f.write_str("a Fail"),
        }
    }
}

/// A `Choice`, the variable that it asks, and where each tag of the enum must lead.
pub(super) struct Route {
    choice: &'static str,
    variable: &'static str,
    tags: Vec<(String, Leads)>,
}

/// The `Choice`s of a definition, by the name of its file.
pub(super) fn of(definition: &str) -> Vec<Route> {
    if definition == "migrate.asl.json" { migrate() } else { backfill() }
}

fn migrate() -> Vec<Route> {
    vec![
        Route { choice: "RouteItem", variable: "$.next", tags: tags(samples::item_states(), item) },
        Route { choice: "RouteRange", variable: "$.next", tags: tags(samples::range_states(), range) },
        Route { choice: "RouteEnd", variable: "$.next", tags: tags(samples::ends(), end) },
        Route { choice: "RouteContinued", variable: "$.then", tags: tags(samples::verdicts(), verdict) },
    ]
}

/// Scans and deletions share the states of a shard; each `Choice` routes its own.
fn backfill() -> Vec<Route> {
    let next = |choice, tags| Route { choice, variable: "$.next", tags };
    vec![
        next("RouteShard", some_tags(samples::shard_states(), scanned)),
        next("RouteGathered", tags(samples::gathered(), gathered)),
        next("RouteCopied", some_tags(samples::gathered(), copied)),
        next("RouteDeletions", some_tags(samples::shard_states(), deleted)),
        next("RouteReported", tags(samples::reported(), reported)),
    ]
}

fn scanned(state: &ShardState) -> Option<Leads> {
    match state {
        ShardState::Scan(_) => Some(Leads::Task("ScanFunctionArn")),
        ShardState::Delete(_) => None,
        ShardState::Done(_) => Some(Leads::Succeed),
    }
}

fn deleted(state: &ShardState) -> Option<Leads> {
    match state {
        ShardState::Scan(_) => None,
        ShardState::Delete(_) => Some(Leads::Task("ScanFunctionArn")),
        ShardState::Done(_) => Some(Leads::Succeed),
    }
}

fn gathered(next: &Gathered) -> Leads {
    match next {
        Gathered::Copy(_) => Leads::Task("StartExecutionSync"),
        Gathered::Delete(_) => Leads::Task("ScanFunctionArn"),
        Gathered::Report(_) => Leads::Task("ReportFunctionArn"),
    }
}

/// What is copied is not copied again.
fn copied(next: &Gathered) -> Option<Leads> {
    (!matches!(next, Gathered::Copy(_))).then(|| gathered(next))
}

fn reported(next: &Reported) -> Leads {
    match next {
        Reported::Report(_) => Leads::Task("ReportFunctionArn"),
        Reported::Succeeded(_) => Leads::Succeed,
        Reported::Failed(_) => Leads::Fail,
    }
}

fn item(state: &ItemState) -> Leads {
    match state {
        ItemState::CopyObjects(_) => Leads::Task("CopyObjectsFunctionArn"),
        ItemState::CopyParts(_) => Leads::Task("CopyPartsFunctionArn"),
        ItemState::Complete(_) => Leads::Task("CompleteFunctionArn"),
        ItemState::PlanAgain(_) => Leads::Task("PlanFunctionArn"),
        ItemState::Settle(_) => Leads::Task("SettleFunctionArn"),
        ItemState::Done(_) => Leads::Succeed,
    }
}

fn range(state: &RangeState) -> Leads {
    match state {
        RangeState::CopyParts(_) => Leads::Task("CopyPartsFunctionArn"),
        RangeState::Done(_) => Leads::Succeed,
    }
}

fn end(end: &End) -> Leads {
    match end {
        End::Succeeded(_) => Leads::Succeed,
        End::Failed(_) => Leads::Fail,
        End::Continue(_) => Leads::Task("StartExecutionSync"),
    }
}

fn verdict(verdict: &Verdict) -> Leads {
    match verdict {
        Verdict::Succeeded => Leads::Succeed,
        Verdict::Failed => Leads::Fail,
    }
}

fn tags<T: Serialize>(samples: Vec<T>, leads: impl Fn(&T) -> Leads) -> Vec<(String, Leads)> {
    some_tags(samples, |sample| Some(leads(sample)))
}

/// The tags of those samples that lead somewhere.
fn some_tags<T: Serialize>(samples: Vec<T>, leads: impl Fn(&T) -> Option<Leads>) -> Vec<(String, Leads)> {
    samples.iter().filter_map(|sample| Some((tag(sample), leads(sample)?))).collect()
}

/// What serde calls the variant: the field `next`, or the value itself for an enum without fields.
fn tag(sample: &impl Serialize) -> String {
    let value = serde_json::to_value(sample).unwrap();
    value.get("next").unwrap_or(&value).as_str().unwrap().to_owned()
}

/// Every `Choice` is one of `routes`, and has the rules of its enum's tags and no others.
pub(super) fn check(machine: &Value, routes: &[Route]) -> Vec<String> {
    let all = states(machine);
    let mut violations = Vec::new();
    for choice in all.iter().filter(|state| state.fields["Type"] == "Choice") {
        let wrong = match routes.iter().find(|route| route.choice == choice.name) {
            None => vec!["a Choice that routes no known enum".to_owned()],
            Some(route) => rules(choice, route, &all),
        };
        violations.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", choice.path)));
    }
    let lost = routes.iter().filter(|route| all.iter().all(|state| state.name != route.choice));
    violations.extend(lost.map(|route| format!("{}: the Choice is lost", route.choice)));
    violations
}

fn rules(choice: &RawState<'_>, route: &Route, all: &[RawState<'_>]) -> Vec<String> {
    let rules: Vec<Rule<'_>> =
        choice.fields["Choices"].as_array().into_iter().flatten().map(|rule| Rule::of(rule, route.variable)).collect();
    let mut wrong = Vec::new();
    if choice.fields.get("Default").is_some() {
        wrong.push("a Default would hide a tag without a rule".to_owned());
    }
    for (tag, leads) in &route.tags {
        match rules.iter().filter(|rule| rule.tag == Some(tag)).collect::<Vec<_>>()[..] {
            [rule] if !leads_to(*leads, rule.next, all) => wrong.push(format!("{tag:?} must lead to {leads}")),
            [_] => {}
            [] => wrong.push(format!("no rule for {tag:?}")),
            _ => wrong.push(format!("more than one rule for {tag:?}")),
        }
    }
    let known = |rule: &Rule<'_>| route.tags.iter().any(|(tag, _)| rule.tag == Some(tag));
    wrong.extend(rules.iter().filter(|rule| !known(rule)).map(|rule| format!("a rule for no tag: {}", rule.text)));
    wrong
}

struct Rule<'a> {
    text: &'a Value,
    /// Absent if the rule is anything but a `StringEquals` on the route's variable.
    tag: Option<&'a str>,
    next: &'a str,
}

impl<'a> Rule<'a> {
    fn of(text: &'a Value, variable: &str) -> Self {
        let plain = text["Variable"] == variable && text.as_object().is_some_and(|fields| fields.len() == 3);
        Self {
            text,
            tag: text["StringEquals"].as_str().filter(|_| plain),
            next: text["Next"].as_str().unwrap_or_default(),
        }
    }
}

/// Iterations that begin with a question begin, in effect, with its first answer.
fn asked<'a>(first: &'a str, all: &'a [RawState<'_>]) -> &'a str {
    let choice = all.iter().find(|state| state.name == first && state.fields["Type"] == "Choice");
    choice.and_then(|choice| choice.fields["Choices"][0]["Next"].as_str()).unwrap_or(first)
}

fn leads_to(leads: Leads, next: &str, all: &[RawState<'_>]) -> bool {
    let Some(state) = all.iter().find(|state| state.name == next) else { return false };
    match leads {
        Leads::Succeed => state.fields["Type"] == "Succeed",
        Leads::Fail => state.fields["Type"] == "Fail",
        Leads::Task(resource) => match state.fields["ItemProcessor"]["StartAt"].as_str() {
            Some(first) => leads_to(leads, asked(first, all), all),
            None => state.substitution() == Some(resource),
        },
    }
}

#[test]
fn tags_are_what_serde_writes() {
    let tags_of = |route: &str| -> Vec<String> {
        let route = migrate().into_iter().chain(backfill()).find(|known| known.choice == route).unwrap();
        route.tags.into_iter().map(|(tag, _)| tag).collect()
    };
    assert_eq!(tags_of("RouteItem"), ItemState::TAGS);
    assert_eq!(tags_of("RouteRange"), RangeState::TAGS);
    assert_eq!(tags_of("RouteEnd"), End::TAGS);
    assert_eq!(tags_of("RouteContinued"), ["succeeded", "failed"]);
    assert_eq!(tags_of("RouteGathered"), Gathered::TAGS);
    assert_eq!(tags_of("RouteCopied"), Gathered::TAGS[1..]);
    assert_eq!(tags_of("RouteReported"), Reported::TAGS);
    assert_eq!(tags_of("RouteShard"), [ShardState::TAGS[0], ShardState::TAGS[2]]);
    assert_eq!(tags_of("RouteDeletions"), ShardState::TAGS[1..]);
}
