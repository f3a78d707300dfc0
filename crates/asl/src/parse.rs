use std::collections::BTreeMap;

use crate::check;
use crate::choice::Rule;
use crate::definition::{
    Given, Integration, Items, Kind, Machine, MapState, Mode, PassState, Scope, State, TaskState, Then, Work,
};
use crate::error::DefinitionError;
use crate::fields::Fields;
use crate::json::Json;
use crate::path::Path;
use crate::retry::{Catcher, Retrier};
use crate::template::Template;

/// The longest timeout or wait, in seconds.
///
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html>
const MOST_SECONDS: u64 = 99_999_999;
/// Characters of a state's name (<https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html>).
const LONGEST_NAME: usize = 80;
/// Characters of a Map's label (<https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html>).
const LONGEST_LABEL: usize = 40;

const WORK: [&str; 10] =
    ["Comment", "Type", "InputPath", "OutputPath", "ResultSelector", "ResultPath", "Retry", "Catch", "Next", "End"];
const TASK: [&str; 3] = ["Resource", "Parameters", "TimeoutSeconds"];
const MAP: [&str; 6] = ["ItemsPath", "ItemSelector", "ItemProcessor", "MaxConcurrency", "MaxConcurrencyPath", "Label"];
const DISTRIBUTED: [&str; 4] =
    ["ItemReader", "ResultWriter", "ToleratedFailurePercentage", "ToleratedFailurePercentagePath"];

impl Machine {
    /// Reads a definition.
    ///
    /// # Errors
    /// A [`DefinitionError`] that names the state and the field, if the text is no JSON, holds
    /// anything outside the subset, or cannot run: an edge to nowhere, a state never reached, no
    /// terminal state.
    pub fn parse(json: &str) -> Result<Self, DefinitionError> {
        let json: Json = serde_json::from_str(json).map_err(|error| DefinitionError {
            state: String::new(),
            field: String::new(),
            message: format!("not a definition in JSON: {error}"),
        })?;
        let fields = Fields::of("", false, &json)?;
        fields.only(&["Comment", "StartAt", "States", "TimeoutSeconds"])?;
        let machine = Self {
            comment: fields.text("Comment")?,
            timeout_seconds: fields.integer("TimeoutSeconds", 1, MOST_SECONDS)?,
            scope: scope(&fields)?,
        };
        check::check(&machine)?;
        Ok(machine)
    }
}

fn scope(fields: &Fields<'_>) -> Result<Scope, DefinitionError> {
    let start_at = fields.require_text("StartAt")?;
    let Json::Object(entries) = fields.require("States")? else {
        return Err(fields.error("States", "must be an object"));
    };
    let mut states = Vec::with_capacity(entries.len());
    let mut places = BTreeMap::new();
    for (name, json) in entries {
        let around = fields.state();
        let place = if around.is_empty() { name.clone() } else { format!("{around}/{name}") };
        let fields = Fields::of(&place, fields.in_map(), json)?;
        if name.is_empty() || name.chars().count() > LONGEST_NAME {
            return Err(fields.error("", format!("a name has 1 to {LONGEST_NAME} characters")));
        }
        places.insert(name.clone(), states.len());
        states.push(state(name, &fields)?);
    }
    Ok(Scope { start_at, states, places })
}

fn state(name: &str, fields: &Fields<'_>) -> Result<State, DefinitionError> {
    let kind = fields.require_text("Type")?;
    let kind = match kind.as_str() {
        "Task" => task(fields)?,
        "Map" => map(fields)?,
        "Choice" => choice(fields)?,
        "Pass" => pass(fields)?,
        "Wait" => wait(fields)?,
        "Succeed" => {
            fields.only(&["Comment", "Type", "InputPath", "OutputPath"])?;
            Kind::Succeed
        }
        "Fail" => fail(fields)?,
        _ => return Err(fields.error("Type", format!("{kind:?} is outside the subset"))),
    };
    Ok(State {
        name: name.to_owned(),
        comment: fields.text("Comment")?,
        fields: fields.names().map(str::to_owned).collect(),
        input_path: fields.path_or_null("InputPath")?,
        output_path: fields.path_or_null("OutputPath")?,
        kind,
    })
}

