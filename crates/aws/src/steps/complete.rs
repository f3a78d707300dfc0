//! Completes an upload from what the destination holds, and proves the result.

use super::copy_parts::check_current;
use super::large::{has_right_size, laid_out};
use crate::clients::Clients;
use crate::context::Context;
use crate::destination::{Destination, HeldPart, Whole};
use crate::error::StepError;
use crate::outcomes::{Learnt, Offered, ledger_key, record, update};
use crate::source::{Source, SourceLook};
use longhaul_core::config::Overwrite;
use longhaul_core::contract::{
    Again, Done, IDLE_ROUNDS_MAX, ItemState, Large, LargeObject, OBJECT_ROUNDS_MAX, Rest, Seen, Slowest,
};
use longhaul_core::error::{CaughtError, ErrorName};
use longhaul_core::etag::{ETag, Encryption, composed};
use longhaul_core::integrity::{Checksums, Facts, PartProof, checksums, combined, crc64nvme_of, proof};
use longhaul_core::job::JobRecord;
use longhaul_core::layout::PartRange;
use longhaul_core::names::short_execution;
use longhaul_core::outcome::{Outcome, Proof, SkipReason};
use longhaul_core::tally::Tally;

/// Times that an object is planned again before it fails.
const REPLANS_MAX: u32 = 1;
/// Times that Complete is tried after a refused condition (SEMANTICS.md, rule 3).
const LOOKS_MAX: u32 = 3;

/// Looks at what the destination holds and decides: more rounds, a new plan, a failure, or the finished object.
///
/// May run twice, or after a Complete whose reply was lost: an upload that is gone leads to a look at the object.
pub async fn complete(clients: &Clients, context: &Context, large: Large) -> Result<ItemState, StepError> {
    let mut large = large;
    let results = std::mem::take(&mut large.results);
    let round: Tally = results.iter().map(|result| result.tally).sum();
    large.tally += round;
    let errors: Vec<CaughtError> = results.into_iter().filter_map(|result| result.error).collect();
    let both = Both {
        clients,
        context,
        source: Source::connect(clients, &large.object.route.source).await?,
        destination: Destination::connect(clients, &large.object.route.destination).await?,
    };
    let object = &large.object;
    let whole = PartRange { first: 1, last: object.layout.count() };
    let held = match both.destination.list_parts(&object.destination_key, &object.upload_id, whole).await {
        Ok(held) => held,
        Err(error) if error.name == ErrorName::UploadGone => return both.without_upload(large, error).await,
        Err(error) => return Err(error),
    };
    let next = laid_out(object.clone(), &held);
    let held: Vec<HeldPart> = held.into_iter().filter(|part| has_right_size(&object.layout, part)).collect();
    // A part that differed, or that nobody lived to compare, may stand there under the right size.
    let differed = errors.iter().any(|error| error.error == ErrorName::ChecksumMismatch.as_str());
    let uncompared = !errors.is_empty() && object.leaves_unproven();
    if held.len() == object.layout.count() as usize && !differed && !uncompared {
        return both.finish(large, &held).await;
    }
    both.go_on(large, next, gravest(errors)).await
}

/// The error that decides: one that no further round can mend, else the first.
fn gravest(errors: Vec<CaughtError>) -> Option<CaughtError> {
    let fatal = |error: &CaughtError| ErrorName::parse(&error.error).is_some_and(|name| !name.is_retryable());
    let index = errors.iter().position(fatal).unwrap_or(0);
    errors.into_iter().nth(index)
}

struct Both<'a> {
    clients: &'a Clients,
    context: &'a Context,
    source: Source,
    destination: Destination,
}

