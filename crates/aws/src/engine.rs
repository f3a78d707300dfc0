//! Moves bytes: what is in flight at once, and how one part gets from GET to `UploadPart`.

use crate::context::Context;
use crate::destination::{Destination, Written};
use crate::error::StepError;
use crate::source::Source;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use longhaul_core::contract::LargeObject;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::{Encryption, Md5Digest};
use longhaul_core::tally::Tally;
use md5::{Digest as _, Md5};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// A body that brings no byte for so long counts as lost.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// A part up to this size is held in memory, so that the store can refuse a wrong one by `Content-MD5`, in bytes: with
/// 10,000 of them an object of 625 GiB. A larger one is streamed and its returned ETag compared.
pub const BUFFER_MAX: u64 = 64 * 1024 * 1024;
/// Memory that a streamed part takes, in bytes.
const STREAM_MEMORY: u64 = 1024 * 1024;
/// Tries of one part, the SDK's own retries of single requests not counted.
pub const PART_TRIES: u32 = 3;

/// What may be in flight in this process at once.
#[derive(Debug)]
pub struct Engine {
    slots: Semaphore,
    memory: Semaphore,
    memory_kib: u32,
    in_flight: usize,
}

/// The right to move some bytes; given back when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    _slot: SemaphorePermit<'a>,
    _memory: SemaphorePermit<'a>,
}

impl Engine {
    /// At most `in_flight` transfers and about `memory` bytes of bodies at once.
    pub fn new(in_flight: usize, memory: u64) -> Self {
        let in_flight = in_flight.max(1);
        let memory_kib = u32::try_from(memory / 1024).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        Self { slots: Semaphore::new(in_flight), memory: Semaphore::new(memory_kib as usize), memory_kib, in_flight }
    }

    /// Transfers at once.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Waits for a place for a transfer that holds `bytes` in memory. One that is larger than all there is waits for
    /// all of it.
    pub async fn admit(&self, bytes: u64) -> Result<Permit<'_>, StepError> {
        let closed = |_| StepError::bug("the engine was closed");
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.memory_kib);
        let slot = self.slots.acquire().await.map_err(closed)?;
        let memory = self.memory.acquire_many(kib).await.map_err(closed)?;
        Ok(Permit { _slot: slot, _memory: memory })
    }
}

/// Memory that a part of `length` bytes takes while it moves.
pub fn part_memory(length: u64) -> u64 {
    if length <= BUFFER_MAX { length } else { STREAM_MEMORY }
}

/// Reads a body of exactly `length` bytes; each piece must come within [`PROGRESS_TIMEOUT`].
pub async fn collect(mut body: ByteStream, length: u64) -> Result<Bytes, StepError> {
    let lost = |what: String| StepError::new(ErrorName::Transient, format!("reading a body: {what}"));
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    loop {
        let piece = timeout(PROGRESS_TIMEOUT, body.next())
            .await
            .map_err(|_| lost(format!("no byte for {} s", PROGRESS_TIMEOUT.as_secs())))?;
        match piece {
            Some(Ok(piece)) => bytes.extend_from_slice(&piece),
            Some(Err(error)) => return Err(lost(error.to_string())),
            None => break,
        }
        if bytes.len() as u64 > length {
            return Err(lost(format!("more than the {length} bytes asked for")));
        }
    }
    if bytes.len() as u64 != length {
        return Err(lost(format!("{} of {length} bytes", bytes.len())));
    }
    Ok(bytes.freeze())
}