fn task(fields: &Fields<'_>) -> Result<Kind, DefinitionError> {
    fields.only(&[&WORK[..], &TASK].concat())?;
    Ok(Kind::Task(TaskState {
        resource: resource(fields)?,
        timeout_seconds: fields.integer("TimeoutSeconds", 1, MOST_SECONDS)?,
        work: work(fields, template(fields, "Parameters", fields.in_map())?)?,
    }))
}

fn map(fields: &Fields<'_>) -> Result<Kind, DefinitionError> {
    let Some(inner) = fields.object("ItemProcessor")? else {
        return Err(fields.error("ItemProcessor", "is missing"));
    };
    inner.only(&["ProcessorConfig", "StartAt", "States", "Comment"])?;
    let Some(config) = inner.object("ProcessorConfig")? else {
        return Err(inner.error("ProcessorConfig", "is missing"));
    };
    let mode = match config.require_text("Mode")?.as_str() {
        "INLINE" => {
            config.only(&["Mode"])?;
            fields.only(&[&WORK[..], &MAP].concat())?;
            Mode::Inline
        }
        "DISTRIBUTED" => {
            config.only(&["Mode", "ExecutionType"])?;
            if config.require_text("ExecutionType")? != "STANDARD" {
                return Err(config.error("ExecutionType", "only STANDARD is within the subset"));
            }
            fields.only(&[&WORK[..], &MAP, &DISTRIBUTED].concat())?;
            Mode::Distributed
        }
        mode => return Err(config.error("Mode", format!("{mode:?} is outside the subset"))),
    };
    let items = match (integration(fields, "ItemReader")?, fields.path("ItemsPath")?) {
        (Some(_), Some(_)) => return Err(fields.error("ItemsPath", "stands beside ItemReader")),
        (Some(reader), None) => Items::Read(reader),
        (None, path) => Items::At(path.unwrap_or_else(Path::root)),
    };
    let label = fields.text("Label")?;
    if label.as_ref().is_some_and(|label| label.is_empty() || label.chars().count() > LONGEST_LABEL) {
        return Err(fields.error("Label", format!("has 1 to {LONGEST_LABEL} characters")));
    }
    let tolerated = fields.number("ToleratedFailurePercentage")?;
    if tolerated.is_some_and(|percentage| !(0.0..=100.0).contains(&percentage)) {
        return Err(fields.error("ToleratedFailurePercentage", "is from 0 to 100"));
    }
    let max_concurrency = fields.integer("MaxConcurrency", 0, u64::from(u32::MAX))?;
    Ok(Kind::Map(Box::new(MapState {
        mode,
        items,
        max_concurrency: given(fields, "MaxConcurrency", max_concurrency)?.unwrap_or(Given::Here(0)),
        tolerated_percentage: given(fields, "ToleratedFailurePercentage", tolerated)?.unwrap_or(Given::Here(0.0)),
        result_writer: integration(fields, "ResultWriter")?,
        label,
        scope: iterations(fields, mode)?,
        work: work(fields, template(fields, "ItemSelector", true)?)?,
    })))
}

/// The states of a Map's iterations. A child execution has a context of its own: it sees no item.
fn iterations(fields: &Fields<'_>, mode: Mode) -> Result<Scope, DefinitionError> {
    let inner = Fields::of(fields.state(), mode == Mode::Inline, fields.require("ItemProcessor")?)?;
    scope(&inner)
}

fn choice(fields: &Fields<'_>) -> Result<Kind, DefinitionError> {
    fields.only(&["Comment", "Type", "InputPath", "OutputPath", "Choices", "Default"])?;
    fields.require("Choices")?;
    let rules = fields.objects("Choices")?.iter().map(Rule::parse).collect::<Result<Vec<_>, _>>()?;
    if rules.is_empty() {
        return Err(fields.error("Choices", "must not be empty"));
    }
    Ok(Kind::Choice { rules, default: fields.text("Default")? })
}

