//! Copies whole small objects, many at once.

use super::large::{abandon, is_abandoned, without_copy};
use super::objects::{batch_objects, records_of, spill};
use crate::clients::Clients;
use crate::context::Context;
use crate::destination::{Copied, Destination, ObjectSent, Written};
use crate::engine::{STREAM_MEMORY, Span, collect, count_fault, stream_whole, tries};
use crate::error::StepError;
use crate::outcomes::{Learnt, Offered, failed, record};
use crate::source::{Source, SourceLook, Whole};
use aws_sdk_s3::primitives::SdkBody;
use futures::stream::{self, StreamExt as _};
use longhaul_core::classify::SMALL_MAX;
use longhaul_core::config::Overwrite;
use longhaul_core::contract::{
    Batch, BatchObjects, Done, IDLE_ROUNDS_MAX, ItemState, REST_MAX_BYTES, Seen, Slowest, as_pairs,
};
use longhaul_core::error::ErrorName;
use longhaul_core::etag::{Encryption, Md5Digest};
use longhaul_core::integrity::{Checksums, Facts, checksums, crc64nvme_of, proof};
use longhaul_core::job::{JobRecord, SourceIdentity};
use longhaul_core::outcome::{Outcome, Proof, SkipReason};
use longhaul_core::request::ObjectRef;
use longhaul_core::tally::Tally;
use tokio::time::timeout_at;

/// Times that the looks at both sides are repeated after a refused condition (SEMANTICS.md, rule 3).
const LOOKS_MAX: u32 = 3;

/// How one object of the batch ended.
enum Ended {
    /// With an outcome, counted, after so many milliseconds.
    Outcome(Tally, u64),
    /// It is large: a successor takes it.
    Large(ObjectRef),
    /// It remains for the next round; why.
    Remains(StepError),
    /// The time was up before it began or ended.
    NoTime,
}

/// Copies the objects of a batch until all have an outcome or the time is nearly up; returns what remains.
///
/// An object that fails for good gets its outcome here and stops nobody. One that may succeed later remains. Two rounds
/// without any outcome fail as the error that stopped the last object.
pub async fn copy_objects(clients: &Clients, context: &Context, batch: Batch) -> Result<ItemState, StepError> {
    let source = Source::connect(clients, &batch.route.source).await?;
    let destination = Destination::of(clients, &batch.route).await?;
    let objects = batch_objects(clients, &batch.objects).await?;
    let offers: Vec<&ObjectRef> = objects.iter().map(|(_, object)| object).collect();
    let records = records_of(clients, &batch.route, &offers).await?;

    let mut ended: Vec<(u32, Ended)> = stream::iter(objects.iter().zip(records))
        .map(|((index, object), (_, known))| {
            let (source, destination, batch) = (&source, &destination, &batch);
            async move {
                if context.time_left().is_zero() {
                    return (*index, Ended::NoTime);
                }
                let copy = Copy { clients, context, source, destination, batch, object };
                // What is still under way when the time is up is dropped, and remains.
                let ended = timeout_at(context.last_moment(), copy.run(known)).await;
                (*index, ended.unwrap_or(Ended::NoTime))
            }
        })
        .buffer_unordered(clients.engine.in_flight())
        // Boxed, so that the step may run on any thread.
        .boxed()
        .collect()
        .await;
    ended.sort_by_key(|(index, _)| *index);

    let mut next = batch;
    let mut remains = Vec::new();
    let mut turned_large = Vec::new();
    let mut last_error = None;
    let mut progress = false;
    for (index, end) in ended {
        match end {
            Ended::Outcome(tally, ms) => {
                next.tally += tally;
                progress = true;
                if tally.migrated > 0 && next.slowest.as_ref().is_none_or(|slowest| slowest.ms < ms) {
                    let key = objects.iter().find(|(known, _)| *known == index).map(|(_, object)| object.key.clone());
                    next.slowest = key.map(|key| Slowest { key, bytes: tally.bytes, ms });
                }
            }
            Ended::Large(object) => {
                turned_large.push(object);
                next.tally.continued += 1;
                progress = true;
            }
            Ended::Remains(error) => {
                remains.push(index);
                last_error = Some(error);
            }
            Ended::NoTime => remains.push(index),
        }
    }
    if let Some(error) = last_error.as_ref().filter(|error| error.keys_refused) {
        // Not this object's fault: the step is repeated with keys read anew, or the whole batch fails.
        return Err(StepError { keys_refused: true, ..StepError::new(error.name, error.message.clone()) });
    }
    let room = REST_MAX_BYTES / (1 + next.remaining.objects.len());
    let spilled = spill(clients, turned_large, room).await?;
    next.remaining.objects.extend(spilled.objects);
    next.remaining.manifests.extend(spilled.manifests);
    if remains.is_empty() {
        return Ok(ItemState::Done(Done { tally: next.tally, remaining: next.remaining, slowest: next.slowest }));
    }
    next.idle = if progress { 0 } else { next.idle + 1 };
    if next.idle >= IDLE_ROUNDS_MAX {
        return Err(last_error
            .unwrap_or_else(|| StepError::new(ErrorName::TooSlow, "two rounds in which no object was finished")));
    }
    next.objects = match next.objects {
        BatchObjects::Manifest(mut lines) => {
            lines.lines = Some(as_pairs(remains));
            BatchObjects::Manifest(lines)
        }
        BatchObjects::Inline(all) => BatchObjects::Inline(
            (0..)
                .zip(all)
                .filter(|(index, _)| remains.binary_search(index).is_ok())
                .map(|(_, object)| object)
                .collect(),
        ),
    };
    Ok(ItemState::CopyObjects(next))
}

