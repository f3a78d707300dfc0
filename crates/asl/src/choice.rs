use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::context::Context;
use crate::error::{DefinitionError, ExecutionError};
use crate::fields::Fields;
use crate::json::Json;
use crate::path::Path;

/// One rule of a `Choice` state.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The rule's `Comment`.
    pub comment: Option<String>,
    /// What must hold.
    pub condition: Condition,
    /// The state that follows then.
    pub next: String,
}

/// What a rule asks.
#[derive(Clone, Debug)]
pub enum Condition {
    /// One variable against one operator.
    Test {
        /// Where the value stands.
        variable: Path,
        /// What is asked of it.
        operator: Operator,
    },
    /// Every condition holds.
    And(Vec<Condition>),
    /// At least one condition holds.
    Or(Vec<Condition>),
    /// The condition does not hold.
    Not(Box<Condition>),
}

/// What is asked of a variable. A value of another type never matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// The value is this string.
    StringEquals(String),
    /// The value is this boolean.
    BooleanEquals(bool),
    /// The value is this number.
    NumericEquals(Number),
    /// The value is greater.
    NumericGreaterThan(Number),
    /// The value is greater or the same.
    NumericGreaterThanEquals(Number),
    /// The value is less.
    NumericLessThan(Number),
    /// The value is less or the same.
    NumericLessThanEquals(Number),
    /// Whether there is a value.
    IsPresent(bool),
    /// Whether the value is `null`.
    IsNull(bool),
}

const TEST_FIELDS: [&str; 9] = [
    "StringEquals",
    "BooleanEquals",
    "NumericEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "IsPresent",
    "IsNull",
];

impl Operator {
    /// The operator's name in a definition.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::StringEquals(_) => "StringEquals",
            Self::BooleanEquals(_) => "BooleanEquals",
            Self::NumericEquals(_) => "NumericEquals",
            Self::NumericGreaterThan(_) => "NumericGreaterThan",
            Self::NumericGreaterThanEquals(_) => "NumericGreaterThanEquals",
            Self::NumericLessThan(_) => "NumericLessThan",
            Self::NumericLessThanEquals(_) => "NumericLessThanEquals",
            Self::IsPresent(_) => "IsPresent",
            Self::IsNull(_) => "IsNull",
        }
    }

    /// The value that the definition compares with.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            Self::StringEquals(text) => text.as_str().into(),
            Self::BooleanEquals(flag) | Self::IsPresent(flag) | Self::IsNull(flag) => (*flag).into(),
            Self::NumericEquals(number)
            | Self::NumericGreaterThan(number)
            | Self::NumericGreaterThanEquals(number)
            | Self::NumericLessThan(number)
            | Self::NumericLessThanEquals(number) => Value::Number(number.clone()),
        }
    }

    fn parse(name: &str, value: &Json) -> Option<Self> {
        let Json::Scalar(value) = value else { return None };
        let number = || match value {
            Value::Number(number) => Some(number.clone()),
            _ => None,
        };
        match name {
            "StringEquals" => value.as_str().map(|text| Self::StringEquals(text.to_owned())),
            "BooleanEquals" => value.as_bool().map(Self::BooleanEquals),
            "IsPresent" => value.as_bool().map(Self::IsPresent),
            "IsNull" => value.as_bool().map(Self::IsNull),
            "NumericEquals" => number().map(Self::NumericEquals),
            "NumericGreaterThan" => number().map(Self::NumericGreaterThan),
            "NumericGreaterThanEquals" => number().map(Self::NumericGreaterThanEquals),
            "NumericLessThan" => number().map(Self::NumericLessThan),
            "NumericLessThanEquals" => number().map(Self::NumericLessThanEquals),
            _ => None,
        }
    }

    fn holds(&self, value: &Value) -> bool {
        let order = |other: &Number| match value {
            Value::Number(number) => compare(number, other),
            _ => None,
        };
        match self {
            Self::StringEquals(text) => value.as_str() == Some(text),
            Self::BooleanEquals(flag) => value.as_bool() == Some(*flag),
            Self::NumericEquals(other) => order(other) == Some(Ordering::Equal),
            Self::NumericGreaterThan(other) => order(other) == Some(Ordering::Greater),
            Self::NumericGreaterThanEquals(other) => order(other).is_some_and(Ordering::is_ge),
            Self::NumericLessThan(other) => order(other) == Some(Ordering::Less),
            Self::NumericLessThanEquals(other) => order(other).is_some_and(Ordering::is_le),
            Self::IsPresent(flag) => *flag,
            Self::IsNull(flag) => value.is_null() == *flag,
        }
    }
}

