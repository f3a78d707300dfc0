//! Finds the uploads that are open at a destination, and tells which of them nobody will go on with (SEMANTICS.md,
//! rule 19).

use crate::clients::Clients;
use crate::denial::payer;
use crate::destination::Destination;
use crate::error::{Place, StepError, from_sdk};
use crate::ledger::Ledger;
use aws_sdk_s3::types::EncodingType;
use longhaul_core::backfill::check::{Check, CheckedSide, Verdict};
use longhaul_core::backfill::summary::words::{counted, time};
use longhaul_core::config::{Route, Side};
use longhaul_core::names::LedgerKey;
use longhaul_core::uploads::OpenUpload;
use percent_encoding::percent_decode_str;
use std::time::Duration;
use tokio::time::timeout;

/// Most uploads of a page: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
const PAGE_MAX: i32 = 1_000;
/// Most pages that [`check`] reads.
const CHECK_PAGES: u32 = 20;
/// Longest time that [`check`] takes.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// An upload, and whether it is an orphan: no ledger asked ties it to its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The upload.
    pub upload: OpenUpload,
    /// Nobody who keeps one of these ledgers will go on with it.
    pub is_orphan: bool,
    /// A ledger has a record of its object. Otherwise the upload may be that of a deployment, or a program, that keeps
    /// none of them.
    pub has_record: bool,
}

/// The open uploads under a destination's prefix, page by page: memory does not grow with their number.
#[derive(Debug)]
pub struct Uploads<'a> {
    client: aws_sdk_s3::Client,
    side: &'a Side,
    before_ms: u64,
    /// Key and id behind which the next page begins.
    after: Option<(String, String)>,
    ended: bool,
}

impl<'a> Uploads<'a> {
    /// Those that were begun before `before_ms`, in milliseconds since 1970. Fails as `Rejected` where the keys of the
    /// side cannot be read.
    pub async fn of(clients: &Clients, side: &'a Side, before_ms: u64) -> Result<Self, StepError> {
        let client = clients.sides.client(side).await?;
        Ok(Self { client, side, before_ms, after: None, ended: false })
    }

    /// The next page, judged by what `ledgers` hold when it was read, so that an upload begun meanwhile is not taken for
    /// an orphan; `None` behind the last. A page may be empty.
    pub async fn next(&mut self, ledgers: &[&dyn Ledger]) -> Result<Option<Vec<Found>>, StepError> {
        if self.ended {
            return Ok(None);
        }
        let uploads = self.page().await?;
        Ok(Some(self.judged(uploads, ledgers).await?))
    }

    /// The upload, judged by what `ledgers` hold now.
    pub async fn again(&self, found: Found, ledgers: &[&dyn Ledger]) -> Result<Found, StepError> {
        let unknown = || StepError::bug("one upload was judged, and none came back");
        self.judged(vec![found.upload], ledgers).await?.pop().ok_or_else(unknown)
    }

    async fn judged(&self, uploads: Vec<OpenUpload>, ledgers: &[&dyn Ledger]) -> Result<Vec<Found>, StepError> {
        let keys: Vec<LedgerKey> = uploads.iter().map(|upload| LedgerKey::new(self.side, &upload.key)).collect();
        let unknown = |upload| Found { upload, is_orphan: true, has_record: false };
        let mut found: Vec<Found> = uploads.into_iter().map(unknown).collect();
        for ledger in ledgers {
            let records = ledger.get_many(&keys).await?;
            for (found, record) in found.iter_mut().zip(&records) {
                found.is_orphan &= found.upload.is_orphan(record.as_ref());
                found.has_record |= record.is_some();
            }
        }
        Ok(found)
    }

