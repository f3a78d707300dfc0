//! The one place that reads SDK errors.

use crate::ledger::LedgerError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use longhaul_core::config::ConfigError;
use longhaul_core::error::{CaughtError, ErrorName, Failure, MESSAGE_MAX_BYTES};
use longhaul_core::request::RequestError;
use std::error::Error as StdError;
use std::fmt;

/// Why a step failed, under a name that Step Functions can match.
#[derive(Debug)]
pub struct StepError {
    /// The name.
    pub name: ErrorName,
    /// What happened, without secrets, at most 1 KiB.
    pub message: String,
    /// The keys of a side were refused: worth one more try with a secret read anew.
    pub keys_refused: bool,
    /// Nothing moved, or nobody answered, for too long.
    pub stalled: bool,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The service's own code, where there was one.
    pub code: Option<String>,
}

impl StepError {
    /// An error of ours.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        let message = Failure::new("", message).message;
        Self { name, message, keys_refused: false, stalled: false, status: None, code: None }
    }

    /// A request that cannot help when repeated.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorName::Rejected, message)
    }

    /// A transfer in which nothing moved for too long.
    pub fn stalled(message: impl Into<String>) -> Self {
        Self { stalled: true, ..Self::new(ErrorName::Transient, message) }
    }

    /// A broken invariant.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorName::Bug, message)
    }

    /// As the ledger and the failed queue name it.
    pub fn failure(&self) -> Failure {
        Failure::new(self.name.as_str(), self.message.clone())
    }

    /// As a `Catch` would hand it over.
    pub fn caught(&self) -> CaughtError {
        self.failure().into()
    }

    /// True if access was denied without a word: the answer to a HEAD has no body, so the reason has to be asked for
    /// by another request.
    pub fn is_mute_denial(&self) -> bool {
        self.status == Some(403) && self.code.as_deref().is_none_or(|code| code == "Forbidden")
    }

    /// True if the service named this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl StdError for StepError {}

impl From<StepError> for lambda_runtime::Diagnostic {
    fn from(error: StepError) -> Self {
        Self { error_type: error.name.as_str().to_owned(), error_message: error.message }
    }
}

impl From<LedgerError> for StepError {
    fn from(error: LedgerError) -> Self {
        let name = match &error {
            // Conflicts are resolved where they happen; one that gets here was lost three times in a row.
            LedgerError::Conflict | LedgerError::Transient(_) => ErrorName::Transient,
            LedgerError::Throttled(_) => ErrorName::Throttled,
            LedgerError::Rejected(_) => ErrorName::Rejected,
        };
        Self::new(name, error.to_string())
    }
}

impl From<RequestError> for StepError {
    fn from(error: RequestError) -> Self {
        Self::rejected(error.to_string())
    }
}

impl From<ConfigError> for StepError {
    fn from(error: ConfigError) -> Self {
        Self::rejected(error.to_string())
    }
}

/// Which part of the world refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The source of a route.
    Source,
    /// The destination of a route.
    Destination,
    /// This deployment's own resources.
    Own,
}

/// Codes that ask for fewer requests.
const THROTTLES: &[&str] = &[
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ExecutionLimitExceeded",
];

/// Codes of keys that are wrong or too old.
const REFUSED_KEYS: &[&str] =
    &["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidToken"];

/// Names an SDK error. `what` says what was attempted, for the message.
pub fn from_sdk<E>(place: Place, what: &str, error: &SdkError<E, HttpResponse>) -> StepError
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let name = match error {
        SdkError::ConstructionFailure(_) => named_by_cause(error),
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => named_by_cause(error),
        SdkError::ResponseError(_) => ErrorName::Transient,
        _ => named_by_answer(place, status, code.as_deref()),
    };
    let told = error.message().map_or_else(|| chain(error), str::to_owned);
    let answer = match (status, &code) {
        (Some(status), Some(code)) => format!("{status} {code}: {told}"),
        (Some(status), None) => format!("{status}: {told}"),
        (None, _) => told,
    };
    let keys_refused = code.as_deref().is_some_and(|code| REFUSED_KEYS.contains(&code));
    let stalled = matches!(error, SdkError::TimeoutError(_));
    StepError { keys_refused, stalled, status, code, ..StepError::new(name, format!("{what}: {answer}")) }
}

