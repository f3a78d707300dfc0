//! Checks of the source.

use super::Look;
use super::reach::{Reached, reach};
use crate::clients::Clients;
use crate::denial::payer;
use crate::error::{Place, from_sdk};
use crate::metadata::encryption_of;
use crate::source::Source;
use aws_sdk_s3::types::{Object, ObjectStorageClass};
use longhaul_core::backfill::check::{Check, CheckedSide, Verdict};
use longhaul_core::config::Side;
use longhaul_core::etag::Encryption;

const LOOK: Look = Look { side: CheckedSide::Source };

pub(super) async fn checks(clients: &Clients, side: &Side, probe: &str, deletes: bool) -> Vec<Check> {
    let Reached { client, first, mut checks } = match reach(clients, side, LOOK).await {
        Ok(reached) => reached,
        Err(failed) => return vec![*failed],
    };
    match first.as_ref().and_then(|object| Some((object, object.key.as_deref()?))) {
        None => checks.push(LOOK.unknown("read", format!("nothing to read under {:?}", side.prefix))),
        Some((object, key)) => {
            checks.push(LOOK.within("read", read(&client, side, key, object)).await);
            checks.push(LOOK.within("tags", tags(&client, side, key)).await);
        }
    }
    if deletes {
        checks.push(LOOK.within("missing objects", missing(clients, side, probe)).await);
    }
    checks
}

/// Looks at an object, and reads one byte of it where that needs more than the look: a key of KMS. A run that finds
/// nothing to copy reads nothing.
async fn read(client: &aws_sdk_s3::Client, side: &Side, key: &str, object: &Object) -> Check {
    const NAME: &str = "read";
    if let Some(class @ (ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive)) = &object.storage_class {
        let told = format!("the first object, {key:?}, is in class {class}: such objects have to be restored first");
        return LOOK.warning(NAME, told);
    }
    let look = client
        .head_object()
        .bucket(&side.bucket)
        .key(key)
        .set_expected_bucket_owner(side.owner.clone())
        .set_request_payer(payer(side))
        .send()
        .await;
    // A HEAD that is refused has no reason in it: the GET tells.
    if look.is_ok_and(|look| encryption_of!(look) == Encryption::Plain) {
        return LOOK.ok(NAME, format!("{key:?} can be read"));
    }
    // Of an empty object no range can be read.
    let range = object.size.is_some_and(|size| size > 0).then(|| "bytes=0-0".to_owned());
    let answer = client
        .get_object()
        .bucket(&side.bucket)
        .key(key)
        .set_range(range)
        .set_expected_bucket_owner(side.owner.clone())
        .set_request_payer(payer(side))
        .send()
        .await;
    match answer.map_err(|error| from_sdk(Place::Source, &format!("reading s3://{}/{key}", side.bucket), &error)) {
        Ok(_) => LOOK.ok(NAME, format!("{key:?} can be read")),
        Err(error) if error.status == Some(404) => LOOK.unknown(NAME, format!("{key:?} is gone meanwhile")),
        Err(error) if error.has_code("InvalidObjectState") => LOOK.warning(NAME, error.message),
        Err(error) => LOOK.refused(NAME, Verdict::Failed, "objects cannot be read", &error),
    }
}

/// Reads the tags of an object.
async fn tags(client: &aws_sdk_s3::Client, side: &Side, key: &str) -> Check {
    const NAME: &str = "tags";
    let answer = client
        .get_object_tagging()
        .bucket(&side.bucket)
        .key(key)
        .set_expected_bucket_owner(side.owner.clone())
        .set_request_payer(payer(side))
        .send()
        .await;
    match answer.map_err(|error| from_sdk(Place::Source, &format!("reading the tags of {key:?}"), &error)) {
        Ok(_) => LOOK.ok(NAME, "tags can be read"),
        Err(error) if error.status == Some(404) => LOOK.unknown(NAME, format!("{key:?} is gone meanwhile")),
        Err(error) if error.status == Some(501) => LOOK.ok(NAME, "the store knows no tags"),
        // S3 does not even count the tags for whoever may not read them, so nothing can fail later.
        Err(error) => LOOK.refused(NAME, Verdict::Warning, "objects arrive without their tags", &error),
    }
}

/// Whether a missing object can be told from one that may not be seen.
async fn missing(clients: &Clients, side: &Side, probe: &str) -> Check {
    const NAME: &str = "missing objects";
    let source = match Source::connect(clients, side).await {
        Ok(source) => source,
        Err(error) => return LOOK.refused(NAME, Verdict::Failed, "the source cannot be asked", &error),
    };
    match source.head(probe, None).await {
        Ok(_) => LOOK.unknown(NAME, format!("something stands at {probe:?}")),
        Err(error) if error.status == Some(404) => LOOK.ok(NAME, "a missing object is told from a hidden one"),
        Err(error) => {
            let meaning = "whether the source lacks an object cannot be told, so nothing could be removed";
            LOOK.refused(NAME, Verdict::Failed, meaning, &error)
        }
    }
}
