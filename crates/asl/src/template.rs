use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::ExecutionError;
use crate::intrinsic::Expression;
use crate::json::Json;

/// A payload template: `Parameters`, `ItemSelector` or `ResultSelector`.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// As it stands in the definition.
    pub(crate) source: Value,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Literal(Value),
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Expression { key: String, expression: Expression },
}

impl Template {
    /// Reads a template; the error names the key at fault.
    pub(crate) fn parse(json: &Json, in_map: bool) -> Result<Self, String> {
        if !matches!(json, Json::Object(_)) {
            return Err("a payload template is an object".to_owned());
        }
        Ok(Self { source: json.to_value(), node: compile(json, in_map)? })
    }

    /// Fills the template in.
    ///
    /// # Errors
    /// `States.ParameterPathFailure` if a path leads to nothing; `States.IntrinsicFailure` if a function does not take what
    /// it is given.
    pub(crate) fn render(&self, input: &Value, context: &Context<'_>) -> Result<Value, ExecutionError> {
        self.node.render(input, context)
    }
}

fn compile(json: &Json, in_map: bool) -> Result<Node, String> {
    match json {
        Json::Scalar(value) => Ok(Node::Literal(value.clone())),
        Json::Array(items) => items.iter().map(|item| compile(item, in_map)).collect::<Result<_, _>>().map(Node::Array),
        Json::Object(entries) => {
            let mut nodes: Vec<(String, Node)> = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let (name, node) = match key.strip_suffix(".$") {
                    None => (key.as_str(), compile(value, in_map)?),
                    Some(name) => {
                        let text = value.as_str().ok_or(format!("{key:?} must hold a path or a call"))?;
                        let expression =
                            Expression::parse(text, in_map).map_err(|error| format!("{key:?}: {error}"))?;
                        (name, Node::Expression { key: key.clone(), expression })
                    }
                };
                if nodes.iter().any(|(other, _)| other == name) {
                    return Err(format!("{name:?} is given twice, with and without `.$`"));
                }
                nodes.push((name.to_owned(), node));
            }
            Ok(Node::Object(nodes))
        }
    }
}

impl Node {
    fn render(&self, input: &Value, context: &Context<'_>) -> Result<Value, ExecutionError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Array(items) => items.iter().map(|item| item.render(input, context)).collect(),
            Self::Object(entries) => {
                let mut object = Map::new();
                for (key, node) in entries {
                    object.insert(key.clone(), node.render(input, context)?);
                }
                Ok(Value::Object(object))
            }
            Self::Expression { key, expression } => expression.evaluate(key, input, context),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::context::Execution;

    fn parse(value: &Value) -> Result<Template, String> {
        Template::parse(&serde_json::from_str(&value.to_string()).unwrap(), false)
    }

    fn render(template: &Value, input: &Value) -> Result<Value, ExecutionError> {
        let execution = Execution::sample();
        let context = Context { execution: &execution, state: "S", retry_count: 0, item: None };
        parse(template).unwrap().render(input, &context)
    }

    #[test]
    fn renders() {
        let template = json!({
            "next": "plan", "all.$": "$", "deep": {"list": [{"x.$": "$.a[0]"}, "$.a"]}, "id.$": "$$.Execution.Id"
        });
        assert_eq!(
            render(&template, &json!({"a": [5]})).unwrap(),
            json!({"next": "plan", "all": {"a": [5]}, "deep": {"list": [{"x": 5}, "$.a"]}, "id": "arn:e"})
        );
        let error = render(&json!({"x.$": "$.b"}), &json!({"a": 1})).unwrap_err();
        assert_eq!(error.error, "States.ParameterPathFailure");
        assert!(error.cause.contains("$.b") && error.cause.contains("x.$"), "{error}");
    }

    #[test]
    fn refuses() {
        for template in [
            json!([]),
            json!("$.a"),
            json!({"x.$": 1}),
            json!({"x.$": "States.UUID()"}),
            json!({"x.$": "a"}),
            json!({"x.$": "$..a"}),
            json!({"a": [{"x.$": "$$.Task.Token"}]}),
            json!({"x.$": "$$.Map.Item.Value"}),
            json!({"x.$": "$.a", "x": 1}),
        ] {
            assert!(parse(&template).is_err(), "{template}");
        }
    }
}