/// The copy of one object.
struct Copy<'a> {
    clients: &'a Clients,
    context: &'a Context,
    source: &'a Source,
    destination: &'a Destination,
    batch: &'a Batch,
    object: &'a ObjectRef,
}

/// What one try gave.
enum Tried {
    Outcome(Outcome, Box<Learnt>),
    Large(u64),
}

impl Copy<'_> {
    async fn run(&self, known: Option<JobRecord>) -> Ended {
        // A repeat of this step, after it died before it could answer, counts what it had done.
        if let Some(outcome) = known.as_ref().and_then(|record| record.outcome_of(&self.batch.execution)) {
            return Ended::Outcome(outcome.tally(), 0);
        }
        let begun_ms = self.context.clock.now_ms();
        let (outcome, learnt) = match self.with_retries(known.as_ref()).await {
            Ok(Tried::Outcome(outcome, learnt)) => (outcome, *learnt),
            Ok(Tried::Large(size)) => {
                return Ended::Large(ObjectRef { size: Some(size), ..self.object.clone() });
            }
            Err(error) if error.name == ErrorName::SourceGone => {
                // What a large version left there is known to the record alone, which forgets it now.
                if let Ok(key) = self.batch.route.destination_key(&self.object.key) {
                    abandon(self.destination, &key, known.as_ref()).await;
                }
                (Outcome::Skipped { reason: SkipReason::SourceGone }, Learnt::default())
            }
            Err(error) if error.name.is_retryable() || error.keys_refused => return Ended::Remains(error),
            Err(error) => (failed(error.failure()), Learnt::default()),
        };
        let outcome = match outcome {
            // A listing saw nothing there: what stands there now, and is the same, was brought since, by a write whose
            // reply was lost or by this batch before it died.
            Outcome::Unchanged { proof } if known.is_none() && self.object.stands == Some(false) => {
                let bytes = learnt.source.as_ref().map_or(0, |source| source.size);
                Outcome::Migrated { bytes, proof }
            }
            other => other,
        };
        let Batch { route, execution, run, .. } = self.batch;
        let offered = Offered { offer: self.object, route: Some(route), execution, run: run.as_ref() };
        let learnt = Learnt { begun_ms: Some(begun_ms), ..learnt };
        match record(self.clients, self.context, offered, &outcome, learnt, Some(known)).await {
            Ok(tally) => Ended::Outcome(tally, self.context.clock.now_ms().saturating_sub(begun_ms)),
            Err(error) => Ended::Remains(error),
        }
    }

    async fn with_retries(&self, known: Option<&JobRecord>) -> Result<Tried, StepError> {
        let Self { context, clients, .. } = self;
        let mut attempt = 1;
        let mut faith = Faith { borrows: true, tells: true, read: None, copies: true };
        loop {
            let error = match self.with_looks(known, &mut faith).await {
                Ok(tried) => {
                    clients.engine.ended();
                    return Ok(tried);
                }
                Err(error) => error,
            };
            // A body that was streamed cannot be sent again as it is, a store without conditions needs that.
            let unconditional = faith.borrows && error.has_code("NotImplemented");
            if unconditional || error.name == ErrorName::ChecksumMismatch {
                faith.borrows = false;
            }
            // A store may refuse to be told a checksum that it does not know.
            if faith.tells && error.name == ErrorName::Rejected && error.status == Some(400) {
                faith.tells = false;
                continue;
            }
            if error.name == ErrorName::ChecksumMismatch {
                faith.copies = false;
            }
            if unconditional {
                continue;
            }
            if tries(&error) > 1 {
                count_fault(&clients.engine, context, &error);
            }
            if attempt >= tries(&error) || context.time_left().is_zero() {
                return Err(error);
            }
            tracing::debug!(key = self.object.key, attempt, %error, "object repeated");
            context.back_off(attempt).await;
            attempt += 1;
        }
    }

    /// Looks at the destination, then at the source, then writes on the condition of the first look.
    async fn with_looks(&self, known: Option<&JobRecord>, faith: &mut Faith) -> Result<Tried, StepError> {
        let key = self.batch.route.destination_key(&self.object.key)?;
        let mut stands = match known {
            // Neither the ledger nor a listing has ever heard of the object: `If-None-Match: *` is the look.
            // Where nothing may be overwritten, a store that ignores the header must not get the chance.
            None if self.object.stands != Some(true)
                && self.batch.route.options.overwrite != Overwrite::Never
                && !self.copies_unguarded() =>
            {
                None
            }
            _ => self.destination.head(&key).await?,
        };
        let mut looks = 1;
        loop {
            match self.once(&key, known, stands.as_ref(), faith).await {
                Err(error)
                    if matches!(error.name, ErrorName::DestinationChanged | ErrorName::SourceChanged)
                        && looks < LOOKS_MAX =>
                {
                    self.context.back_off(looks).await;
                    stands = self.destination.head(&key).await?;
                    looks += 1;
                }
                other => return other,
            }
        }
    }

    async fn once(
        &self,
        key: &str,
        known: Option<&JobRecord>,
        stands: Option<&Facts>,
        faith: &mut Faith,
    ) -> Result<Tried, StepError> {
        let Self { context, source, destination, batch, object, .. } = self;
        let engine = &self.clients.engine;
        if let Some(tried) = self.by_store(key, known, stands, faith).await? {
            return Ok(tried);
        }
        let mut permit = engine.admit(object.size.unwrap_or(SMALL_MAX).min(SMALL_MAX)).await?;
        let options = &batch.route.options;
        // Only where the destination still holds what the ledger wrote does an unchanged source mean unchanged objects.
        let pair = known
            .and_then(|record| Some((record.source.as_ref()?, record.destination_etag.as_ref()?)))
            .filter(|(_, etag)| stands.is_some_and(|facts| facts.etag == **etag))
            .filter(|_| options.overwrite != Overwrite::Always);
        let (look, body) = match source.get_whole(&object.key, pair.map(|(source, _)| &source.etag)).await? {
            Whole::Object(look, body) => (look, body),
            Whole::NotModified => {
                let learnt = Learnt {
                    source: pair.map(|(source, _)| source.clone()),
                    destination_etag: pair.map(|(_, etag)| etag.clone()),
                    checksum: known.and_then(|record| record.checksum.clone()),
                    ..Learnt::default()
                };
                return Ok(Tried::Outcome(Outcome::Unchanged { proof: Proof::Ledger }, Box::new(learnt)));
            }
        };
        if let Some(tried) = self.without_write(key, known, stands, &look).await {
            return Ok(tried);
        }
        let size = look.identity.size;
        let metadata = source.metadata(&object.key, &look).await?;
        let seen = stands.map_or(Seen::Absent, |facts| Seen::Present(facts.etag.clone()));
        let borrowed = borrowed_md5(&look).filter(|_| faith.borrows);
        let crc64nvme = crc64nvme_of(look.checksum.as_deref()).filter(|_| faith.tells).map(str::to_owned);
        let (written, md5) = match borrowed {
            Some(md5) if size > STREAM_MIN => {
                permit.shrink_to(STREAM_MEMORY);
                let (source, key_there) = ((*source).clone(), object.key.clone());
                // Reading by version id may not be allowed; the ETag pins the version as well (rule 4).
                let identity = SourceIdentity { version_id: None, ..look.identity.clone() };
                let span = Span { source, key: key_there, identity, offset: 0, length: size };
                let (written, tally) = stream_whole(engine, span, body, |body| {
                    let sent = ObjectSent { body: body.into_inner(), length: size, md5, crc64nvme };
                    destination.put(key, sent, &seen, &metadata, options)
                })
                .await;
                context.count(tally);
                (written?, md5)
            }
            _ => {
                let bytes = collect(body, size).await?;
                context.count(Tally { bytes_down: size, ..Tally::default() });
                let md5 = match borrowed {
                    Some(md5) => md5,
                    None => faith.checked(&look, Md5Digest::of(&bytes))?,
                };
                let sent = ObjectSent { body: SdkBody::from(bytes), length: size, md5, crc64nvme };
                let written = destination.put(key, sent, &seen, &metadata, options).await?;
                // One for an object without bytes: it took its time as well.
                engine.count_moved(size.max(1));
                (written, md5)
            }
        };
        context.count(Tally { bytes_up: size, ..Tally::default() });
        let Written { etag, encryption, checksum } = written;
        let held = Facts { etag, encryption, size, checksum };
        let differs = held.encryption == Encryption::Plain && held.etag.md5_form().is_some_and(|etag| etag != md5);
        if differs || checksums(&look.facts(), &held) == Checksums::Different {
            return Err(StepError::new(
                ErrorName::ChecksumMismatch,
                format!("sent {md5:?}, the destination holds {} with {:?}", held.etag, held.checksum),
            ));
        }
        // The store checked Content-MD5, so every byte is proven; equal ETags or checksums say so on both sides.
        Ok(migrated(&look, held, Proof::Parts))
    }

    /// What needs no write, or not here: it is the same, or is to stay, or it is large by now.
    async fn without_write(
        &self,
        key: &str,
        known: Option<&JobRecord>,
        stands: Option<&Facts>,
        look: &SourceLook,
    ) -> Option<Tried> {
        if is_abandoned(known, look, &self.batch.execution) {
            abandon(self.destination, key, known).await;
        }
        if let Some((outcome, learnt)) = without_copy(self.batch.route.options.overwrite, look, stands, known) {
            return Some(Tried::Outcome(outcome, Box::new(learnt)));
        }
        let size = look.identity.size;
        (size > SMALL_MAX).then_some(Tried::Large(size))
    }

    /// True if the store copies by itself and may do so whatever stands there: then no copy goes without a look.
    fn copies_unguarded(&self) -> bool {
        self.destination.copies() && self.destination.may_ignore_conditions()
    }

    /// Lets the store copy by itself: a HEAD is the look at the source, and its ETag the condition. `None` where the
    /// store does not copy, or what it copied turned out different.
    async fn by_store(
        &self,
        key: &str,
        known: Option<&JobRecord>,
        stands: Option<&Facts>,
        faith: &Faith,
    ) -> Result<Option<Tried>, StepError> {
        let Self { clients, context, source, destination, batch, object } = self;
        if !faith.copies || !destination.copies() {
            return Ok(None);
        }
        // A copy takes a place, but no memory.
        let _permit = clients.engine.admit(1).await?;
        let look = source.head(&object.key, None).await?;
        if let Some(tried) = self.without_write(key, known, stands, &look).await {
            return Ok(Some(tried));
        }
        let metadata = source.metadata(&object.key, &look).await?;
        let seen = stands.map_or(Seen::Absent, |facts| Seen::Present(facts.etag.clone()));
        let size = look.identity.size;
        // Without the version: the ETag pins it, and a version that is not current any more is not copied (rule 4).
        let from = Copied { key: &object.key, version_id: None, etag: &look.identity.etag, offset: 0, length: size };
        let copied = destination.copy_object(from, key, &seen, &metadata, &batch.route.options).await;
        let written = match copied {
            Ok(Some(written)) => written,
            Ok(None) => return Ok(None),
            Err(error) if error.name == ErrorName::DestinationChanged => {
                return Err(self.told_apart(&look, error).await);
            }
            Err(error) => return Err(error),
        };
        clients.engine.count_moved(size);
        let Written { etag, encryption, checksum } = written;
        let held = Facts { etag, encryption, size, checksum };
        // Only a whole object's MD5 stays the same in a copy.
        let md5 = held.etag.md5_form().filter(|_| held.encryption == Encryption::Plain);
        let differs = borrowed_md5(&look).zip(md5).is_some_and(|(source, held)| source != held);
        if differs || checksums(&look.facts(), &held) == Checksums::Different {
            return Err(StepError::new(
                ErrorName::ChecksumMismatch,
                format!(
                    "the store copied {} with {:?}, and holds {} with {:?}",
                    look.identity.etag, look.checksum, held.etag, held.checksum
                ),
            ));
        }
        context.count(Tally { server_side: 1, ..Tally::default() });
        Ok(Some(migrated(&look, held, Proof::Store)))
    }

    /// Which of the two conditions of a copy was refused: they are refused by the same words.
    async fn told_apart(&self, look: &SourceLook, refused: StepError) -> StepError {
        match self.source.head(&self.object.key, None).await {
            Ok(now) if look.identity.is_still(&now.identity) => refused,
            Ok(now) => StepError::new(
                ErrorName::SourceChanged,
                format!(
                    "the source changed while it was copied: {} now, {} then",
                    now.identity.etag, look.identity.etag
                ),
            ),
            Err(error) => error,
        }
    }
}

