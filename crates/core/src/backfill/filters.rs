//! Which objects of a source are meant.

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
        Ok(())
    }
}
