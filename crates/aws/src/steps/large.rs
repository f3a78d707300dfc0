//! Plans one large object: looks at both sides, finds or begins its upload, lays out what is missing.

use super::rate::rate_for;
use crate::clients::Clients;
use crate::context::Context;
use crate::destination::{Begun, Destination, HeldPart};
use crate::engine::BUFFER_MAX;
use crate::error::StepError;
use crate::ledger::{Expected, LedgerError};
use crate::outcomes::Learnt;
use crate::source::{Source, SourceLook};
use longhaul_core::backfill::run::RunRef;
use longhaul_core::classify::{Class, SMALL_MAX};
use longhaul_core::config::{Overwrite, Route};
use longhaul_core::contract::{Large, LargeObject, Seen};
use longhaul_core::error::ErrorName;
use longhaul_core::etag::Encryption;
use longhaul_core::integrity::{Facts, PartProof, proof};
use longhaul_core::job::{JobRecord, SourceIdentity, UploadRecord};
use longhaul_core::layout::{HeldParts, LayoutError, PART_DEFAULT, PartLayout, PartRange, RANGES_MAX, ranges_for};
use longhaul_core::names::{LedgerKey, short_execution};
use longhaul_core::outcome::{Outcome, SkipReason, Status};
use longhaul_core::rate::{fits, fitting};
use longhaul_core::request::ObjectRef;
use longhaul_core::tally::Tally;

/// What planning a large object gave.
pub(super) enum Planned {
    /// Parts to copy, or none: then the upload is to be completed.
    Work(Box<Large>),
    /// It needs no copy.
    Ended(Outcome, Box<Learnt>),
    /// This execution has ended it already, in an earlier run of this step or one at the same time.
    Had(Tally),
    /// It is a small object by now.
    Small(ObjectRef),
}

/// An object to plan.
pub(super) struct ToPlan<'a> {
    pub(super) offer: &'a ObjectRef,
    pub(super) route: &'a Route,
    pub(super) execution: &'a str,
    pub(super) run: Option<&'a RunRef>,
    pub(super) replans: u32,
}

/// What becomes of the destination as it is seen: `None` means that it is to be written.
pub(super) fn without_copy(
    overwrite: Overwrite,
    source: &SourceLook,
    destination: Option<&Facts>,
    record: Option<&JobRecord>,
) -> Option<(Outcome, Learnt)> {
    let destination = destination?;
    let paired = record.is_some_and(|record| record.pairs(&source.identity.etag, &destination.etag));
    let same = proof(&source.facts(), destination, paired);
    match (overwrite, same) {
        (Overwrite::Always, _) | (Overwrite::Differs, None) => None,
        (_, Some(proof)) => Some((
            Outcome::Unchanged { proof },
            Learnt {
                source: Some(source.identity.clone()),
                destination_etag: Some(destination.etag.clone()),
                checksum: destination.checksum.clone(),
                ..Learnt::default()
            },
        )),
        (Overwrite::Never, None) => Some((Outcome::Skipped { reason: SkipReason::Exists }, Learnt::default())),
    }
}

/// Looks at the destination, then at the source (rule 2), and lays out the work. A source that changes or goes between
/// two looks is looked at once more. Whoever loses the race for the ledger looks at both sides again: the winner may
/// have ended the object meanwhile.
pub(super) async fn plan_large(
    clients: &Clients,
    context: &Context,
    to_plan: &ToPlan<'_>,
) -> Result<Planned, StepError> {
    const RACES: u32 = 4;
    let (mut races, mut moved) = (0, false);
    loop {
        match look_and_plan(clients, context, to_plan).await {
            Ok(Some(planned)) => return Ok(planned),
            Ok(None) if races + 1 < RACES => races += 1,
            Ok(None) => return Err(LedgerError::Conflict.into()),
            Err(error) if !moved && matches!(error.name, ErrorName::SourceChanged | ErrorName::SourceGone) => {
                moved = true;
            }
            Err(error) => return Err(error),
        }
    }
}