impl Both<'_> {
    /// Parts are missing: another round, a successor, or the error that stopped the ranges.
    async fn go_on(&self, large: Large, next: Large, stopped: Option<CaughtError>) -> Result<ItemState, StepError> {
        if let Some(error) = &stopped {
            match ErrorName::parse(&error.error) {
                Some(ErrorName::SourceChanged | ErrorName::SourceGone) => return self.source_moved(large).await,
                // A moment ago a range did not find the upload that stands there now: a twin planned again.
                Some(ErrorName::UploadGone) => return Ok(again_or_settle(large, error.clone())),
                // The upload holds a wrong part: nothing of it can be used.
                Some(ErrorName::ChecksumMismatch) => return self.mismatch(large, error.cause.clone()).await,
                // Names of AWS's own, and what may pass: worth another round as long as parts arrive.
                Some(ErrorName::Transient | ErrorName::Throttled) | None => {}
                Some(_) => return Ok(settled(large, error.clone())),
            }
        }
        // What the destination holds counts: a range that was killed tells nothing of what it sent.
        let idle = if next.held > large.held { 0 } else { large.idle + 1 };
        if idle >= IDLE_ROUNDS_MAX {
            let error = stopped
                .unwrap_or_else(|| StepError::new(ErrorName::TooSlow, "two rounds in which no part was sent").caught());
            return Ok(settled(large, error));
        }
        let rounds = large.rounds + 1;
        if rounds >= OBJECT_ROUNDS_MAX {
            let tally = Tally { continued: large.tally.continued + 1, ..large.tally };
            return Ok(ItemState::Done(Done {
                slowest: None,
                tally,
                remaining: Rest { objects: vec![large.object.offer], manifests: Vec::new() },
            }));
        }
        Ok(ItemState::CopyParts(Box::new(Large { rounds, idle, tally: large.tally, ..next })))
    }

    /// The planned version is not the current one any more. A newer version of an object that an event offered has an
    /// event of its own; otherwise it is planned once more. The upload holds parts of a version that nobody wants.
    async fn source_moved(&self, large: Large) -> Result<ItemState, StepError> {
        let object = &large.object;
        self.destination.abort_until_gone(&object.destination_key, &object.upload_id).await?;
        let current = match self.source.head(&object.offer.key, None).await {
            Err(error) if error.name == ErrorName::SourceGone => {
                return self
                    .ended(&large, Outcome::Skipped { reason: SkipReason::SourceGone }, Learnt::default())
                    .await;
            }
            other => other?,
        };
        // Only an event brings a sequencer.
        let newer = object.source.version_id.is_some() && current.identity.version_id != object.source.version_id;
        if newer && object.offer.sequencer.is_some() {
            return self.ended(&large, Outcome::Skipped { reason: SkipReason::Superseded }, Learnt::default()).await;
        }
        let error = StepError::new(ErrorName::SourceChanged, "the source changed while it was copied");
        Ok(again_or_settle(large, error.caught()))
    }

    /// The upload is gone: it was completed (the ETag that the ledger foretold stands there), or aborted behind us. A store
    /// may have said so too early: it is aborted before the ledger forgets it.
    async fn without_upload(&self, large: Large, error: StepError) -> Result<ItemState, StepError> {
        let object = &large.object;
        let source = match self.source.head(&object.offer.key, None).await {
            Err(error) if error.name == ErrorName::SourceGone => {
                self.destination.forsake(&object.destination_key, &object.upload_id).await;
                let outcome = Outcome::Skipped { reason: SkipReason::SourceGone };
                return self.ended(&large, outcome, Learnt::default()).await;
            }
            other => other?,
        };
        let key = ledger_key(&object.route, &object.offer.key)?;
        let job = self.clients.ledger.get(&key).await?;
        // A twin of this execution may have ended the object, and everything that belongs to it, already.
        if let Some(outcome) = job.as_ref().and_then(|job| job.outcome_of(&object.execution)) {
            return Ok(done(&large, outcome.tally()));
        }
        if let Some(stands) = self.destination.head(&object.destination_key).await?
            && object.source.is_still(&source.identity)
            && let Some(proof) = proven(object, &source, &stands, job.as_ref())
        {
            self.destination.forsake(&object.destination_key, &object.upload_id).await;
            let learnt = learnt(object, &stands);
            let outcome = Outcome::Migrated { bytes: object.layout.size(), proof };
            return self.ended(&large, outcome, learnt).await;
        }
        Ok(again_or_settle(large, error.caught()))
    }

    /// Every part is there: prove, complete, prove again.
    async fn finish(&self, large: Large, held: &[HeldPart]) -> Result<ItemState, StepError> {
        let object = &large.object;
        // Under SSE-KMS the parts' ETags have the form of MD5s and are none.
        let plain = object.encryption == Encryption::Plain;
        let made = if plain { composed(held.iter().map(|part| &part.etag)) } else { None };
        let comparable = object.is_comparable();
        if let Some(made) = &made
            && comparable
            && *made != object.source.etag
        {
            let told = format!("the parts make {made}, the source is {}", object.source.etag);
            return self.mismatch(large, told).await;
        }
        let key = ledger_key(&object.route, &object.offer.key)?;
        if let Some(made) = &made {
            // Foretold, so that whoever finds the upload gone knows our object when it stands there.
            let now = self.context.clock.now_ms();
            update(self.clients, &key, None, |current| {
                let mut job = current.unwrap_or_else(|| {
                    JobRecord::new(key.clone(), &object.offer.bucket, &object.offer.key, &object.execution, now)
                });
                // Somebody copies a newer version by an upload of its own: the record is theirs.
                if job.upload.as_ref().is_some_and(|upload| upload.upload_id != object.upload_id) {
                    return job;
                }
                job.source = Some(object.source.clone());
                job.destination_etag = Some(made.clone());
                job.updated_ms = now;
                job
            })
            .await?;
        }
        let sum = if object.trailing_checksum {
            combined(held.iter().map(|part| (part.crc64nvme.as_deref(), part.size)))
        } else {
            None
        };
        let mut seen = object.seen.clone();
        for _ in 0..LOOKS_MAX {
            let source = match check_current(&self.source, object).await {
                Err(error) if matches!(error.name, ErrorName::SourceChanged | ErrorName::SourceGone) => {
                    return self.source_moved(large).await;
                }
                other => other?,
            };
            // A store that ignores the condition must not get the chance to overwrite.
            let never = object.route.options.overwrite == Overwrite::Never;
            if never && seen == Seen::Absent && self.destination.head(&object.destination_key).await?.is_some() {
                self.destination.abort_until_gone(&object.destination_key, &object.upload_id).await?;
                return self.ended(&large, Outcome::Skipped { reason: SkipReason::Exists }, Learnt::default()).await;
            }
            // The store refuses to complete what is not the source, or at least not these parts (rule 9).
            let told = crc64nvme_of(source.checksum.as_deref());
            if let (Some(told), Some(sum)) = (told, &sum)
                && told != sum
            {
                let told = format!("the parts' CRC64NVME is {sum}, the source's {told}");
                return self.mismatch(large, told).await;
            }
            let crc64nvme = told.or(sum.as_deref());
            let whole = Whole { size: object.layout.size(), crc64nvme, checksums_begun: object.trailing_checksum };
            let completed =
                self.destination.complete(&object.destination_key, &object.upload_id, held, whole, &seen).await;
            let etag = match completed {
                Ok(etag) => etag,
                Err(error) if error.name == ErrorName::UploadGone => {
                    return self.without_upload(large, error).await;
                }
                Err(error) if error.name == ErrorName::ChecksumMismatch => {
                    return self.mismatch(large, error.message).await;
                }
                Err(error) if error.name == ErrorName::DestinationChanged => {
                    match self.destination.head(&object.destination_key).await? {
                        Some(stands) if made.as_ref() == Some(&stands.etag) && stands.size == object.layout.size() => {
                            // Perhaps a twin's upload made it: then this one still stands, and nobody goes on with it.
                            self.destination.abort_until_gone(&object.destination_key, &object.upload_id).await?;
                            stands.etag
                        }
                        Some(_) if object.route.options.overwrite == Overwrite::Never => {
                            self.destination.abort_until_gone(&object.destination_key, &object.upload_id).await?;
                            let outcome = Outcome::Skipped { reason: SkipReason::Exists };
                            return self.ended(&large, outcome, Learnt::default()).await;
                        }
                        stands => {
                            seen = stands.map_or(Seen::Absent, |facts| Seen::Present(facts.etag));
                            continue;
                        }
                    }
                }
                Err(error) => return Err(error),
            };
            return self.prove(large, &source, made.as_ref(), &etag).await;
        }
        let told = "another object was written to the destination three times in a row";
        Ok(settled(large, StepError::new(ErrorName::DestinationChanged, told).caught()))
    }

    /// Looks at the finished object and names its proof.
    async fn prove(
        &self,
        large: Large,
        source: &SourceLook,
        made: Option<&ETag>,
        etag: &ETag,
    ) -> Result<ItemState, StepError> {
        let object = &large.object;
        let Some(stands) = self.destination.head(&object.destination_key).await? else {
            let told = "the completed object does not stand at the destination";
            return Err(StepError::new(ErrorName::Transient, told));
        };
        if stands.etag != *etag {
            // Somebody wrote after us: ours was complete, and what stands now is theirs to answer for.
            let (execution, bucket, key) =
                (short_execution(&object.execution), &object.offer.bucket, &object.offer.key);
            tracing::warn!(execution, bucket, key, ours = %etag, stands = %stands.etag, "overwritten after completion");
        } else if stands.size != object.layout.size() || checksums(&source.facts(), &stands) == Checksums::Different {
            let told = format!(
                "{} bytes with {:?} stand at the destination, {} with {:?} at the source",
                stands.size, stands.checksum, source.identity.size, source.checksum
            );
            return self.mismatch_seen(large, told).await;
        }
        let ours = Facts { etag: etag.clone(), ..stands };
        let proof = match proof(&source.facts(), &ours, false) {
            Some(proof) => proof,
            // Parts are compared by ETags, and these turn out to be no MD5s.
            None if ours.encryption == Encryption::Opaque && object.part_proof() == PartProof::Compared => {
                let told = "the destination encrypts by KMS and did not say so: the parts are not proven";
                return Ok(settled(large, StepError::new(ErrorName::ChecksumMismatch, told).caught()));
            }
            // Every part was checked by the store, or against its answer, or copied by it; the whole is made of exactly these.
            None if ours.encryption == Encryption::Opaque || made.is_none_or(|made| made == etag) => Proof::Parts,
            None => {
                let told = format!("the parts make {made:?}, the destination answers {etag}");
                return self.mismatch_seen(large, told).await;
            }
        };
        let outcome = Outcome::Migrated { bytes: object.layout.size(), proof };
        self.ended(&large, outcome, learnt(object, &ours)).await
    }

    /// The finished object differs. Where nothing may be overwritten, a plan would take it for somebody else's.
    async fn mismatch_seen(&self, large: Large, told: String) -> Result<ItemState, StepError> {
        if large.object.route.options.overwrite == Overwrite::Never {
            return Ok(settled(large, StepError::new(ErrorName::ChecksumMismatch, told).caught()));
        }
        self.mismatch(large, told).await
    }

    /// The whole differs: the upload is worthless. One fresh upload is tried.
    async fn mismatch(&self, large: Large, told: String) -> Result<ItemState, StepError> {
        let object = &large.object;
        self.destination.abort_until_gone(&object.destination_key, &object.upload_id).await?;
        let LargeObject { offer, execution, upload_id, .. } = object;
        let (execution, bucket, key) = (short_execution(execution), offer.bucket.as_str(), offer.key.as_str());
        tracing::error!(execution, bucket, key, upload_id, reason = told, "mismatch");
        Ok(again_or_settle(large, StepError::new(ErrorName::ChecksumMismatch, told).caught()))
    }

    async fn ended(&self, large: &Large, outcome: Outcome, learnt: Learnt) -> Result<ItemState, StepError> {
        let object = &large.object;
        let LargeObject { offer, route, execution, run, upload_id, .. } = object;
        let offered = Offered { offer, route: Some(route), execution, run: run.as_ref() };
        let learnt = Learnt { upload_id: Some(upload_id.clone()), ..learnt };
        let tally = record(self.clients, self.context, offered, &outcome, learnt, None).await?;
        let ms = self.context.clock.now_ms().saturating_sub(object.begun_ms);
        let copied = tally.migrated > 0 && object.begun_ms > 0;
        let slowest = copied.then(|| Slowest { key: object.offer.key.clone(), bytes: tally.bytes, ms });
        Ok(ItemState::Done(Done { tally: large.tally + tally, slowest, ..Done::default() }))
    }
}

