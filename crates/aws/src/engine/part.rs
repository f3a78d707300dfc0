//! One part: GET, upload, proof, and again where something went wrong.

use super::stream::{Flow, Span, SpanBody, fault_of};
use super::whole::collect_patiently;
use super::{Engine, STREAM_MEMORY};
use crate::context::Context;
use crate::destination::{Copied, Destination, PartSent, Written};
use crate::error::StepError;
use crate::source::Source;
use aws_sdk_s3::primitives::ByteStream;
use longhaul_core::contract::LargeObject;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::{ETag, Encryption, Md5Digest};
use longhaul_core::integrity::PartProof;
use longhaul_core::tally::Tally;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// A part up to this size is held in memory where nothing but `Content-MD5` can prove it, in bytes.
pub const BUFFER_MAX: u64 = 64 * 1024 * 1024;

/// Memory that a part of `length` bytes takes while it moves.
pub(super) fn part_memory(length: u64, proof: PartProof) -> u64 {
    if proof == PartProof::Ahead { length } else { STREAM_MEMORY.min(length) }
}

/// Most tries of one transfer, by what went wrong last. The SDK's own retries of single requests stand beside them.
pub(crate) fn tries(error: &StepError) -> u32 {
    match error.name {
        // Patience helps here, and the width shrinks meanwhile.
        ErrorName::Throttled => 8,
        ErrorName::Transient => 5,
        ErrorName::ChecksumMismatch => 3,
        _ => 1,
    }
}

/// Counts a fault by its cause, and lets the engine know.
pub(crate) fn count_fault(engine: &Engine, context: &Context, error: &StepError) {
    let fault = fault_of(error);
    if error.name != ErrorName::ChecksumMismatch {
        engine.slowed();
    }
    context.count(Tally { retries: 1, ..fault });
}

/// What a part is copied with.
#[derive(Clone, Copy)]
pub(crate) struct Copying<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) context: &'a Context,
    pub(crate) source: &'a Source,
    pub(crate) destination: &'a Destination,
    pub(crate) object: &'a LargeObject,
    /// Parts that the store copied by itself.
    pub(crate) by_store: &'a Mutex<BTreeSet<u32>>,
}

impl Engine {
    /// So many bytes arrived that no [`Flow`] has counted: the store copied them by itself, or they were in memory. They
    /// count for the pace as those that were moved.
    pub(crate) fn count_moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Shows how far a copy has come; empty while it waits for its turn.
#[derive(Debug, Default)]
pub(crate) struct Gauge(Mutex<Option<Arc<Flow>>>);

impl Gauge {
    /// The body under way.
    pub(crate) fn flow(&self) -> Option<Arc<Flow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn show(&self, flow: &Arc<Flow>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(flow.clone());
    }
}

impl Copying<'_> {
    fn span(&self, number: u32) -> Result<Span, StepError> {
        let Some((offset, length)) = self.object.layout.part(number) else {
            return Err(StepError::bug(format!("part {number} is not in the layout")));
        };
        Ok(Span {
            source: self.source.clone(),
            key: self.object.offer.key.clone(),
            identity: self.object.source.clone(),
            offset,
            length,
        })
    }

    /// Copies part `number` and proves it: the store checked a digest that came with it, or answered with its MD5, or
    /// copied it by itself.
    ///
    /// Repeats the GET and the upload as often as [`tries`] allows; counts into the context. Returns the ETag that the
    /// part was proven under, where it was compared.
    pub(crate) async fn part(&self, number: u32, gauge: &Gauge) -> Result<Option<ETag>, StepError> {
        let Self { engine, context, .. } = self;
        let mut attempt = 1;
        let mut mismatch = None;
        let mut digests = Digests { told: self.told_md5(), borrows: true, read: None };
        loop {
            let error = match self.attempt(number, gauge, &mut digests).await {
                Ok(Sent { tally, etag }) => {
                    context.count(Tally { parts: 1, ..tally });
                    engine.ended();
                    return Ok(etag);
                }
                Err(error) => error,
            };
            gauge.clear();
            if error.name == ErrorName::ChecksumMismatch {
                digests.borrows = false;
                mismatch = Some(StepError::new(error.name, error.message.clone()));
            }
            if tries(&error) > 1 {
                count_fault(engine, context, &error);
            }
            if attempt >= tries(&error) || context.time_left().is_zero() {
                // The destination may hold a wrong part: a later error of another name must not hide that.
                return Err(mismatch.unwrap_or(error));
            }
            tracing::debug!(number, attempt, %error, "part repeated");
            context.back_off(attempt).await;
            attempt += 1;
        }
    }

    /// The MD5 of the only part, if the source's ETag is that (rule 6).
    fn told_md5(&self) -> Option<Md5Digest> {
        let source = &self.object.source;
        let whole = self.object.layout.count() == 1 && source.encryption == Encryption::Plain;
        source.etag.md5_form().filter(|_| whole)
    }

