//! Which objects of a source are meant.
//!
//! A pattern must match the whole key behind the route's source prefix. `*` is any number of characters, `/` among them
//! (as in `aws s3 sync --exclude`), `?` is one character, `[a-z]` and `[!a-z]` are one of, or none of, these, `{a,b}` is
//! either, and `\` takes the next character as it is. `**/` at the beginning or between slashes is also nothing at all:
//! `**/x` matches `x`. Case matters. Keys are opaque: `//`, `..` and a slash at either end are characters as any other.

use globset::GlobBuilder;
use regex::{RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

/// Which objects are meant. Patterns are globs over the key behind the route's source prefix; `*` also crosses `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Filters {
    /// Only keys that match one of these; every key where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// No key that matches one of these, even if it is included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// No object of fewer bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<u64>,
    /// No object of more bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Only objects last modified at or after this time, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_after: Option<i64>,
    /// Only objects last modified before this time, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_before: Option<i64>,
}

impl Filters {
    /// True if every object passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Says what is wrong with a pattern or a window.
    pub fn check(&self) -> Result<(), String> {
        if self.min_size.zip(self.max_size).is_some_and(|(least, most)| least > most) {
            return Err("minSize is above maxSize".into());
        }
        if self.modified_after.zip(self.modified_before).is_some_and(|(after, before)| after >= before) {
            return Err("modifiedAfter is not before modifiedBefore".into());
        }
        Matcher::new(self).map(drop)
    }
}

/// Bytes that the compiled patterns of one list may take: thousands of them.
const PATTERNS_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Filters, ready to be asked about many keys.
#[derive(Clone, Debug)]
pub struct Matcher {
    include: Option<RegexSet>,
    exclude: Option<RegexSet>,
    filters: Filters,
}

impl Matcher {
    /// Reads the patterns; the error names the one that is none.
    pub fn new(filters: &Filters) -> Result<Self, String> {
        Ok(Self {
            include: compiled("include", &filters.include)?,
            exclude: compiled("exclude", &filters.exclude)?,
            filters: Filters { include: Vec::new(), exclude: Vec::new(), ..filters.clone() },
        })
    }

    /// True if the object is meant: its key behind the route's source prefix, its size in bytes, and when it was last
    /// modified, in seconds since 1970.
    ///
    /// What is not known of it is not held against it: a key of a list without sizes passes `minSize`.
    pub fn passes(&self, key_behind_prefix: &str, size: Option<u64>, modified: Option<i64>) -> bool {
        let Filters { min_size, max_size, modified_after, modified_before, .. } = &self.filters;
        let sized =
            size.is_none_or(|size| min_size.is_none_or(|min| size >= min) && max_size.is_none_or(|max| size <= max));
        let timed = modified.is_none_or(|time| {
            modified_after.is_none_or(|after| time >= after) && modified_before.is_none_or(|before| time < before)
        });
        sized
            && timed
            && self.include.as_ref().is_none_or(|set| set.is_match(key_behind_prefix))
            && self.exclude.as_ref().is_none_or(|set| !set.is_match(key_behind_prefix))
    }
}

/// All patterns of a list as one automaton; `None` for an empty list.
fn compiled(list: &str, patterns: &[String]) -> Result<Option<RegexSet>, String> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let expressions: Vec<String> = patterns
        .iter()
        .map(|pattern| expression(pattern).map_err(|told| format!("{list} pattern {pattern:?}: {told}")))
        .collect::<Result<_, _>>()?;
    let set = RegexSetBuilder::new(expressions).dot_matches_new_line(true).size_limit(PATTERNS_MAX_BYTES).build();
    set.map(Some).map_err(|error| format!("the {list} patterns together: {error}"))
}

/// A pattern as a regular expression over characters.
fn expression(pattern: &str) -> Result<String, String> {
    if pattern.is_empty() {
        return Err("it is empty".into());
    }
    let mut glob = GlobBuilder::new(pattern);
    glob.literal_separator(false).backslash_escape(true).empty_alternates(true).case_insensitive(false);
    let glob = glob.build().map_err(|error| error.kind().to_string())?;
    let expression = over_characters(glob.regex())?;
    RegexBuilder::new(&expression).size_limit(PATTERNS_MAX_BYTES).build().map_err(|error| error.to_string())?;
    Ok(expression)
}

/// `globset` matches bytes, so that its `?` and its classes would take a character beyond ASCII apart. Its expression
/// spells such a character as escaped bytes of UTF-8: here they become the character again.
fn over_characters(expression: &str) -> Result<String, String> {
    let mut rest = expression.strip_prefix("(?-u)").ok_or_else(|| format!("an expression of its own: {expression}"))?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some(next) = rest.chars().next() {
        let escape = if next == '\\' { rest.get(..4).and_then(|escape| escape.strip_prefix("\\x")) } else { None };
        let taken = match (escape.map(|digits| u8::from_str_radix(digits, 16)), next) {
            (Some(Ok(byte)), _) => {
                bytes.push(byte);
                4
            }
            // An escaped character of ASCII.
            (_, '\\') => {
                let pair = 1 + rest.chars().nth(1).map_or(0, char::len_utf8);
                bytes.extend_from_slice(&rest.as_bytes()[..pair]);
                pair
            }
            _ => {
                bytes.extend_from_slice(&rest.as_bytes()[..next.len_utf8()]);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// The exclude patterns of a list in a text: one a line, blank lines and those that begin with `#` left out. A pattern
/// that begins with `#` is written `\#`. Spaces belong to the pattern; a carriage return at the end of a line does not.
///
/// The error names the line.
pub fn ignore_list(text: &str) -> Result<Vec<String>, String> {
    let mut patterns = Vec::new();
    for (number, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        expression(line).map_err(|told| format!("line {number}, pattern {line:?}: {told}"))?;
        patterns.push(line.to_owned());
    }
    Ok(patterns)
}

#[cfg(test)]
#[path = "filters_tests.rs"]
mod tests;
