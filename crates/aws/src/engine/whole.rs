//! Bodies of small objects: held in memory, or streamed where the source's own ETag proves them.

use super::stream::{Flow, Span, SpanBody};
use super::{Engine, PROGRESS_TIMEOUT};
use crate::error::StepError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use longhaul_core::error::ErrorName;
use longhaul_core::tally::Tally;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// Reads a body of exactly `length` bytes; each piece must come within [`PROGRESS_TIMEOUT`].
pub(crate) async fn collect(body: ByteStream, length: u64) -> Result<Bytes, StepError> {
    gather(body, length, PROGRESS_TIMEOUT).await
}

/// As [`collect`], of a body that looks after itself when nothing comes.
pub(super) async fn collect_patiently(body: ByteStream, length: u64) -> Result<Bytes, StepError> {
    gather(body, length, Duration::MAX).await
}

async fn gather(mut body: ByteStream, length: u64, patience: Duration) -> Result<Bytes, StepError> {
    let lost = |what: String| StepError::new(ErrorName::Transient, format!("reading a body: {what}"));
    let mut all = BytesMut::new();
    // Most small objects come in one piece, which is kept as it came.
    let mut only: Option<Bytes> = None;
    loop {
        let piece = timeout(patience, body.next())
            .await
            .map_err(|_| StepError::stalled(format!("reading a body: no byte for {} s", patience.as_secs())))?;
        let piece = match piece {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return Err(lost(error.to_string())),
            None => break,
        };
        if let Some(first) = only.take() {
            all.reserve(usize::try_from(length).unwrap_or(0));
            all.extend_from_slice(&first);
            all.extend_from_slice(&piece);
        } else if all.is_empty() {
            only = Some(piece);
        } else {
            all.extend_from_slice(&piece);
        }
        if all.len() as u64 > length {
            return Err(lost(format!("more than the {length} bytes asked for")));
        }
    }
    let bytes = only.unwrap_or_else(|| all.freeze());
    if bytes.len() as u64 != length {
        return Err(lost(format!("{} of {length} bytes", bytes.len())));
    }
    Ok(bytes)
}

/// Streams a whole object, of which `first` is open, into the write that `send` makes of it.
///
/// Nothing is hashed on the way: the caller sends a digest ahead. Returns what the write answered, and what to count.
pub(crate) async fn stream_whole<T, F>(
    engine: &Engine,
    span: Span,
    first: ByteStream,
    send: impl FnOnce(ByteStream) -> F,
) -> (Result<T, StepError>, Tally)
where
    F: Future<Output = Result<T, StepError>>,
{
    let flow = Flow::new(span.length, None, &engine.moved);
    let body = SpanBody::new(span, flow.clone(), first).into_stream();
    let answer = tokio::select! {
        biased;
        answer = send(body) => answer,
        error = flow.stalled() => Err(error),
    };
    (answer.map_err(|error| flow.failure().unwrap_or(error)), flow.tally())
}
