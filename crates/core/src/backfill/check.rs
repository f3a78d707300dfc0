//! What a look at both sides of a route found before a run begins.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Where.
    pub side: CheckedSide,
    /// What, in a word or two.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen, and what it means. Without secrets.
    pub told: String,
}

/// Where a [`Check`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckedSide {
    /// The source of a route.
    Source,
    /// Its destination.
    Destination,
    /// How the two fit.
    Both,
}

/// How a [`Check`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it has to be.
    Ok,
    /// The run goes on; some objects, or some promises, may suffer.
    Warning,
    /// No object could be migrated, so the run does not begin.
    Failed,
    /// It could not be told.
    Unknown,
}

/// The checks of one route: an element of the object at [`super::run::checks_key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteChecks {
    /// The route's name.
    pub route: String,
    /// What was found.
    pub checks: Vec<Check>,
}

impl Check {
    /// A check with its verdict.
    pub fn new(side: CheckedSide, name: &str, verdict: Verdict, told: impl Into<String>) -> Self {
        Self { side, name: name.to_owned(), verdict, told: told.into() }
    }
}

impl fmt::Display for CheckedSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the source",
            Self::Destination => "the destination",
            Self::Both => "the route",
        })
    }
}

/// One line for the first check that failed; `None` where none did.
pub fn fatal(checks: &[Check]) -> Option<String> {
    let failed = checks.iter().find(|check| check.verdict == Verdict::Failed)?;
    Some(format!("preflight of {} ({}): {}", failed.side, failed.name, failed.told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_check_is_fatal() {
        let check = |verdict| Check::new(CheckedSide::Destination, "list", verdict, "told");
        assert_eq!(fatal(&[check(Verdict::Ok), check(Verdict::Warning), check(Verdict::Unknown)]), None);
        let line = fatal(&[check(Verdict::Ok), check(Verdict::Failed)]);
        assert_eq!(line.as_deref(), Some("preflight of the destination (list): told"));
    }
}
