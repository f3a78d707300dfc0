//! The bytes of a list, in order, whatever happens to the connection.

use crate::clients::Clients;
use crate::denial::payer;
use crate::engine::PROGRESS_TIMEOUT;
use crate::error::{Place, StepError, from_sdk};
use crate::work::Work;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use longhaul_core::config::Side;
use longhaul_core::error::ErrorName;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Bytes of the work bucket that are read at once.
const WINDOW_BYTES: u64 = 1024 * 1024;
/// Failures in a row, without a byte between them, that end the reading.
const TRIES: u32 = 6;

/// An object that is read once, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Body {
    origin: Origin,
    key: String,
    /// Bytes read.
    at: u64,
    /// The ETag that the object had when the reading began.
    etag: Option<String>,
    failures: u32,
    ended: bool,
}

#[derive(Debug)]
enum Origin {
    Work(Arc<dyn Work>),
    Side(Box<Reading>),
}

#[derive(Debug)]
struct Reading {
    client: aws_sdk_s3::Client,
    side: Side,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    stream: ByteStream,
    /// Bytes of the whole object, where the answer says.
    size: Option<u64>,
}

impl Body {
    /// The object `key` of `bucket`: the work bucket's by the function's own client, another's by that of the source.
    pub(super) async fn new(clients: &Clients, source: &Side, bucket: &str, key: &str) -> Result<Self, StepError> {
        let origin = if bucket == clients.work.bucket() {
            Origin::Work(clients.work.clone())
        } else {
            // The account that owns the source's bucket need not own this one.
            let side = Side { bucket: bucket.to_owned(), owner: None, ..source.clone() };
            Origin::Side(Box::new(Reading { client: clients.sides.client(&side).await?, side, open: None }))
        };
        Ok(Self { origin, key: key.to_owned(), at: 0, etag: None, failures: 0, ended: false })
    }

    /// The next bytes; `None` at the end of the object.
    ///
    /// A connection that broke is replaced by one that goes on where it ended. An object that is another meanwhile is
    /// `Rejected`.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, StepError> {
        while !self.ended {
            match self.once().await {
                Ok(piece) => {
                    self.failures = 0;
                    self.at += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                    self.ended = piece.is_none();
                    return Ok(piece);
                }
                Err(error) => {
                    if let Origin::Side(reading) = &mut self.origin {
                        reading.open = None;
                    }
                    self.failures += 1;
                    if self.failures >= TRIES || !error.name.is_retryable() {
                        return Err(error);
                    }
                    tracing::debug!(key = self.key, at = self.at, %error, "a list is read on");
                    sleep(Duration::from_millis(200 << self.failures)).await;
                }
            }
        }
        Ok(None)
    }

    async fn once(&mut self) -> Result<Option<Bytes>, StepError> {
        let Self { origin, key, at, etag, .. } = self;
        match origin {
            Origin::Work(work) => window(work.as_ref(), key, *at, etag).await,
            Origin::Side(reading) => {
                let Reading { client, side, open } = reading.as_mut();
                if open.is_none() {
                    *open = Some(opened(client, side, key, *at, etag).await?);
                }
                let what = || format!("reading s3://{}/{key}", side.bucket);
                let Some(Open { stream, size }) = open else { return Ok(None) };
                let piece = timeout(PROGRESS_TIMEOUT, stream.next()).await;
                let piece = piece.map_err(|_| StepError::stalled(format!("{}: no byte came", what())))?;
                match piece.transpose() {
                    Err(error) => Err(StepError::new(ErrorName::Transient, format!("{}: {error}", what()))),
                    Ok(None) if size.is_some_and(|size| size > *at) => {
                        Err(StepError::new(ErrorName::Transient, format!("{}: it ended after {at} bytes", what())))
                    }
                    Ok(piece) => Ok(piece),
                }
            }
        }
    }
}

/// Some bytes of an object of the work bucket. At the end it is looked at once more: windows know no condition.
async fn window(work: &dyn Work, key: &str, at: u64, etag: &mut Option<String>) -> Result<Option<Bytes>, StepError> {
    let looked = async || {
        let found = work.find(key, 1).await;
        match found {
            // An empty object has no first byte.
            Err(error) if error.status == Some(416) => Ok(String::new()),
            Err(error) => Err(error),
            Ok(Some(found)) => Ok(found.etag),
            Ok(None) => Err(StepError::rejected(format!("the list s3://{}/{key} does not exist", work.bucket()))),
        }
    };
    if etag.is_none() {
        *etag = Some(looked().await?);
    }
    let bytes = match work.get(work.bucket(), key, at, Some(at + WINDOW_BYTES)).await {
        Err(error) if error.status == Some(416) => Bytes::new(),
        other => other?,
    };
    if !bytes.is_empty() {
        return Ok(Some(bytes));
    }
    if *etag == Some(looked().await?) { Ok(None) } else { Err(changed(work.bucket(), key)) }
}

/// A GET of everything from byte `at`, of the very object that the first one answered.
async fn opened(
    client: &aws_sdk_s3::Client,
    side: &Side,
    key: &str,
    at: u64,
    etag: &mut Option<String>,
) -> Result<Open, StepError> {
    let what = format!("reading the list s3://{}/{key}", side.bucket);
    let answer = client
        .get_object()
        .bucket(&side.bucket)
        .key(key)
        .set_range((at > 0).then(|| format!("bytes={at}-")))
        .set_if_match(etag.clone())
        .set_request_payer(payer(side))
        .send()
        .await;
    let answer = match answer.map_err(|error| from_sdk(Place::Own, &what, &error)) {
        Err(error) if error.status == Some(412) => return Err(changed(&side.bucket, key)),
        other => other?,
    };
    if etag.is_some() && answer.e_tag != *etag {
        return Err(changed(&side.bucket, key));
    }
    if at > 0 && !answer.content_range().is_some_and(|range| range.starts_with(&format!("bytes {at}-"))) {
        return Err(StepError::rejected(format!("{what}: the store knows no ranges, and the connection broke")));
    }
    *etag = answer.e_tag;
    let left = answer.content_length.and_then(|length| u64::try_from(length).ok());
    Ok(Open { stream: answer.body, size: left.map(|left| at + left) })
}

fn changed(bucket: &str, key: &str) -> StepError {
    StepError::rejected(format!("the list s3://{bucket}/{key} was replaced while it was read"))
}