/// `None` where somebody else wrote the ledger's record meanwhile.
async fn look_and_plan(
    clients: &Clients,
    context: &Context,
    to_plan: &ToPlan<'_>,
) -> Result<Option<Planned>, StepError> {
    let ToPlan { offer, route, .. } = to_plan;
    let destination_key = route.destination_key(&offer.key)?;
    let key = LedgerKey::new(&route.destination, &destination_key);
    let source = Source::connect(clients, &route.source).await?;
    let destination = Destination::connect(clients, &route.destination).await?;

    let record = clients.ledger.get(&key).await?;
    if let Some(outcome) = record.as_ref().and_then(|record| record.outcome_of(to_plan.execution)) {
        return Ok(Some(Planned::Had(outcome.tally())));
    }
    let stands = destination.head(&destination_key).await?;
    let look = match source.head(&offer.key, None).await {
        Err(error) if error.name == ErrorName::SourceGone => {
            abandon(&destination, &destination_key, record.as_ref()).await;
            let outcome = Outcome::Skipped { reason: SkipReason::SourceGone };
            return Ok(Some(Planned::Ended(outcome, Box::default())));
        }
        other => other?,
    };
    let ended = without_copy(route.options.overwrite, &look, stands.as_ref(), record.as_ref());
    let is_large = Class::of(look.identity.size) == Class::Large;
    if (ended.is_some() || !is_large) && is_abandoned(record.as_ref(), &look, to_plan.execution) {
        abandon(&destination, &destination_key, record.as_ref()).await;
    }
    if let Some((outcome, learnt)) = ended {
        return Ok(Some(Planned::Ended(outcome, Box::new(learnt))));
    }
    if !is_large {
        let size = Some(look.identity.size);
        return Ok(Some(Planned::Small(ObjectRef { size, ..(*offer).clone() })));
    }
    let seen = stands.map_or(Seen::Absent, |facts| Seen::Present(facts.etag));
    let upload =
        find_or_begin(clients, context, to_plan, &key, &destination_key, &source, &destination, &look, record).await?;
    let Some(upload) = upload else { return Ok(None) };
    let object = LargeObject {
        offer: (*offer).clone(),
        route: (*route).clone(),
        execution: to_plan.execution.to_owned(),
        run: to_plan.run.cloned(),
        source: upload.source,
        destination_key,
        seen,
        upload_id: upload.record.upload_id,
        layout: upload.record.layout,
        mirrored: upload.record.mirrored,
        encryption: upload.record.encryption,
        trailing_checksum: upload.record.trailing_checksum,
        most_ranges: route
            .options
            .max_ranges
            .unwrap_or(RANGES_MAX as u32)
            .min(clients.copy_functions.unwrap_or(u32::MAX)),
        begun_ms: context.clock.now_ms(),
        replans: to_plan.replans,
    };
    Ok(Some(Planned::Work(Box::new(laid_out(object, &upload.held)))))
}

/// The ranges of parts that an upload misses.
pub(super) fn laid_out(object: LargeObject, held: &[HeldPart]) -> Large {
    let parts = trusted(&object, held);
    let missing: Vec<u32> = parts.missing().collect();
    let missing_bytes = missing.iter().filter_map(|number| object.layout.part(*number)).map(|(_, length)| length).sum();
    let ranges = parts.missing_ranges(ranges_for(missing_bytes, object.most_ranges as usize));
    Large {
        max_concurrency: ranges.len().max(1) as u32,
        held: held.iter().filter(|part| has_right_size(&object.layout, part)).count() as u32,
        object,
        ranges,
        rounds: 0,
        idle: 0,
        tally: Default::default(),
        results: Vec::new(),
        error: None,
    }
}

/// The parts that count as held: those of the right size that the store could refuse, or that the composed ETag will
/// prove (rule 8). The others are read again from the source, and sent again if they are wrong.
pub(super) fn trusted(object: &LargeObject, held: &[HeldPart]) -> HeldParts {
    let mut parts = HeldParts::none(&object.layout);
    if !object.leaves_unproven() {
        for part in held.iter().filter(|part| has_right_size(&object.layout, part)) {
            parts.insert(part.number);
        }
    }
    parts
}

