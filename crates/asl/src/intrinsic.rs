use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::context::{self, Context};
use crate::error::{self, ExecutionError};
use crate::path::Path;

/// Most characters that `States.Hash` takes.
///
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html>
const HASHED_MAX: usize = 10_000;

/// What a field whose name ends in `.$` may hold: a reference path, or a call of `States.Format` or of `States.Hash` with
/// SHA-256, whose arguments are paths, quoted texts and calls.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Path(Path),
    Text(String),
    /// The texts between the arguments; one more than there are arguments.
    Format {
        pieces: Vec<String>,
        arguments: Vec<Expression>,
    },
    Hash(Box<Expression>),
}

impl Expression {
    /// Reads an expression; the error says what the subset does not know. An item exists only inside a Map.
    pub(crate) fn parse(text: &str, in_map: bool) -> Result<Self, String> {
        if !text.starts_with("States.") {
            return path(text, in_map);
        }
        let (call, rest) = call(text, in_map)?;
        if rest.is_empty() { Ok(call) } else { Err(format!("{rest:?} stands behind the call")) }
    }

    /// The value.
    ///
    /// # Errors
    /// `States.ParameterPathFailure` if a path leads to nothing, `States.IntrinsicFailure` if a function does not take
    /// what it is given.
    pub(crate) fn evaluate(&self, field: &str, input: &Value, context: &Context<'_>) -> Result<Value, ExecutionError> {
        let wrong = |what: &str| {
            let told = format!("state {:?}: the field {field:?} gives {what}", context.state);
            ExecutionError::new(error::INTRINSIC, told)
        };
        match self {
            Self::Text(text) => Ok(Value::from(text.as_str())),
            Self::Path(path) => context.find(path, input).map(std::borrow::Cow::into_owned).ok_or_else(|| {
                let told = format!(
                    "state {:?}: the path {path} of the field {field:?} leads to nothing in the input",
                    context.state
                );
                ExecutionError::new(error::PARAMETER_PATH, told)
            }),
            Self::Format { pieces, arguments } => {
                let mut text = String::new();
                let mut arguments = arguments.iter();
                for piece in pieces {
                    text.push_str(piece);
                    let Some(argument) = arguments.next() else { continue };
                    match argument.evaluate(field, input, context)? {
                        Value::String(given) => text.push_str(&given),
                        given @ (Value::Number(_) | Value::Bool(_)) => text.push_str(&given.to_string()),
                        _ => return Err(wrong("States.Format neither a text nor a number nor a truth value")),
                    }
                }
                Ok(text.into())
            }
            Self::Hash(hashed) => match hashed.evaluate(field, input, context)? {
                Value::String(text) if text.chars().count() <= HASHED_MAX => {
                    let digest = Sha256::digest(text.as_bytes());
                    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
                }
                _ => Err(wrong("States.Hash no text of at most 10,000 characters")),
            },
        }
    }
}

fn path(text: &str, in_map: bool) -> Result<Expression, String> {
    let path = Path::parse(text).map_err(|error| error.to_string())?;
    context::check(&path, in_map)?;
    Ok(Expression::Path(path))
}

/// A call at the beginning of `text`, and what stands behind it.
fn call(text: &str, in_map: bool) -> Result<(Expression, &str), String> {
    let (name, rest) = text.split_once('(').ok_or_else(|| format!("{text:?} is no call"))?;
    let (arguments, rest) = arguments(rest, in_map)?;
    let mut given = arguments.into_iter();
    let called = match (name, given.next(), given.len()) {
        ("States.Format", Some(Expression::Text(template)), count) => {
            if template.contains('\\') {
                return Err("a text with a backslash is outside the subset".to_owned());
            }
            let pieces: Vec<String> = template.split("{}").map(str::to_owned).collect();
            if pieces.len() != count + 1 || pieces.iter().any(|piece| piece.contains(['{', '}'])) {
                return Err(format!("{template:?} has not one `{{}}` for each of {count} arguments"));
            }
            Expression::Format { pieces, arguments: given.collect() }
        }
        ("States.Hash", Some(hashed), 1) => match given.next() {
            Some(Expression::Text(algorithm)) if algorithm == "SHA-256" => Expression::Hash(Box::new(hashed)),
            _ => return Err("States.Hash is in the subset with 'SHA-256' only".to_owned()),
        },
        _ => return Err(format!("{name} with these arguments is outside the subset")),
    };
    Ok((called, rest))
}