/// Integers are compared as such: sizes of objects outgrow the 53 bits of a float.
fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    let integer = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

impl Rule {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, DefinitionError> {
        Ok(Self {
            comment: fields.text("Comment")?,
            condition: Condition::parse(fields, &["Comment", "Next"])?,
            next: fields.require_text("Next")?,
        })
    }
}

impl Condition {
    /// Reads a condition whose object may also hold the fields `beside` it.
    fn parse(fields: &Fields<'_>, beside: &[&str]) -> Result<Self, DefinitionError> {
        let mut asked = fields.names().filter(|name| !beside.contains(name) && *name != "Variable");
        let name = asked.next().ok_or_else(|| fields.error("", "asks nothing"))?;
        if let Some(other) = asked.next() {
            return Err(fields.error(other, format!("stands beside {name}: a rule asks one thing")));
        }
        let nested = |inner: Fields<'_>| Self::parse(&inner, &[]);
        let list = || {
            let conditions = fields.objects(name)?.into_iter().map(nested).collect::<Result<Vec<_>, _>>()?;
            if conditions.is_empty() {
                return Err(fields.error(name, "must not be empty"));
            }
            Ok(conditions)
        };
        if TEST_FIELDS.contains(&name) {
            let variable = fields.path("Variable")?.ok_or_else(|| fields.error("Variable", "is missing"))?;
            let operator = Operator::parse(name, fields.require(name)?)
                .ok_or_else(|| fields.error(name, "holds a value of another type"))?;
            return Ok(Self::Test { variable, operator });
        }
        if fields.get("Variable").is_some() && matches!(name, "And" | "Or" | "Not") {
            return Err(fields.error("Variable", format!("stands beside {name}")));
        }
        match name {
            "And" => list().map(Self::And),
            "Or" => list().map(Self::Or),
            "Not" => {
                let inner = fields.object(name)?.ok_or_else(|| fields.error(name, "is missing"))?;
                nested(inner).map(|condition| Self::Not(Box::new(condition)))
            }
            _ => Err(fields.error(name, "outside the subset")),
        }
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// `States.Runtime` if a variable leads to nothing and the question is not `IsPresent`.
    pub(crate) fn holds(&self, input: &Value, context: &Context<'_>) -> Result<bool, ExecutionError> {
        match self {
            Self::Test { variable, operator: Operator::IsPresent(flag) } => {
                Ok(context.find(variable, input).is_some() == *flag)
            }
            Self::Test { variable, operator } => {
                Ok(operator.holds(context.must_find("Variable", variable, input)?.as_ref()))
            }
            Self::And(conditions) => {
                for condition in conditions {
                    if !condition.holds(input, context)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(conditions) => {
                for condition in conditions {
                    if condition.holds(input, context)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(condition) => condition.holds(input, context).map(|holds| !holds),
        }
    }

    /// Every variable asked about, with its operator, through `And`, `Or` and `Not`.
    #[must_use]
    pub fn tests(&self) -> Vec<(&Path, &Operator)> {
        match self {
            Self::Test { variable, operator } => vec![(variable, operator)],
            Self::And(conditions) | Self::Or(conditions) => conditions.iter().flat_map(Self::tests).collect(),
            Self::Not(condition) => condition.tests(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::context::Execution;

    fn parse(rule: &Value) -> Result<Rule, DefinitionError> {
        let json: Json = serde_json::from_str(&rule.to_string()).unwrap();
        Rule::parse(&Fields::of("S", false, &json)?)
    }

    fn asks(mut rule: Value, input: &Value) -> Result<bool, ExecutionError> {
        rule["Next"] = "N".into();
        let execution = Execution {
            id: String::new(),
            name: String::new(),
            state_machine_id: String::new(),
            start_time: String::new(),
            input: Value::Null,
        };
        let context = Context { execution: &execution, state: "S", retry_count: 0, item: None };
        parse(&rule).unwrap().condition.holds(input, &context)
    }

    #[test]
    fn operators() {
        let input = json!({"s": "a", "n": 5, "big": 9_007_199_254_740_993_u64, "f": 1.5, "b": true, "z": null});
        for (rule, want) in [
            (json!({"Variable": "$.s", "StringEquals": "a"}), true),
            (json!({"Variable": "$.s", "StringEquals": "b"}), false),
            (json!({"Variable": "$.n", "StringEquals": "5"}), false),
            (json!({"Variable": "$.b", "BooleanEquals": true}), true),
            (json!({"Variable": "$.s", "BooleanEquals": true}), false),
            (json!({"Variable": "$.n", "NumericEquals": 5.0}), true),
            (json!({"Variable": "$.big", "NumericEquals": 9_007_199_254_740_992_u64}), false),
            (json!({"Variable": "$.n", "NumericGreaterThan": 5}), false),
            (json!({"Variable": "$.n", "NumericGreaterThanEquals": 5}), true),
            (json!({"Variable": "$.f", "NumericLessThan": 2}), true),
            (json!({"Variable": "$.f", "NumericLessThanEquals": 1}), false),
            (json!({"Variable": "$.s", "NumericLessThan": 1}), false),
            (json!({"Variable": "$.x", "IsPresent": true}), false),
            (json!({"Variable": "$.x", "IsPresent": false}), true),
            (json!({"Variable": "$.z", "IsPresent": true}), true),
            (json!({"Variable": "$.z", "IsNull": true}), true),
            (json!({"Variable": "$.s", "IsNull": false}), true),
            (json!({"Not": {"Variable": "$.n", "NumericEquals": 5}}), false),
            (json!({"And": [{"Variable": "$.x", "IsPresent": true}, {"Variable": "$.x", "NumericEquals": 1}]}), false),
            (json!({"Or": [{"Variable": "$.n", "NumericEquals": 1}, {"Variable": "$.s", "StringEquals": "a"}]}), true),
        ] {
            assert_eq!(asks(rule.clone(), &input).unwrap(), want, "{rule}");
        }
    }

    #[test]
    fn a_missing_variable_is_a_runtime_error() {
        let error = asks(json!({"Variable": "$.x", "StringEquals": "a"}), &json!({})).unwrap_err();
        assert_eq!(error.error, "States.Runtime");
    }

    #[test]
    fn refuses() {
        for (rule, field) in [
            (json!({"Variable": "$.a", "Next": "N"}), ""),
            (json!({"StringEquals": "a", "Next": "N"}), "Variable"),
            (json!({"Variable": "$.a", "StringEquals": 1, "Next": "N"}), "StringEquals"),
            (json!({"Variable": "$.a", "StringMatches": "a*", "Next": "N"}), "StringMatches"),
            (json!({"Variable": "$.a", "StringEqualsPath": "$.b", "Next": "N"}), "StringEqualsPath"),
            (json!({"Variable": "$.a[*]", "IsNull": true, "Next": "N"}), "Variable"),
            (json!({"And": [], "Next": "N"}), "And"),
            (json!({"And": [{"Variable": "$.a", "IsNull": true, "Next": "M"}], "Next": "N"}), "And[0].Next"),
            (json!({"Variable": "$.a", "IsNull": true}), "Next"),
        ] {
            assert_eq!(parse(&rule).unwrap_err().field, field, "{rule}");
        }
        let two = parse(&json!({"Variable": "$.a", "IsNull": true, "IsPresent": true, "Next": "N"}));
        assert!(two.unwrap_err().message.contains("one thing"));
    }

    #[test]
    fn shows_its_tests() {
        let rule = parse(&json!({
            "Or": [{"Not": {"Variable": "$.a", "IsNull": true}}, {"Variable": "$.b", "NumericEquals": 2}],
            "Next": "N"
        }))
        .unwrap();
        let tests: Vec<_> =
            rule.condition.tests().iter().map(|(v, o)| (v.as_str().to_owned(), o.name(), o.value())).collect();
        assert_eq!(tests, [("$.a".into(), "IsNull", json!(true)), ("$.b".into(), "NumericEquals", json!(2))]);
    }
}