/// True if the part has the size that the layout gives it.
pub(super) fn has_right_size(layout: &PartLayout, part: &HeldPart) -> bool {
    layout.part(part.number).is_some_and(|(_, length)| length == part.size)
}

/// An upload of this source version, and the parts it holds.
struct Upload {
    record: UploadRecord,
    source: SourceIdentity,
    held: Vec<HeldPart>,
}

/// The upload that the ledger ties to this very source version, if the destination still holds it; else a new one.
/// Whoever loses the race for the ledger aborts its own upload: `None`.
#[expect(clippy::too_many_arguments, reason = "what plan_large has looked up, used once")]
async fn find_or_begin(
    clients: &Clients,
    context: &Context,
    to_plan: &ToPlan<'_>,
    key: &LedgerKey,
    destination_key: &str,
    source: &Source,
    destination: &Destination,
    look: &SourceLook,
    record: Option<JobRecord>,
) -> Result<Option<Upload>, StepError> {
    let ToPlan { offer, route, execution, .. } = to_plan;
    let expected = record.as_ref().map_or(Expected::Absent, |record| Expected::Revision(record.revision));
    let now = context.clock.now_ms();
    let mut next =
        record.clone().unwrap_or_else(|| JobRecord::new(key.clone(), &offer.bucket, &offer.key, execution, now));
    if let Some((upload, identity)) = resumable(&next, look) {
        let whole = PartRange { first: 1, last: upload.layout.count() };
        match destination.list_parts(destination_key, &upload.upload_id, whole).await {
            Ok(held) => {
                begin(&mut next, offer, execution, now);
                return match clients.ledger.put(&next, expected).await {
                    Ok(_) => {
                        let (execution, upload_id) = (short_execution(execution), upload.upload_id.as_str());
                        let (bucket, key, held_parts) = (offer.bucket.as_str(), offer.key.as_str(), held.len());
                        tracing::info!(execution, bucket, key, upload_id, held_parts, "upload resumed");
                        Ok(Some(Upload { record: upload, source: identity, held }))
                    }
                    Err(LedgerError::Conflict) => Ok(None),
                    Err(error) => Err(error.into()),
                };
            }
            // A store may say so too early, and the ledger is about to forget the upload.
            Err(error) if error.name == ErrorName::UploadGone => {
                abandon(destination, destination_key, record.as_ref()).await;
            }
            Err(error) => return Err(error),
        }
    } else {
        abandon(destination, destination_key, record.as_ref()).await;
    }
    let identity = source.pinned(&offer.key, &look.identity).await?;
    let metadata = source.metadata(&offer.key, look).await?;
    let begun = destination.create_upload(destination_key, &metadata, &route.options).await?;
    let (layout, mirrored) = match layout_for(clients, context, source, &offer.key, &identity, route, &begun).await {
        Ok(layout) => layout,
        Err(error) => {
            destination.abort(destination_key, &begun.upload_id).await?;
            return Err(error);
        }
    };
    let Begun { upload_id, encryption, trailing_checksum } = begun;
    let upload = UploadRecord { upload_id, layout, mirrored, encryption, trailing_checksum };
    begin(&mut next, offer, execution, now);
    next.source = Some(identity.clone());
    next.bytes = identity.size;
    next.destination_etag = None;
    next.upload = Some(upload.clone());
    match clients.ledger.put(&next, expected).await {
        Ok(_) => Ok(Some(Upload { record: upload, source: identity, held: Vec::new() })),
        Err(error) => {
            // Nobody else knows this upload.
            destination.abort(destination_key, &upload.upload_id).await?;
            if error == LedgerError::Conflict { Ok(None) } else { Err(error.into()) }
        }
    }
}

fn begin(record: &mut JobRecord, offer: &ObjectRef, execution: &str, now: u64) {
    record.status = Status::Copying;
    record.execution = execution.to_owned();
    record.attempts += 1;
    record.started_ms = now;
    record.updated_ms = now;
    (record.failure, record.proof, record.skipped) = (None, None, None);
    record.offer(offer.sequencer.as_ref());
}