fn pass(fields: &Fields<'_>) -> Result<Kind, DefinitionError> {
    fields.only(&[
        "Comment",
        "Type",
        "InputPath",
        "OutputPath",
        "Parameters",
        "Result",
        "ResultPath",
        "Next",
        "End",
    ])?;
    if fields.get("Parameters").is_some() && fields.get("Result").is_some() {
        return Err(fields.error("Result", "stands beside Parameters, which it would hide"));
    }
    Ok(Kind::Pass(PassState {
        parameters: template(fields, "Parameters", fields.in_map())?,
        result: fields.get("Result").map(Json::to_value),
        result_path: fields.result_path()?,
        then: then(fields)?,
    }))
}

fn wait(fields: &Fields<'_>) -> Result<Kind, DefinitionError> {
    fields.only(&["Comment", "Type", "InputPath", "OutputPath", "Seconds", "SecondsPath", "Next", "End"])?;
    let seconds = fields.integer("Seconds", 0, MOST_SECONDS)?;
    let Some(duration) = given(fields, "Seconds", seconds)? else {
        return Err(fields.error("Seconds", "is missing"));
    };
    Ok(Kind::Wait { duration, then: then(fields)? })
}

fn fail(fields: &Fields<'_>) -> Result<Kind, DefinitionError> {
    fields.only(&["Comment", "Type", "Error", "ErrorPath", "Cause", "CausePath"])?;
    Ok(Kind::Fail {
        error: given(fields, "Error", fields.text("Error")?)?,
        cause: given(fields, "Cause", fields.text("Cause")?)?,
    })
}

fn work(fields: &Fields<'_>, template_of_input: Option<Template>) -> Result<Work, DefinitionError> {
    Ok(Work {
        template: template_of_input,
        result_selector: template(fields, "ResultSelector", fields.in_map())?,
        result_path: fields.result_path()?,
        retry: Retrier::parse_all(fields)?,
        catch: Catcher::parse_all(fields)?,
        then: then(fields)?,
    })
}

fn then(fields: &Fields<'_>) -> Result<Then, DefinitionError> {
    let end = match fields.get("End") {
        None => false,
        Some(Json::Scalar(serde_json::Value::Bool(end))) => *end,
        Some(_) => return Err(fields.error("End", "must be a boolean")),
    };
    match (fields.get("Next").is_some(), end) {
        (true, true) => Err(fields.error("End", "stands beside Next")),
        (true, false) => fields.require_text("Next").map(Then::Next),
        (false, true) => Ok(Then::End),
        (false, false) => Err(fields.error("Next", "is missing, and so is End")),
    }
}

fn template(fields: &Fields<'_>, name: &str, in_map: bool) -> Result<Option<Template>, DefinitionError> {
    fields
        .get(name)
        .map(|json| Template::parse(json, in_map).map_err(|message| fields.error(name, message)))
        .transpose()
}

/// `here`, the value of the field `name`, or the path under `name` with `Path` at its end.
fn given<T>(fields: &Fields<'_>, name: &str, here: Option<T>) -> Result<Option<Given<T>>, DefinitionError> {
    let at = format!("{name}Path");
    match (here, fields.path(&at)?) {
        (Some(_), Some(_)) => Err(fields.error(&at, format!("stands beside {name}"))),
        (Some(here), None) => Ok(Some(Given::Here(here))),
        (None, at) => Ok(at.map(Given::At)),
    }
}

fn integration(fields: &Fields<'_>, name: &str) -> Result<Option<Integration>, DefinitionError> {
    let Some(inner) = fields.object(name)? else { return Ok(None) };
    inner.only(&["Resource", "Parameters"])?;
    let parameters = template(&inner, "Parameters", inner.in_map())?;
    Ok(Some(Integration { resource: resource(&inner)?, parameters }))
}

fn resource(fields: &Fields<'_>) -> Result<String, DefinitionError> {
    let resource = fields.require_text("Resource")?;
    let whole = resource
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.contains(['$', '{', '}']));
    if resource.contains("${") && !whole {
        return Err(fields.error("Resource", "a substitution replaces the whole string"));
    }
    Ok(resource)
}

#[cfg(test)]
mod tests;