    async fn attempt(&self, number: u32, gauge: &Gauge, digests: &mut Digests) -> Result<Sent, StepError> {
        let span = self.span(number)?;
        let length = span.length;
        if self.is_copied_by_store(number, &span).await? {
            return Ok(Sent { tally: Tally { server_side: 1, ..Tally::default() }, etag: None });
        }
        let tally = Tally { bytes_up: length, ..Tally::default() };
        if self.object.part_proof() == PartProof::Ahead {
            return self.buffered(number, gauge, span).await.map(|()| Sent { tally, etag: None });
        }
        // Under SSE-KMS the answer holds no MD5 to compare with.
        let compared = self.object.encryption == Encryption::Plain;
        let md5 = compared.then(|| self.engine.hasher.stream());
        let flow = Flow::new(length, md5, &self.engine.moved);
        gauge.show(&flow);
        let first = span.open(0).await?;
        let body = SpanBody::new(span, flow.clone(), first).into_stream();
        let borrowed = digests.told.filter(|_| digests.borrows);
        let sent = PartSent { number, body, length, md5: borrowed, trailing: self.object.trailing_checksum };
        let written = self.upload(&flow, sent).await?;
        if !compared {
            return Ok(Sent { tally, etag: None });
        }
        let Some(md5) = flow.digest() else {
            let told = format!("part {number}: {} of {length} bytes were asked for by the connection", flow.moved());
            return Err(StepError::new(ErrorName::Transient, told));
        };
        compare(&written, md5, number)?;
        digests.check(md5, number)?;
        let is_proof = written.encryption == Encryption::Plain && written.etag.md5_form().is_some();
        if self.object.part_proof() == PartProof::Compared && borrowed.is_none() && !is_proof {
            let told = "the destination answers ETags that are no MD5s: nothing proves what is sent there in the clear";
            return Err(StepError::rejected(format!("part {number}: {told}")));
        }
        Ok(Sent { tally, etag: Some(written.etag) })
    }

    /// Lets the store copy the part by itself: the source's ETag is the condition, and nothing is left to compare.
    /// False where it does not copy.
    async fn is_copied_by_store(&self, number: u32, span: &Span) -> Result<bool, StepError> {
        let Span { key, identity, offset, length, .. } = span;
        let version_id = identity.version_id.as_deref();
        let from = Copied { key, version_id, etag: &identity.etag, offset: *offset, length: *length };
        let LargeObject { destination_key, upload_id, .. } = self.object;
        if self.destination.copy_part(from, destination_key, upload_id, number).await?.is_none() {
            return Ok(false);
        }
        self.engine.count_moved(*length);
        self.by_store.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        Ok(true)
    }

    /// A part that nothing but a digest ahead can prove.
    async fn buffered(&self, number: u32, gauge: &Gauge, span: Span) -> Result<(), StepError> {
        let length = span.length;
        let flow = Flow::new(length, None, &self.engine.moved);
        gauge.show(&flow);
        let first = span.open(0).await?;
        let bytes = collect_patiently(SpanBody::new(span, flow.clone(), first).into_stream(), length).await;
        self.context.count(flow.tally());
        let bytes = bytes.map_err(|error| flow.failure().unwrap_or(error))?;
        let md5 = Md5Digest::of(&bytes);
        let body = ByteStream::from(bytes);
        let sent = PartSent { number, body, length, md5: Some(md5), trailing: false };
        let LargeObject { destination_key, upload_id, .. } = self.object;
        let written = self.destination.upload_part(destination_key, upload_id, sent).await?;
        compare(&written, md5, number)
    }

    async fn upload(&self, flow: &Flow, sent: PartSent) -> Result<Written, StepError> {
        let LargeObject { destination_key, upload_id, .. } = self.object;
        let answer = tokio::select! {
            biased;
            answer = self.destination.upload_part(destination_key, upload_id, sent) => answer,
            error = flow.stalled() => Err(error),
        };
        self.context.count(flow.tally());
        answer.map_err(|error| flow.failure().unwrap_or(error))
    }

    /// True if part `number`, which the destination shows under `etag`, holds the source's bytes: they are read again
    /// and hashed (rule 8).
    pub(crate) async fn is_proven(&self, number: u32, etag: &ETag, gauge: &Gauge) -> Result<bool, StepError> {
        let Self { engine, context, .. } = self;
        let mut attempt = 1;
        loop {
            let error = match self.digest(number, gauge).await {
                Ok(md5) => return Ok(etag.md5_form() == Some(md5)),
                Err(error) => error,
            };
            gauge.clear();
            if tries(&error) > 1 {
                count_fault(engine, context, &error);
            }
            if attempt >= tries(&error) || context.time_left().is_zero() {
                return Err(error);
            }
            context.back_off(attempt).await;
            attempt += 1;
        }
    }

    async fn digest(&self, number: u32, gauge: &Gauge) -> Result<Md5Digest, StepError> {
        let span = self.span(number)?;
        let flow = Flow::new(span.length, Some(self.engine.hasher.stream()), &self.engine.moved);
        gauge.show(&flow);
        let first = span.open(0).await?;
        let mut body = SpanBody::new(span, flow.clone(), first).into_stream();
        let mut broken = None;
        while let Some(piece) = body.next().await {
            if let Err(error) = piece {
                broken = Some(StepError::new(ErrorName::Transient, format!("reading a body: {error}")));
                break;
            }
        }
        self.context.count(flow.tally());
        if let Some(error) = broken {
            return Err(flow.failure().unwrap_or(error));
        }
        flow.digest().ok_or_else(|| StepError::bug("a body came to its end and was not hashed"))
    }
}

/// A part that arrived.
struct Sent {
    tally: Tally,
    etag: Option<ETag>,
}

/// What is known of the digest of an object's only part.
struct Digests {
    /// What the source's ETag says, if it has the form of an MD5.
    told: Option<Md5Digest>,
    /// It goes ahead, unseen. Not after a store refused it.
    borrows: bool,
    /// What was read instead.
    read: Option<Md5Digest>,
}

impl Digests {
    /// Another digest than the one told was read: bytes were damaged on the way, or the ETag only has the form of an MD5
    /// and is none (rule 6). The same bytes twice show the latter.
    fn check(&mut self, md5: Md5Digest, number: u32) -> Result<(), StepError> {
        match self.told {
            Some(told) if told != md5 && self.read.replace(md5) != Some(md5) => Err(StepError::new(
                ErrorName::ChecksumMismatch,
                format!("part {number}: read {md5:?}, the source's ETag is {told:?}"),
            )),
            _ => Ok(()),
        }
    }
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
