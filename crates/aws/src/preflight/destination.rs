//! Checks of the destination.

use super::Look;
use super::reach::{Reached, reach};
use crate::clients::Clients;
use crate::denial::payer;
use crate::destination::{Begun, Conditional, Destination, PartSent};
use crate::error::{Place, StepError, from_sdk};
use crate::metadata::Metadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, StorageClass};
use longhaul_core::backfill::check::{Check, CheckedSide, Verdict};
use longhaul_core::config::{Options, Route, Side};
use longhaul_core::etag::{ETag, Encryption, Md5Digest};
use longhaul_core::integrity::PartProof;

const LOOK: Look = Look { side: CheckedSide::Destination };
/// No object has this ETag.
const IMPOSSIBLE: &str = "00000000000000000000000000000000";
/// An upload that is aborted before its transfer is resumed is lost work (SEMANTICS.md, rule 19).
const ABORT_DAYS_LEAST: i32 = 30;

pub(super) async fn checks(clients: &Clients, route: &Route, probe: &str, deletes: bool) -> Vec<Check> {
    let side = &route.destination;
    let Reached { client, mut checks, .. } = match reach(clients, side, LOOK).await {
        Ok(reached) => reached,
        Err(failed) => return vec![*failed],
    };
    let destination = match Destination::connect(clients, side).await {
        Ok(destination) => destination,
        Err(error) => return vec![LOOK.failed("credentials", error.message)],
    };
    let looked = LOOK.within("look", look_at(&destination, probe)).await;
    let free = looked.verdict == Verdict::Ok;
    checks.push(looked);
    // Nothing is tried where something stands.
    if free {
        checks.push(LOOK.within("conditional writes", put(&client, route, probe)).await);
        checks.push(LOOK.within("uploads in parts", upload(&destination, &route.options, probe)).await);
        checks.push(LOOK.within("tags", tags(&destination, &route.options, probe)).await);
        if deletes {
            checks.push(LOOK.within("removals", removal(&destination, probe)).await);
        }
    }
    checks.push(LOOK.within("unfinished uploads", lifecycle(&client, side)).await);
    checks
}

/// HEAD of a key under which nothing stands: what each copy begins with.
async fn look_at(destination: &Destination, probe: &str) -> Check {
    const NAME: &str = "look";
    match destination.head(probe).await {
        Ok(None) => LOOK.ok(NAME, "objects can be looked at"),
        Ok(Some(_)) => LOOK.unknown(NAME, format!("something stands at {probe:?}: writes were not tried")),
        Err(error) => LOOK.refused(NAME, Verdict::Failed, "what stands there cannot be seen", &error),
    }
}

/// A PUT on a condition that cannot hold: only its refusal tells.
async fn put(client: &aws_sdk_s3::Client, route: &Route, probe: &str) -> Check {
    const NAME: &str = "conditional writes";
    const WEAK: &str = "the store takes no conditions: what was written is looked at after the write";
    let side = &route.destination;
    let answer = client
        .put_object()
        .bucket(&side.bucket)
        .key(probe)
        .if_match(ETag::new(IMPOSSIBLE).quoted())
        .set_storage_class(route.options.storage_class.as_deref().map(StorageClass::from))
        .content_md5(Md5Digest::of(b"").base64())
        .body(ByteStream::from_static(b""))
        .set_expected_bucket_owner(side.owner.clone())
        .set_request_payer(payer(side))
        .send()
        .await;
    let what = format!("writing s3://{}/{probe}", side.bucket);
    match answer.map_err(|error| from_sdk(Place::Destination, &what, &error)) {
        Err(error) if matches!(error.status, Some(404 | 409 | 412)) => LOOK.ok(NAME, "the store keeps to conditions"),
        Err(error) if error.has_code("NotImplemented") || error.status == Some(501) => LOOK.warning(NAME, WEAK),
        Err(error) => LOOK.refused(NAME, Verdict::Failed, "objects cannot be written", &error),
        Ok(_) => match take_back(client, side, probe).await {
            Ok(()) => LOOK.warning(NAME, WEAK),
            Err(error) => {
                let told = format!("{WEAK}; the empty object {probe:?} could not be removed again: {}", error.message);
                LOOK.warning(NAME, told)
            }
        },
    }
}

/// Removes the empty object that a store without conditions wrote.
async fn take_back(client: &aws_sdk_s3::Client, side: &Side, probe: &str) -> Result<(), StepError> {
    let request = client.delete_object().bucket(&side.bucket).key(probe);
    let answer = request.set_expected_bucket_owner(side.owner.clone()).set_request_payer(payer(side)).send().await;
    answer.map(|_| ()).map_err(|error| from_sdk(Place::Destination, &format!("removing {probe:?}"), &error))
}

