use std::fmt;

use serde_json::{Map, Value};

/// A reference path: `$`, `$.a.b`, `$.a[0]`, `$['a']`, or the same under `$$` for the context.
///
/// It names at most one value; wildcards, filters, slices and descents are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    context: bool,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// Why a text is no reference path of the subset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError(String);

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PathError {}

impl Path {
    /// Reads a reference path.
    ///
    /// # Errors
    /// A [`PathError`] naming what the subset does not know.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let refuse = |why: &str| PathError(format!("{text:?} is not a reference path: {why}"));
        if text.starts_with("States.") {
            return Err(refuse("no intrinsic function stands here"));
        }
        let Some(after) = text.strip_prefix('$') else {
            return Err(refuse("it does not begin with `$`"));
        };
        let (context, mut rest) = match after.strip_prefix('$') {
            Some(rest) => (true, rest),
            None => (false, after),
        };
        let mut segments = Vec::new();
        while !rest.is_empty() {
            if let Some(name) = rest.strip_prefix('.') {
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, tail) = name.split_at(end);
                if name.is_empty() {
                    return Err(refuse("a name is empty, or descends with `..`"));
                }
                if !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
                    return Err(refuse("a name outside quotes holds letters, digits, `_` and `-` only"));
                }
                segments.push(Segment::Key(name.to_owned()));
                rest = tail;
            } else if let Some(quoted) = rest.strip_prefix("['") {
                let Some((name, tail)) = quoted.split_once('\'') else {
                    return Err(refuse("a quote is not closed"));
                };
                let Some(tail) = tail.strip_prefix(']') else {
                    return Err(refuse("one quoted name stands between brackets"));
                };
                if name.is_empty() || name.contains('\\') {
                    return Err(refuse("a quoted name is not empty and holds no backslash"));
                }
                segments.push(Segment::Key(name.to_owned()));
                rest = tail;
            } else if let Some(index) = rest.strip_prefix('[') {
                let Some((index, tail)) = index.split_once(']') else {
                    return Err(refuse("a bracket is not closed"));
                };
                if index.is_empty() || !index.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(refuse("brackets hold an index or a quoted name"));
                }
                let index = index.parse().map_err(|_| refuse("an index is too large"))?;
                segments.push(Segment::Index(index));
                rest = tail;
            } else {
                return Err(refuse("`.` or `[` must follow"));
            }
        }
        Ok(Self { text: text.to_owned(), context, segments })
    }

    pub(crate) fn root() -> Self {
        Self { text: "$".to_owned(), context: false, segments: Vec::new() }
    }

    /// The path as it stands in the definition.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it points into the context (`$$`) rather than into the input.
    #[must_use]
    pub fn is_context(&self) -> bool {
        self.context
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The `raw` input with `result` put where this path points; objects on the way are made.
    /// `None` if something else than an object, or an array without that index, is in the way.
    pub(crate) fn put(&self, mut raw: Value, result: Value) -> Option<Value> {
        let mut place = &mut raw;
        for segment in &self.segments {
            place = match (segment, place) {
                (Segment::Key(key), Value::Object(entries)) => {
                    entries.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()))
                }
                (Segment::Index(index), Value::Array(items)) => items.get_mut(*index)?,
                _ => return None,
            };
        }
        *place = result;
        Some(raw)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The value that `segments` lead to.
pub(crate) fn walk<'v>(mut value: &'v Value, segments: &[Segment]) -> Option<&'v Value> {
    for segment in segments {
        value = match segment {
            Segment::Key(key) => value.as_object()?.get(key)?,
            Segment::Index(index) => value.as_array()?.get(*index)?,
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn find(text: &str, value: &Value) -> Option<Value> {
        walk(value, Path::parse(text).unwrap().segments()).cloned()
    }

    #[test]
    fn finds() {
        let value = json!({"a": {"b": [10, {"c d": null}]}, "größe": 1});
        assert_eq!(find("$", &value), Some(value.clone()));
        assert_eq!(find("$.a.b[0]", &value), Some(json!(10)));
        assert_eq!(find("$['a'].b[1]['c d']", &value), Some(Value::Null));
        assert_eq!(find("$.größe", &value), Some(json!(1)));
        for missing in ["$.x", "$.a.b[2]", "$.a[0]", "$.a.b.c", "$.größe.x"] {
            assert_eq!(find(missing, &value), None, "{missing}");
        }
        assert!(Path::parse("$$.Execution.Id").unwrap().is_context());
    }

    #[test]
    fn refuses_what_is_outside_the_subset() {
        for text in [
            "",
            "a",
            "$a",
            "$..a",
            "$.",
            "$.a.",
            "$.*",
            "$[*]",
            "$[-1]",
            "$[0:2]",
            "$[?(@.a)]",
            "$.a b",
            "$['a','b']",
            "$['a'",
            "$['']",
            "$[0",
            "$[99999999999999999999999]",
            "$[\"a\"]",
            "$.a[]",
            "$.a.length()",
            "States.UUID()",
            "$['a\\b']",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn puts() {
        let put = |text: &str, raw: Value| Path::parse(text).unwrap().put(raw, json!(7));
        assert_eq!(put("$", json!({"a": 1})), Some(json!(7)));
        assert_eq!(put("$.b", json!({"a": 1})), Some(json!({"a": 1, "b": 7})));
        assert_eq!(put("$.a.b.c", json!({"a": {}})), Some(json!({"a": {"b": {"c": 7}}})));
        assert_eq!(put("$.a[1]", json!({"a": [1, 2]})), Some(json!({"a": [1, 7]})));
        assert_eq!(put("$.a", json!([1])), None);
        assert_eq!(put("$.a.b", json!({"a": 1})), None);
        assert_eq!(put("$.a[2]", json!({"a": [1, 2]})), None);
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in ".*") {
            let _ = Path::parse(&text);
        }

        #[test]
        fn parse_never_panics_on_near_paths(text in "\\$[$.\\[\\]'a0*?@ü-]{0,12}") {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(path.as_str(), text);
            }
        }

        #[test]
        fn what_is_put_is_found(keys in proptest::collection::vec("[a-z]{1,3}", 1..4)) {
            let path = Path::parse(&format!("$.{}", keys.join("."))).unwrap();
            let put = path.put(json!({}), json!("here")).unwrap();
            prop_assert_eq!(walk(&put, path.segments()), Some(&json!("here")));
        }
    }
}
