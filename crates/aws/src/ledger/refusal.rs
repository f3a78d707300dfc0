//! What an error of DynamoDB means for the ledger's caller.

use super::LedgerError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Longest text of an error, in characters: it ends in logs and in failure messages.
const TEXT_MAX_CHARS: usize = 300;

/// Codes with which DynamoDB asks for fewer requests:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>
const THROTTLED: [&str; 4] =
    ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "ThrottledException"];

/// Codes of refusals (status 400) after which the same request may succeed.
const TRANSIENT: [&str; 5] = [
    "ExpiredTokenException",
    "InternalServerError",
    "ReplicatedWriteConflictException",
    "RequestTimeoutException",
    "TransactionConflictException",
];

/// Reads `error`, which the SDK gave up on after its own retries. A failed condition is the caller's to read.
pub(super) fn classify<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> LedgerError {
    match error {
        SdkError::ConstructionFailure(_) => LedgerError::Rejected(short("the request could not be made")),
        SdkError::TimeoutError(_) => LedgerError::Transient(short("timeout")),
        SdkError::DispatchFailure(failure) => {
            let text = failure.as_connector_error().map_or_else(|| "no connection".to_owned(), deepest);
            LedgerError::Transient(short(&text))
        }
        SdkError::ResponseError(response) => {
            LedgerError::Transient(format!("unreadable response, status {}", response.raw().status().as_u16()))
        }
        SdkError::ServiceError(refusal) => {
            let status = refusal.raw().status().as_u16();
            let (code, message) = (refusal.err().code(), refusal.err().message());
            let text = match (code, message) {
                (Some(code), Some(message)) => short(&format!("{code}: {message}")),
                (Some(code), None) => short(code),
                (None, _) => format!("status {status}"),
            };
            let is_one_of = |codes: &[&str]| code.is_some_and(|code| codes.contains(&code));
            if is_one_of(&THROTTLED) || status == 429 {
                LedgerError::Throttled(text)
            } else if status >= 500 || is_one_of(&TRANSIENT) {
                LedgerError::Transient(text)
            } else {
                LedgerError::Rejected(text)
            }
        }
        _ => LedgerError::Transient(short("the request failed")),
    }
}

/// The text of the innermost cause: the outer ones say only that something failed.
fn deepest(error: &(impl std::error::Error + 'static)) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX_CHARS).collect()
}
