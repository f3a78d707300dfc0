//! The template against the definition, the folders of `functions/` and the environment that the functions read.

use super::Documents;
use super::raw::{RawState, states, substitution};
use serde_json::Value as Json;
use serde_yaml_ng::Value as Yaml;
use std::collections::{BTreeMap, BTreeSet};

/// Seconds by which a Task's timeout exceeds its function's, so that the function's own end is what is seen.
const MARGIN_SECONDS: u64 = 60;

const MACHINE: &str = "AWS::Serverless::StateMachine";

/// A function of the template.
struct Function<'t> {
    /// Its logical id.
    id: &'t str,
    binary: &'t str,
    timeout_seconds: Option<u64>,
    variables: BTreeSet<&'t str>,
}

/// Violations by the template, or by states that do not fit it.
pub(super) fn check(documents: &Documents, machines: &[(&str, Json)]) -> Vec<String> {
    let template: Yaml = match serde_yaml_ng::from_str(&documents.template) {
        Ok(template) => template,
        Err(error) => return vec![format!("template.yaml: no YAML: {error}")],
    };
    let functions = functions(&template);
    let mut violations = [
        partitions(&documents.template),
        folders(&functions, &documents.functions),
        environment(&functions, &documents.environment),
        hurried(&functions),
    ]
    .concat();
    let of = |kind| resources(&template, kind).map(|(id, _)| id).collect::<Vec<&str>>();
    let (ids, buckets, queues) = (of(MACHINE), of("AWS::S3::Bucket"), of("AWS::SQS::Queue"));
    for (name, machine) in machines {
        let (states, substitutions) = (states(machine), substitutions(&template, name));
        violations.extend(used(&states, &substitutions));
        violations.extend(meant(&substitutions, &functions, &ids, &buckets, &queues));
        violations.extend(timeouts(&states, &functions));
    }
    violations
}

pub(super) fn resources<'t>(template: &'t Yaml, kind: &'static str) -> impl Iterator<Item = (&'t str, &'t Yaml)> {
    let all = template["Resources"].as_mapping().into_iter().flatten();
    all.filter_map(|(id, resource)| Some((id.as_str()?, resource)))
        .filter(move |(_, resource)| resource["Type"] == kind)
}

fn functions(template: &Yaml) -> Vec<Function<'_>> {
    resources(template, "AWS::Serverless::Function")
        .map(|(id, resource)| Function {
            id,
            binary: resource["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap_or_default(),
            timeout_seconds: most(template, &resource["Properties"]["Timeout"]),
            variables: longhaul_keys(&resource["Properties"]["Environment"]["Variables"]),
        })
        .collect()
}

/// A number, or the most that the parameter may be that it refers to.
pub(super) fn most(template: &Yaml, value: &Yaml) -> Option<u64> {
    value.as_u64().or_else(|| template["Parameters"][tagged(value, "Ref")?]["MaxValue"].as_u64())
}

fn longhaul_keys(variables: &Yaml) -> BTreeSet<&str> {
    let keys = variables.as_mapping().into_iter().flat_map(|mapping| mapping.keys());
    keys.filter_map(Yaml::as_str).filter(|name| name.starts_with("LONGHAUL_")).collect()
}

/// What the template substitutes in the definition of this name.
fn substitutions<'t>(template: &'t Yaml, definition: &str) -> BTreeMap<&'t str, &'t Yaml> {
    let place = format!("statemachine/{definition}");
    let machines = resources(template, MACHINE).map(|(_, machine)| &machine["Properties"]);
    let machines = machines.filter(|machine| machine["DefinitionUri"] == place.as_str());
    let all = machines.filter_map(|machine| machine["DefinitionSubstitutions"].as_mapping());
    all.flatten().filter_map(|(key, value)| Some((key.as_str()?, value))).collect()
}

/// The text behind a tag such as `!GetAtt`.
pub(super) fn tagged<'t>(value: &'t Yaml, tag: &str) -> Option<&'t str> {
    match value {
        Yaml::Tagged(tagged) if tagged.tag == tag => tagged.value.as_str(),
        _ => None,
    }
}

fn partitions(template: &str) -> Vec<String> {
    let lines = template.lines().enumerate().filter(|(_, line)| line.contains("arn:aws"));
    lines.map(|(index, _)| format!("template.yaml: line {} names a partition", index + 1)).collect()
}