/// The open upload of this very source version.
fn resumable(record: &JobRecord, look: &SourceLook) -> Option<(UploadRecord, SourceIdentity)> {
    let identity = record.source.as_ref()?;
    let upload = record.upload.as_ref()?;
    // Parts that have to be held in memory and are too large for it: nobody begins such an upload any more.
    let held = PartProof::of(upload.trailing_checksum, upload.encryption) == PartProof::Ahead
        && upload.layout.part_size() > BUFFER_MAX;
    let same = identity.is_still(&look.identity) && upload.layout.size() == look.identity.size && !held;
    same.then(|| (upload.clone(), identity.clone()))
}

/// True if nobody goes on with the upload in the ledger: it is of an older version, or its execution ended or is ours.
pub(super) fn is_abandoned(record: Option<&JobRecord>, look: &SourceLook, execution: &str) -> bool {
    record.is_some_and(|record| {
        let of_this_version = record.source.as_ref().is_some_and(|source| source.is_still(&look.identity));
        record.upload.is_some() && (!of_this_version || record.status.is_final() || record.execution == execution)
    })
}

/// Aborts the upload that the ledger is about to forget: of a source version that is not current any more, or said to be
/// gone.
pub(super) async fn abandon(destination: &Destination, destination_key: &str, record: Option<&JobRecord>) {
    if let Some(upload) = record.and_then(|record| record.upload.as_ref()) {
        destination.forsake(destination_key, &upload.upload_id).await;
    }
}

/// Aborts the upload of an object whose source is gone, as [`abandon`].
pub(super) async fn abandon_gone(clients: &Clients, route: &Route, key: &str) -> Result<(), StepError> {
    let destination_key = route.destination_key(key)?;
    let record = clients.ledger.get(&LedgerKey::new(&route.destination, &destination_key)).await?;
    if record.as_ref().is_some_and(|record| record.upload.is_some()) {
        let destination = Destination::connect(clients, &route.destination).await?;
        abandon(&destination, &destination_key, record.as_ref()).await;
    }
    Ok(())
}

/// The source's own layout where that makes the ETags equal and it may be mirrored, else parts of the configured size;
/// and which of the two it is. Neither has parts that a connection of the route would not carry in time: fails as
/// `TooSlow` where only such parts would do (rule 18).
async fn layout_for(
    clients: &Clients,
    context: &Context,
    source: &Source,
    key: &str,
    identity: &SourceIdentity,
    route: &Route,
    begun: &Begun,
) -> Result<(PartLayout, bool), StepError> {
    if identity.etag.parts_suffix().is_some() && begun.encryption == Encryption::Plain {
        let (parts, first) = match source.first_part(key, identity).await {
            Ok(found) => found,
            // A store without this look has no layout to mirror.
            Err(error) if matches!(error.status, Some(400 | 501)) => (None, 0),
            Err(error) => return Err(error),
        };
        if let Some(layout) = PartLayout::mirrored(identity.size, &identity.etag, parts, first) {
            if fits(layout.part_size(), rate_for(clients, context, route, &layout).await) {
                return Ok((layout, true));
            }
            tracing::info!(key, part_size = layout.part_size(), "the source's parts are too large for the route");
        }
    }
    let wanted = route.options.part_size.unwrap_or(PART_DEFAULT);
    let ahead = PartProof::of(begun.trailing_checksum, begun.encryption) == PartProof::Ahead;
    let wanted = if ahead { wanted.min(BUFFER_MAX) } else { wanted };
    let refused = |error: LayoutError| StepError::rejected(error.to_string());
    let layout = PartLayout::new(identity.size, wanted).map_err(refused)?;
    let rate = rate_for(clients, context, route, &layout).await;
    let layout = fitting(identity.size, wanted, rate)
        .map_err(refused)?
        .map_err(|error| StepError::new(ErrorName::TooSlow, error.to_string()))?;
    if ahead && layout.part_size() > BUFFER_MAX {
        return Err(StepError::rejected(format!(
            "parts of {} bytes, to a store whose ETags are no MD5s and that takes no trailing checksum: a copy could \
             not be proven",
            layout.part_size()
        )));
    }
    Ok((layout, false))
}

const _: () = assert!(SMALL_MAX <= BUFFER_MAX, "a small object is held in memory");
