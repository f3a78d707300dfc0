//! The error names that Step Functions matches, and what each one means.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a step or an object failed. The name is what a `Retry` or a `Catch` of the state machine matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorName {
    /// A timeout, a 5xx, a reset: the same request may succeed later.
    Transient,
    /// The service asks for fewer requests (`SlowDown`, 503, a throttled table).
    Throttled,
    /// The source is no longer the version that was planned.
    SourceChanged,
    /// The source object does not exist.
    SourceGone,
    /// The destination is no longer what was seen before the write.
    DestinationChanged,
    /// The multipart upload does not exist any more, and the destination does not hold our object.
    UploadGone,
    /// A digest, an ETag or a length differs after the engine's own retries.
    ChecksumMismatch,
    /// Two rounds without progress, or a part that cannot be copied in one invocation.
    TooSlow,
    /// Access denied, no such bucket, archived, bad request: repeating it cannot help.
    Rejected,
    /// A panic or a broken invariant: our fault.
    Bug,
}

impl ErrorName {
    /// Every name, for the contract test.
    pub const ALL: [ErrorName; 10] = [
        Self::Transient,
        Self::Throttled,
        Self::SourceChanged,
        Self::SourceGone,
        Self::DestinationChanged,
        Self::UploadGone,
        Self::ChecksumMismatch,
        Self::TooSlow,
        Self::Rejected,
        Self::Bug,
    ];

    /// The name as Step Functions sees it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "Transient",
            Self::Throttled => "Throttled",
            Self::SourceChanged => "SourceChanged",
            Self::SourceGone => "SourceGone",
            Self::DestinationChanged => "DestinationChanged",
            Self::UploadGone => "UploadGone",
            Self::ChecksumMismatch => "ChecksumMismatch",
            Self::TooSlow => "TooSlow",
            Self::Rejected => "Rejected",
            Self::Bug => "Bug",
        }
    }

    /// True if repeating the same request later may succeed.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled)
    }

    /// The name behind `text`, if it is one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest failure message kept, in bytes: payloads, ledger items and messages carry it.
pub const MESSAGE_MAX_BYTES: usize = 1024;

/// A failure as the ledger, the failed queue and the outcome object name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// An [`ErrorName`], or a name of AWS's own such as `States.Timeout`.
    pub name: String,
    /// What happened, at most [`MESSAGE_MAX_BYTES`] bytes.
    pub message: String,
}

impl Failure {
    /// A failure whose message is cut to [`MESSAGE_MAX_BYTES`] at a character boundary.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > MESSAGE_MAX_BYTES {
            let mut end = MESSAGE_MAX_BYTES;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
        }
        Self { name: name.into(), message }
    }
}

/// What Step Functions hands to a `Catch`: `{"Error": …, "Cause": …}`.
///
/// For a Lambda function the cause is a JSON document with `errorMessage`; for other errors it is text, or absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtError {
    /// The error name.
    #[serde(rename = "Error", default)]
    pub error: String,
    /// The cause.
    #[serde(rename = "Cause", default)]
    pub cause: String,
}

impl CaughtError {
    /// The failure to record: the function's own message where the cause carries one.
    pub fn failure(&self) -> Failure {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cause {
            error_message: String,
        }
        let message =
            serde_json::from_str::<Cause>(&self.cause).map_or_else(|_| self.cause.clone(), |cause| cause.error_message);
        Failure::new(if self.error.is_empty() { "Unknown" } else { &self.error }, message)
    }
}

impl From<Failure> for CaughtError {
    fn from(failure: Failure) -> Self {
        Self { error: failure.name, cause: failure.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in ErrorName::ALL {
            assert_eq!(ErrorName::parse(name.as_str()), Some(name));
            assert_eq!(serde_json::to_string(&name).ok(), Some(format!("\"{name}\"")));
        }
        assert_eq!(ErrorName::parse("States.Timeout"), None);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let failure = Failure::new("Bug", "ü".repeat(MESSAGE_MAX_BYTES));
        assert_eq!(failure.message.len(), MESSAGE_MAX_BYTES);
        let odd = Failure::new("Bug", format!("x{}", "ü".repeat(MESSAGE_MAX_BYTES)));
        assert_eq!(odd.message.len(), MESSAGE_MAX_BYTES - 1);
    }

    #[test]
    fn a_lambda_cause_gives_its_own_message() {
        let caught = CaughtError {
            error: "SourceChanged".into(),
            cause: r#"{"errorType":"SourceChanged","errorMessage":"it changed","stackTrace":[]}"#.into(),
        };
        assert_eq!(caught.failure(), Failure::new("SourceChanged", "it changed"));
        let timeout = CaughtError { error: "States.Timeout".into(), cause: String::new() };
        assert_eq!(timeout.failure(), Failure::new("States.Timeout", ""));
    }
}