fn learnt(object: &LargeObject, stands: &Facts) -> Learnt {
    Learnt {
        source: Some(object.source.clone()),
        destination_etag: Some(stands.etag.clone()),
        checksum: stands.checksum.clone(),
        ..Learnt::default()
    }
}

/// The proof that what stands at the destination is this object, without its upload.
fn proven(object: &LargeObject, source: &SourceLook, stands: &Facts, job: Option<&JobRecord>) -> Option<Proof> {
    let foretold = job.is_some_and(|job| job.pairs(&object.source.etag, &stands.etag));
    match proof(&source.facts(), stands, foretold) {
        // The ETag was composed from parts that were proven one by one.
        Some(Proof::Ledger) => Some(Proof::Parts),
        other => other,
    }
}

fn done(large: &Large, tally: Tally) -> ItemState {
    ItemState::Done(Done { tally: large.tally + tally, ..Done::default() })
}

fn settled(mut large: Large, error: CaughtError) -> ItemState {
    large.error = Some(error);
    ItemState::Settle(Box::new(large))
}

fn again_or_settle(large: Large, error: CaughtError) -> ItemState {
    let object = &large.object;
    if object.replans >= REPLANS_MAX {
        return settled(large, error);
    }
    let LargeObject { offer, execution, upload_id, .. } = object;
    let (execution, bucket, key) = (short_execution(execution), offer.bucket.as_str(), offer.key.as_str());
    tracing::warn!(execution, bucket, key, upload_id, error = error.error, reason = error.cause, "planned again");
    ItemState::PlanAgain(Box::new(Again {
        offer: object.offer.clone(),
        route: object.route.clone(),
        execution: object.execution.clone(),
        run: object.run.clone(),
        most_ranges: object.most_ranges,
        replans: object.replans + 1,
        tally: large.tally,
    }))
}