/// Arguments up to the closing bracket, and what stands behind that.
fn arguments(mut text: &str, in_map: bool) -> Result<(Vec<Expression>, &str), String> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        let (argument, rest) = if let Some(quoted) = text.strip_prefix('\'') {
            let (quoted, rest) = quoted.split_once('\'').ok_or("a quote is not closed")?;
            (Expression::Text(quoted.to_owned()), rest)
        } else if text.starts_with("States.") {
            call(text, in_map)?
        } else {
            let end = text.find([',', ')']).ok_or("a bracket is not closed")?;
            let (argument, rest) = text.split_at(end);
            (path(argument.trim_end(), in_map)?, rest)
        };
        found.push(argument);
        let rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix(')') {
            return Ok((found, rest));
        }
        text = rest.strip_prefix(',').ok_or("`,` or `)` must follow an argument")?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::context::Execution;

    fn evaluate(text: &str, input: &Value) -> Result<Value, String> {
        let execution = Execution::sample();
        let context = Context { execution: &execution, state: "S", retry_count: 0, item: None };
        let expression = Expression::parse(text, false)?;
        expression.evaluate("x.$", input, &context).map_err(|error| error.error.to_string())
    }

    #[test]
    fn formats_and_hashes() {
        let input = json!({"a": "b c", "n": 7, "deep": {"yes": true}, "list": []});
        let of = |text: &str| evaluate(text, &input);
        assert_eq!(of("States.Format('x-{} {}/{}', $.a, $.n, $.deep.yes)").unwrap(), "x-b c 7/true");
        assert_eq!(of("States.Format('plain')").unwrap(), "plain");
        assert_eq!(of("States.Format('{}', 'a, (quoted)')").unwrap(), "a, (quoted)");
        assert_eq!(of("States.Format( '{}:{}' ,$$.Execution.Name , $['a'] )").unwrap(), "e:b c");
        // `printf abc | sha256sum`
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of("States.Hash('abc', 'SHA-256')").unwrap(), sum);
        assert_eq!(of("States.Format('{}', States.Hash(States.Format('a{}', 'bc'), 'SHA-256'))").unwrap(), sum);
        assert_eq!(of("States.Format('{}', $.none)").unwrap_err(), "States.ParameterPathFailure");
        assert_eq!(of("States.Format('{}', $.list)").unwrap_err(), "States.IntrinsicFailure");
        assert_eq!(of("States.Hash($.n, 'SHA-256')").unwrap_err(), "States.IntrinsicFailure");
        let long = json!({"a": "x".repeat(HASHED_MAX + 1)});
        assert_eq!(evaluate("States.Hash($.a, 'SHA-256')", &long).unwrap_err(), "States.IntrinsicFailure");
    }

    #[test]
    fn refuses_what_is_outside_the_subset() {
        for text in [
            "States.UUID()",
            "States.Format()",
            "States.Format($.a)",
            "States.Format('{}')",
            "States.Format('{} {}', $.a)",
            "States.Format('{', $.a)",
            "States.Format('\\{}', $.a)",
            "States.Format('{}', $.a",
            "States.Format('{}', $.a) ",
            "States.Format('{} $.a)",
            "States.Format('{}' $.a)",
            "States.Format('{}', $..a)",
            "States.Format('{}', 1)",
            "States.Format('{}', $$.Map.Item.Value)",
            "States.Hash($.a, 'MD5')",
            "States.Hash($.a)",
            "States.Hash($.a, $.b)",
            "States.",
            "'text'",
        ] {
            assert!(Expression::parse(text, false).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "States\\.(Format|Hash)[(), '{}$.a-]{0,20}") {
            let _ = Expression::parse(&text, true);
        }
    }
}