    /// True behind the last page.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    async fn page(&mut self) -> Result<Vec<OpenUpload>, StepError> {
        let Side { bucket, prefix, owner, .. } = self.side;
        let what = format!("listing the uploads to s3://{bucket}/{prefix} at the destination");
        let (key_marker, id_marker) = self.after.clone().unzip();
        let answer = self
            .client
            .list_multipart_uploads()
            .bucket(bucket)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .max_uploads(PAGE_MAX)
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .set_expected_bucket_owner(owner.clone())
            .set_request_payer(payer(self.side))
            .send()
            .await
            .map_err(|error| from_sdk(Place::Destination, &what, &error))?;
        // A store may not know the encoding: then it does not say that it used it.
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let plain = |text: &str| if encoded { decoded(text) } else { Some(text.to_owned()) };
        let unreadable = || StepError::rejected(format!("{what}: a key that is no UTF-8"));
        let mut uploads = Vec::new();
        for upload in answer.uploads() {
            let (Some(key), Some(upload_id)) = (upload.key(), upload.upload_id()) else { continue };
            // One of which the store does not say when it was begun may have been begun just now.
            let initiated = upload.initiated().and_then(|at| at.to_millis().ok()).unwrap_or(i64::MAX);
            let key = plain(key).ok_or_else(unreadable)?;
            uploads.push(OpenUpload { key, upload_id: upload_id.to_owned(), initiated_ms: initiated.max(0) as u64 });
        }
        let marker = answer.next_key_marker().map(|key| plain(key).ok_or_else(unreadable)).transpose()?;
        let next = marker.map(|key| (key, answer.next_upload_id_marker().unwrap_or_default().to_owned()));
        self.ended = answer.is_truncated() != Some(true);
        // A page behind itself would be read for ever.
        if !self.ended && (next.is_none() || next == self.after) {
            return Err(StepError::rejected(format!("{what}: the store does not say where the next page begins")));
        }
        self.after = next;
        uploads.retain(|upload| upload.initiated_ms < self.before_ms && upload.key.starts_with(prefix.as_str()));
        Ok(uploads)
    }
}

/// A key of a listing: S3 writes a space as `+`.
fn decoded(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(|key| key.into_owned())
}

/// Aborts an orphan, until it is gone.
pub async fn abort(clients: &Clients, side: &Side, upload: &OpenUpload) -> Result<(), StepError> {
    let destination = Destination::connect(clients, side).await?;
    destination.abort_until_gone(&upload.key, &upload.upload_id).await
}

/// A look at the open uploads of a route's destination, for whoever may know no ledger: how many there are, and since
/// when. One that may not be listed is no fault of the route.
pub async fn check(clients: &Clients, route: &Route, now_ms: u64) -> Check {
    let told = |verdict, told: String| Check::new(CheckedSide::Destination, "open uploads", verdict, told);
    let look = async {
        let mut uploads = Uploads::of(clients, &route.destination, now_ms).await?;
        let (mut count, mut oldest, mut pages) = (0_u64, None::<u64>, 0);
        while pages < CHECK_PAGES
            && let Some(page) = uploads.next(&[]).await?
        {
            pages += 1;
            count += page.len() as u64;
            oldest = page.iter().map(|found| found.upload.initiated_ms).chain(oldest).min();
        }
        Ok::<_, StepError>((count, oldest, uploads.ended))
    };
    match timeout(CHECK_TIMEOUT, look).await {
        Err(_) => told(Verdict::Unknown, format!("not counted: no answer in {} s", CHECK_TIMEOUT.as_secs())),
        Ok(Err(error)) => told(Verdict::Unknown, format!("not looked for: {}", error.message)),
        Ok(Ok((_, None, _))) => told(Verdict::Ok, "none is open".into()),
        Ok(Ok((count, Some(oldest), ended))) => {
            let more = if ended { "" } else { " or more" };
            let since = time(oldest);
            let advice = "transfers under way are among them; `longhaul uploads` tells which no ledger knows";
            told(Verdict::Warning, format!("{}{more}, the oldest of {since}: {advice}", counted(count, "upload")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_listings_are_decoded_once() {
        assert_eq!(decoded("a+b%2Bc%2520%C3%BC").as_deref(), Some("a b+c%20ü"));
        assert_eq!(decoded("%ff"), None);
    }
}