/// Each folder of `functions/` is a package of its own name, and a function of that name in the template.
fn folders(functions: &[Function<'_>], folders: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (folder, package) in folders {
        if folder != package {
            violations.push(format!("functions/{folder}: its package is called {package}"));
        }
        if functions.iter().filter(|function| function.binary == folder).count() != 1 {
            violations.push(format!("functions/{folder}: not the Binary of one function of the template"));
        }
    }
    for Function { id, binary, .. } in functions {
        if folders.iter().all(|(folder, _)| folder != binary) {
            violations.push(format!("{id}: no folder of functions/ is called {binary:?}"));
        }
        if logical_id(binary) != *id {
            violations.push(format!("{id}: its Binary is another function's, {binary:?}"));
        }
    }
    violations
}

/// `copy-objects` is `CopyObjects`.
fn logical_id(folder: &str) -> String {
    folder.split('-').filter(|word| !word.is_empty()).map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// The variables that the template sets are those that some function reads.
fn environment(functions: &[Function<'_>], source: &str) -> Vec<String> {
    let read: BTreeSet<&str> = source.split('"').filter(|text| is_variable(text)).collect();
    let set: BTreeSet<&str> = functions.iter().flat_map(|function| function.variables.iter().copied()).collect();
    let lacking =
        read.difference(&set).map(|name| format!("{name}: read by the functions, set by none of the template"));
    let idle = set.difference(&read).map(|name| format!("{name}: set by the template, read by no function"));
    lacking.chain(idle).collect()
}

fn is_variable(text: &str) -> bool {
    text.starts_with("LONGHAUL_") && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The definition uses the substitutions that the template gives, as whole strings.
fn used(states: &[RawState<'_>], given: &BTreeMap<&str, &Yaml>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut used = BTreeSet::new();
    for state in states {
        for text in state.strings().into_iter().filter(|text| text.contains("${")) {
            match substitution(text) {
                Some(name) if given.contains_key(name) => _ = used.insert(name),
                Some(name) => violations.push(format!("{}: the template substitutes no {name}", state.path)),
                None => violations.push(format!("{}: {text:?} is not a substitution as a whole", state.path)),
            }
        }
    }
    let idle = given.keys().filter(|name| !used.contains(*name));
    violations.extend(idle.map(|name| format!("{name}: substituted, but no state uses it")));
    violations
}

/// `XFunctionArn` is the ARN of function X, and `XStateMachineArn` that of the state machine X; `XBucket` names the bucket of
/// that name, `XUrl` is the URL of the queue X. Any other substitution is an integration, built with the partition.
fn meant(
    given: &BTreeMap<&str, &Yaml>,
    functions: &[Function<'_>],
    machines: &[&str],
    buckets: &[&str],
    queues: &[&str],
) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, value) in given {
        if let Some(id) = name.strip_suffix("StateMachineArn") {
            if tagged(value, "Ref") != Some(id) || !machines.contains(&id) {
                violations.push(format!("{name}: not the state machine it names"));
            }
            continue;
        }
        if name.ends_with("Bucket") {
            if tagged(value, "Ref") != Some(name) || !buckets.contains(name) {
                violations.push(format!("{name}: not the bucket it names"));
            }
            continue;
        }
        if let Some(id) = name.strip_suffix("Url") {
            if tagged(value, "Ref") != Some(id) || !queues.contains(&id) {
                violations.push(format!("{name}: not the queue it names"));
            }
            continue;
        }
        let wrong = match name.strip_suffix("FunctionArn") {
            Some(id) if functions.iter().all(|function| function.id != id) => "no function of this name",
            Some(id) if tagged(value, "GetAtt") != Some(&format!("{id}.Arn")) => "not the ARN of the function it names",
            None if tagged(value, "Sub").is_none_or(|text| !text.starts_with("arn:${AWS::Partition}:states:::")) => {
                "not an integration under ${AWS::Partition}"
            }
            _ => continue,
        };
        violations.push(format!("{name}: {wrong}"));
    }
    violations
}

/// Every function has a timeout.
fn hurried(functions: &[Function<'_>]) -> Vec<String> {
    let without = functions.iter().filter(|function| function.timeout_seconds.is_none());
    without.map(|Function { id, .. }| format!("{id}: no Timeout in the template")).collect()
}

/// A Task waits longer than its function may run.
fn timeouts(states: &[RawState<'_>], functions: &[Function<'_>]) -> Vec<String> {
    let mut violations = Vec::new();
    for Function { id, timeout_seconds, .. } in functions {
        let Some(seconds) = timeout_seconds else { continue };
        let least = seconds + MARGIN_SECONDS;
        let calls = |state: &&RawState<'_>| state.substitution() == Some(&format!("{id}FunctionArn"));
        let hasty = |state: &&RawState<'_>| state.fields["TimeoutSeconds"].as_u64().is_none_or(|waits| waits < least);
        let states = states.iter().filter(calls).filter(hasty);
        violations.extend(states.map(|state| format!("{}: waits less than {least} s for {id}", state.path)));
    }
    violations
}