/// Begins an upload, sends one byte and aborts it: the key of the encryption is used here too.
async fn upload(destination: &Destination, options: &Options, probe: &str) -> Check {
    const NAME: &str = "uploads in parts";
    let begun = match destination.create_upload(probe, &Metadata::default(), options).await {
        Ok(begun) => begun,
        Err(error) => return LOOK.refused(NAME, Verdict::Failed, "no upload can be begun", &error),
    };
    let part = PartSent {
        number: 1,
        body: ByteStream::from_static(b"1"),
        length: 1,
        md5: (!begun.trailing_checksum).then(|| Md5Digest::of(b"1")),
        trailing: begun.trailing_checksum,
    };
    let sent = destination.upload_part(probe, &begun.upload_id, part).await;
    let aborted = destination.abort(probe, &begun.upload_id).await;
    match (sent, aborted) {
        (Err(error), _) => LOOK.refused(NAME, Verdict::Failed, "no part can be sent", &error),
        (_, Err(error)) => {
            LOOK.refused(NAME, Verdict::Warning, "uploads cannot be aborted, those that fail stay", &error)
        }
        (Ok(_), Ok(())) => LOOK.ok(NAME, proof_of(&begun)),
    }
}

/// What the encryption and the checksums of an upload mean for the proof of its parts.
fn proof_of(begun: &Begun) -> String {
    let encryption = match begun.encryption {
        Encryption::Plain => "ETags are MD5s",
        Encryption::Opaque => "encrypted with a key, so that ETags are no MD5s",
    };
    let proof = match PartProof::of(begun.trailing_checksum, begun.encryption) {
        PartProof::Trailer => "a checksum follows each part, and the store refuses a wrong one",
        PartProof::Compared => "the ETag of each part is compared with its MD5",
        PartProof::Ahead => "the MD5 of each part goes ahead, so parts are held in memory",
    };
    format!("{encryption}; {proof}")
}

/// Begins an upload with a tag and aborts it.
async fn tags(destination: &Destination, options: &Options, probe: &str) -> Check {
    const NAME: &str = "tags";
    let metadata = Metadata { tags: Some("longhaul=check".into()), ..Metadata::default() };
    match destination.create_upload(probe, &metadata, options).await {
        Ok(begun) => {
            // Whether aborts work, another check says.
            let _ = destination.abort(probe, &begun.upload_id).await;
            LOOK.ok(NAME, "tags can be written")
        }
        Err(error) => LOOK.refused(NAME, Verdict::Warning, "objects that have tags will fail", &error),
    }
}

/// A removal on a condition that cannot hold, of an object that does not exist.
async fn removal(destination: &Destination, probe: &str) -> Check {
    const NAME: &str = "removals";
    match destination.remove_if(probe, &ETag::new(IMPOSSIBLE)).await {
        Ok(Conditional::Refused) => LOOK.ok(NAME, "the store keeps to conditions"),
        Ok(Conditional::Done) => {
            LOOK.warning(NAME, "the store removes without conditions: each object is looked at just before")
        }
        Err(error) => LOOK.refused(NAME, Verdict::Failed, "nothing can be removed", &error),
    }
}

/// Whether unfinished uploads are aborted some day, and not too soon.
async fn lifecycle(client: &aws_sdk_s3::Client, side: &Side) -> Check {
    const NAME: &str = "unfinished uploads";
    let request = client.get_bucket_lifecycle_configuration().bucket(&side.bucket);
    let answer = request.set_expected_bucket_owner(side.owner.clone()).send().await;
    let days = match answer.map_err(|error| from_sdk(Place::Destination, "reading the lifecycle rules", &error)) {
        Ok(answer) => answer.rules().iter().filter_map(|rule| abort_days(rule, &side.prefix)).min(),
        Err(error) if error.has_code("NoSuchLifecycleConfiguration") => None,
        Err(error) => return LOOK.unknown(NAME, error.message),
    };
    match days {
        None => {
            let advice = "a rule AbortIncompleteMultipartUpload of 30 days or more saves their storage";
            LOOK.warning(NAME, format!("no lifecycle rule aborts uploads that nobody finishes: {advice}"))
        }
        Some(days) if days < ABORT_DAYS_LEAST => {
            let told =
                format!("a lifecycle rule aborts uploads after {days} days; transfers that stand longer begin anew");
            LOOK.warning(NAME, format!("{told}: {ABORT_DAYS_LEAST} are advised"))
        }
        Some(days) => LOOK.ok(NAME, format!("aborted after {days} days")),
    }
}

/// The days after which a rule aborts uploads under `prefix`.
fn abort_days(rule: &LifecycleRule, prefix: &str) -> Option<i32> {
    let filter = rule.filter();
    let both = filter.and_then(|filter| filter.and()).and_then(|and| and.prefix());
    #[expect(deprecated, reason = "rules of old may carry their prefix here")]
    let scope = both.or_else(|| filter.and_then(|filter| filter.prefix())).or_else(|| rule.prefix());
    let applies = *rule.status() == ExpirationStatus::Enabled && prefix.starts_with(scope.unwrap_or_default());
    rule.abort_incomplete_multipart_upload().filter(|_| applies)?.days_after_initiation()
}
