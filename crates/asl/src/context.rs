use std::borrow::Cow;

use serde_json::Value;

use crate::error::ExecutionError;
use crate::path::{Path, Segment, walk};

/// What `$$.Execution` and `$$.StateMachine` hold.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state_machine_id: String,
    pub(crate) start_time: String,
    pub(crate) input: Value,
}

#[cfg(test)]
impl Execution {
    /// Any one.
    pub(crate) fn sample() -> Self {
        Self {
            id: "arn:e".into(),
            name: "e".into(),
            state_machine_id: "arn:m".into(),
            start_time: String::new(),
            input: Value::Null,
        }
    }
}

/// What `$$.Map.Item` holds.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) value: Value,
}

/// What `$$` holds while one state runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) execution: &'a Execution,
    pub(crate) state: &'a str,
    pub(crate) retry_count: u32,
    pub(crate) item: Option<&'a Item>,
}

impl<'a> Context<'a> {
    pub(crate) fn find<'v>(&self, path: &Path, input: &'v Value) -> Option<Cow<'v, Value>>
    where
        'a: 'v,
    {
        if !path.is_context() {
            return walk(input, path.segments()).map(Cow::Borrowed);
        }
        let names: Vec<&str> = path
            .segments()
            .iter()
            .map_while(|segment| match segment {
                Segment::Key(key) => Some(key.as_str()),
                Segment::Index(_) => None,
            })
            .collect();
        let text = |text: &str| Some(Cow::Owned(Value::from(text)));
        match names.as_slice() {
            ["Execution", "Id"] => text(&self.execution.id),
            ["Execution", "Name"] => text(&self.execution.name),
            ["Execution", "StartTime"] => text(&self.execution.start_time),
            ["StateMachine", "Id"] => text(&self.execution.state_machine_id),
            ["State", "Name"] => text(self.state),
            ["State", "RetryCount"] => Some(Cow::Owned(self.retry_count.into())),
            ["Execution", "Input", ..] => walk(&self.execution.input, &path.segments()[2..]).map(Cow::Borrowed),
            ["Map", "Item", "Index"] => self.item.map(|item| Cow::Owned(item.index.into())),
            ["Map", "Item", "Value", ..] => walk(&self.item?.value, &path.segments()[3..]).map(Cow::Borrowed),
            _ => None,
        }
    }

    /// As [`Context::find`], for fields whose missing value no state can catch.
    pub(crate) fn must_find<'v>(
        &self,
        field: &str,
        path: &Path,
        input: &'v Value,
    ) -> Result<Cow<'v, Value>, ExecutionError>
    where
        'a: 'v,
    {
        self.find(path, input).ok_or_else(|| {
            ExecutionError::runtime(format!("state {:?}: the {field} {path} leads to nothing in the input", self.state))
        })
    }
}

/// Refuses a context path that names nothing the subset has. An item exists only inside a Map.
pub(crate) fn check(path: &Path, in_map: bool) -> Result<(), String> {
    if !path.is_context() {
        return Ok(());
    }
    let keys: Vec<Option<&str>> = path
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
        .collect();
    match keys.as_slice() {
        [Some("Execution"), Some("Id" | "Name" | "StartTime")]
        | [Some("StateMachine"), Some("Id")]
        | [Some("State"), Some("Name" | "RetryCount")]
        | [Some("Execution"), Some("Input"), ..] => Ok(()),
        [Some("Map"), Some("Item"), Some("Index")] | [Some("Map"), Some("Item"), Some("Value"), ..] => {
            if in_map {
                Ok(())
            } else {
                Err(format!("{path} stands outside a Map"))
            }
        }
        _ => Err(format!("the context path {path} is outside the subset")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_what_check_admits() {
        let execution = Execution {
            id: "id".into(),
            name: "name".into(),
            state_machine_id: "machine".into(),
            start_time: "2026-11-22T00:00:00Z".into(),
            input: json!({"a": [1]}),
        };
        let item = Item { index: 3, value: json!({"k": "v"}) };
        let context = Context { execution: &execution, state: "S", retry_count: 2, item: Some(&item) };
        for (text, want) in [
            ("$$.Execution.Id", json!("id")),
            ("$$.Execution.Name", json!("name")),
            ("$$.Execution.StartTime", json!("2026-11-22T00:00:00Z")),
            ("$$.Execution.Input", json!({"a": [1]})),
            ("$$.Execution.Input.a[0]", json!(1)),
            ("$$.StateMachine.Id", json!("machine")),
            ("$$.State.Name", json!("S")),
            ("$$.State.RetryCount", json!(2)),
            ("$$.Map.Item.Index", json!(3)),
            ("$$.Map.Item.Value.k", json!("v")),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(check(&path, true), Ok(()), "{text}");
            assert_eq!(context.find(&path, &Value::Null).unwrap().into_owned(), want, "{text}");
        }
        for text in ["$$", "$$.Execution", "$$.Execution.RoleArn", "$$.Task.Token", "$$.Map.Item", "$$.Execution[0]"] {
            let path = Path::parse(text).unwrap();
            assert!(check(&path, true).is_err(), "{text}");
            assert!(context.find(&path, &Value::Null).is_none(), "{text}");
        }
        assert!(check(&Path::parse("$$.Map.Item.Index").unwrap(), false).is_err());
    }
}