/// The outcome of a copy: named by what both sides tell of it, or else by how it was made.
fn migrated(look: &SourceLook, held: Facts, made: Proof) -> Tried {
    let proof = proof(&look.facts(), &held, false).unwrap_or(made);
    let learnt = Learnt {
        source: Some(look.identity.clone()),
        destination_etag: Some(held.etag),
        checksum: held.checksum,
        ..Learnt::default()
    };
    Tried::Outcome(Outcome::Migrated { bytes: held.size, proof }, Box::new(learnt))
}

/// A body up to this size is held in memory, so that the SDK can send it again, in bytes.
const STREAM_MIN: u64 = 256 * 1024;

/// What the tries of one object believe of the source's digests (rule 6).
struct Faith {
    /// The source's ETag is sent as `Content-MD5`, unseen. Not after a store refused one.
    borrows: bool,
    /// The source's CRC64NVME is sent ahead.
    tells: bool,
    /// The MD5 that was read, where it was not the source's ETag.
    read: Option<Md5Digest>,
    /// The store may copy by itself. Not after a copy of its own that differed.
    copies: bool,
}

impl Faith {
    /// The MD5 to send. If it is not the source's ETag, bytes were damaged on the way, or the ETag only has the form of
    /// an MD5: the same bytes twice show the latter.
    fn checked(&mut self, look: &SourceLook, md5: Md5Digest) -> Result<Md5Digest, StepError> {
        match borrowed_md5(look) {
            Some(etag) if etag != md5 && self.read.replace(md5) != Some(md5) => {
                Err(StepError::new(ErrorName::ChecksumMismatch, format!("read {md5:?}, the source's ETag is {etag:?}")))
            }
            _ => Ok(md5),
        }
    }
}

/// The source's ETag, if it is the MD5 of the whole object.
fn borrowed_md5(look: &SourceLook) -> Option<Md5Digest> {
    look.identity.etag.md5_form().filter(|_| look.identity.encryption == Encryption::Plain)
}