fn named_by_answer(place: Place, status: Option<u16>, code: Option<&str>) -> ErrorName {
    match (place, status, code) {
        (_, _, Some(code)) if THROTTLES.contains(&code) => ErrorName::Throttled,
        (_, Some(429 | 503), _) => ErrorName::Throttled,
        (_, _, Some("NoSuchBucket")) => ErrorName::Rejected,
        (_, _, Some("NoSuchUpload")) => ErrorName::UploadGone,
        (_, _, Some("BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "InvalidDigest")) => {
            ErrorName::ChecksumMismatch
        }
        (_, _, Some("RequestTimeout" | "IncompleteBody" | "InternalError" | "OperationAborted")) => {
            ErrorName::Transient
        }
        // Complete may answer 200 with one of these inside.
        (Place::Destination, _, Some("PreconditionFailed" | "ConditionalRequestConflict")) => {
            ErrorName::DestinationChanged
        }
        // A twin sent a part again after it was listed: listing again mends it.
        (Place::Destination, _, Some("InvalidPart")) => ErrorName::Transient,
        (Place::Source, Some(412), _) => ErrorName::SourceChanged,
        (Place::Source, Some(404 | 405), _) => ErrorName::SourceGone,
        (Place::Destination, Some(412 | 409), _) => ErrorName::DestinationChanged,
        (_, Some(500..=599), code) if code != Some("NotImplemented") && status != Some(501) => ErrorName::Transient,
        (_, Some(408), _) => ErrorName::Transient,
        _ => ErrorName::Rejected,
    }
}

/// A request that never got an answer: a lost connection may come back, missing credentials do not.
fn named_by_cause(error: &(dyn StdError + 'static)) -> ErrorName {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(step) = error.downcast_ref::<StepError>() {
            return step.name;
        }
        if let Some(credentials) = error.downcast_ref::<aws_credential_types::provider::error::CredentialsError>() {
            use aws_credential_types::provider::error::CredentialsError;
            // A provider of ours wraps its reason as the cause: that one decides.
            if let Some(step) = StdError::source(credentials).and_then(|inner| inner.downcast_ref::<StepError>()) {
                return step.name;
            }
            return match credentials {
                CredentialsError::ProviderTimedOut(_) => ErrorName::Transient,
                _ => ErrorName::Rejected,
            };
        }
        cause = error.source();
    }
    ErrorName::Transient
}

/// The messages of an error and its causes, shortened.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        if text.len() > MESSAGE_MAX_BYTES {
            break;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_get_the_names_of_the_error_table() {
        use ErrorName as N;
        use Place as P;
        let cases = [
            (P::Source, Some(503), Some("SlowDown"), N::Throttled),
            (P::Source, Some(503), None, N::Throttled),
            (P::Source, Some(412), Some("PreconditionFailed"), N::SourceChanged),
            (P::Source, Some(404), Some("NoSuchKey"), N::SourceGone),
            (P::Source, Some(404), None, N::SourceGone),
            (P::Source, Some(404), Some("NoSuchBucket"), N::Rejected),
            (P::Source, Some(403), Some("AccessDenied"), N::Rejected),
            (P::Source, Some(403), Some("InvalidObjectState"), N::Rejected),
            (P::Destination, Some(412), Some("PreconditionFailed"), N::DestinationChanged),
            (P::Destination, Some(409), Some("ConditionalRequestConflict"), N::DestinationChanged),
            (P::Destination, Some(200), Some("PreconditionFailed"), N::DestinationChanged),
            (P::Destination, Some(400), Some("InvalidPart"), N::Transient),
            (P::Destination, Some(404), Some("NoSuchUpload"), N::UploadGone),
            (P::Destination, Some(400), Some("BadDigest"), N::ChecksumMismatch),
            (P::Destination, Some(400), Some("RequestTimeout"), N::Transient),
            (P::Destination, Some(500), Some("InternalError"), N::Transient),
            (P::Destination, Some(501), Some("NotImplemented"), N::Rejected),
            (P::Own, Some(400), Some("ThrottlingException"), N::Throttled),
            (P::Own, Some(400), Some("ValidationException"), N::Rejected),
        ];
        for (place, status, code, name) in cases {
            assert_eq!(named_by_answer(place, status, code), name, "{place:?} {status:?} {code:?}");
        }
    }

    #[test]
    fn the_name_reaches_step_functions() {
        let diagnostic = lambda_runtime::Diagnostic::from(StepError::new(ErrorName::SourceChanged, "x"));
        assert_eq!(diagnostic.error_type, "SourceChanged");
    }
}