/// Copies part `number` of a large object and proves it: the store checked its MD5, or answered with it.
///
/// Repeats the GET and the upload up to [`PART_TRIES`] times; counts into the context.
pub async fn copy_part(
    engine: &Engine,
    context: &Context,
    source: &Source,
    destination: &Destination,
    object: &LargeObject,
    number: u32,
) -> Result<(), StepError> {
    let Some((offset, length)) = object.layout.part(number) else {
        return Err(StepError::bug(format!("part {number} is not in the layout")));
    };
    let _permit = engine.admit(part_memory(length)).await?;
    let mut attempt = 1;
    let mut mismatch = None;
    loop {
        let tried = async {
            let body = source.get_range(&object.offer.key, &object.source, offset, length).await?;
            if length <= BUFFER_MAX {
                buffered(context, destination, object, number, body, length).await
            } else {
                streamed(context, destination, object, number, body, length).await
            }
        };
        let error = match tried.await {
            Ok(()) => {
                context.count(Tally { parts: 1, bytes_up: length, ..Tally::default() });
                return Ok(());
            }
            Err(error) => error,
        };
        let again = error.name.is_retryable() || error.name == ErrorName::ChecksumMismatch;
        let gives_up = !again || attempt == PART_TRIES || context.time_left().is_zero();
        if error.name == ErrorName::ChecksumMismatch {
            mismatch = Some(StepError::new(error.name, error.message.clone()));
        }
        if gives_up {
            // The destination may hold a wrong part: a later error of another name must not hide that.
            return Err(mismatch.unwrap_or(error));
        }
        tracing::debug!(number, attempt, %error, "part repeated");
        count_retry(context, &error);
        context.back_off(attempt).await;
        attempt += 1;
    }
}

/// Counts a repeat by its cause.
pub fn count_retry(context: &Context, error: &StepError) {
    let throttled = error.name == ErrorName::Throttled;
    context.count(Tally { retries: u64::from(!throttled), throttles: u64::from(throttled), ..Tally::default() });
}

async fn buffered(
    context: &Context,
    destination: &Destination,
    object: &LargeObject,
    number: u32,
    body: ByteStream,
    length: u64,
) -> Result<(), StepError> {
    let bytes = collect(body, length).await?;
    context.count(Tally { bytes_down: length, ..Tally::default() });
    let md5 = Md5Digest::of(&bytes);
    let body = ByteStream::from(bytes);
    let written =
        destination.upload_part(&object.destination_key, &object.upload_id, number, body, length, Some(md5)).await?;
    compare(&written, md5, number)
}

async fn streamed(
    context: &Context,
    destination: &Destination,
    object: &LargeObject,
    number: u32,
    body: ByteStream,
    length: u64,
) -> Result<(), StepError> {
    let seen = Arc::new(Mutex::new((Md5::new(), 0)));
    let hashing =
        Hashing { inner: body.into_inner(), seen: seen.clone(), length, deadline: Box::pin(sleep(PROGRESS_TIMEOUT)) };
    let body = ByteStream::new(SdkBody::from_body_1_x(hashing));
    let written =
        destination.upload_part(&object.destination_key, &object.upload_id, number, body, length, None).await?;
    let (hash, count) = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    context.count(Tally { bytes_down: count, ..Tally::default() });
    if count != length {
        return Err(StepError::new(ErrorName::Transient, format!("part {number}: {count} of {length} bytes")));
    }
    compare(&written, Md5Digest::from_bytes(hash.finalize().into()), number)
}

fn compare(written: &Written, md5: Md5Digest, number: u32) -> Result<(), StepError> {
    let differs = written.encryption == Encryption::Plain && written.etag.md5_form().is_some_and(|etag| etag != md5);
    if differs {
        return Err(StepError::new(
            ErrorName::ChecksumMismatch,
            format!("part {number}: sent {md5:?}, the destination holds {}", written.etag),
        ));
    }
    Ok(())
}

/// A body that hashes what passes through, and fails when nothing passes for too long.
struct Hashing {
    inner: SdkBody,
    seen: Arc<Mutex<(Md5, u64)>>,
    length: u64,
    deadline: Pin<Box<Sleep>>,
}

impl Body for Hashing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            ready!(this.deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err("the source brought no byte for too long".into())));
        };
        this.deadline.as_mut().reset(Instant::now() + PROGRESS_TIMEOUT);
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let mut seen = this.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.0.update(data);
            seen.1 += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
