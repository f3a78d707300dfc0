//! The ledger's record of one destination object, as a value.

use crate::error::Failure;
use crate::etag::{ETag, Encryption};
use crate::layout::PartLayout;
use crate::names::LedgerKey;
use crate::outcome::{Outcome, Proof, SkipReason, Status};
use crate::request::Sequencer;
use serde::{Deserialize, Serialize};

/// One version of a source object: what the destination must equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceIdentity {
    /// The version id, where the bucket has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The ETag.
    pub etag: ETag,
    /// Whether the ETag is made of MD5s.
    #[serde(default)]
    pub encryption: Encryption,
    /// Size in bytes.
    pub size: u64,
    /// Last modified, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<i64>,
}

impl SourceIdentity {
    /// True if `current`, just seen at the source, is still this version.
    ///
    /// Under SSE-KMS an ETag is no digest, so size and time count as well; the version id counts where this one is
    /// pinned by it.
    pub fn is_still(&self, current: &Self) -> bool {
        self.etag == current.etag
            && self.size == current.size
            && self.last_modified == current.last_modified
            && (self.version_id.is_none() || self.version_id == current.version_id)
    }
}

/// A multipart upload that the ledger ties to one source version and one layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadRecord {
    /// The upload id.
    pub upload_id: String,
    /// The parts; a changed setting never touches an upload in flight.
    pub layout: PartLayout,
    /// Whether the parts are those of the source.
    #[serde(default)]
    pub mirrored: bool,
    /// Whether the ETags of its parts, and of its object, are made of MD5s.
    #[serde(default)]
    pub encryption: Encryption,
    /// Whether the store checks a CRC64NVME that trails each part.
    #[serde(default)]
    pub trailing_checksum: bool,
}

/// What is known of one destination object. It saves work; correctness rests on looks at the two sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRecord {
    /// Which destination object.
    pub destination: LedgerKey,
    /// Bucket of the source.
    pub source_bucket: String,
    /// Key of the source.
    pub source_key: String,
    /// The source version of the last copy, finished or not; absent where none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceIdentity>,
    /// The newest sequencer offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<Sequencer>,
    /// The open upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadRecord>,
    /// Where it stands.
    pub status: Status,
    /// How often an execution has begun it.
    pub attempts: u32,
    /// First written, milliseconds since 1970.
    pub created_ms: u64,
    /// Last begun, milliseconds since 1970.
    pub started_ms: u64,
    /// Last written, milliseconds since 1970.
    pub updated_ms: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// ETag that the destination gives the copy of `source`: written before Complete, from the parts it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_etag: Option<ETag>,
    /// Checksum of the whole object, `ALGORITHM:base64`, where both sides agree on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// What proves the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipReason>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The execution that wrote last.
    pub execution: String,
    /// Grows by one with each write: the condition of the next.
    pub revision: u64,
}

impl JobRecord {
    /// A first record, not yet written: revision 0.
    pub fn new(destination: LedgerKey, source_bucket: &str, source_key: &str, execution: &str, now_ms: u64) -> Self {
        Self {
            destination,
            source_bucket: source_bucket.to_owned(),
            source_key: source_key.to_owned(),
            source: None,
            sequencer: None,
            upload: None,
            status: Status::Copying,
            attempts: 0,
            created_ms: now_ms,
            started_ms: now_ms,
            updated_ms: now_ms,
            bytes: 0,
            destination_etag: None,
            checksum: None,
            proof: None,
            skipped: None,
            failure: None,
            execution: execution.to_owned(),
            revision: 0,
        }
    }

    /// The record with a final outcome. The open upload is forgotten unless the object failed: then it may be resumed.
    #[must_use]
    pub fn ended(mut self, outcome: &Outcome, execution: &str, now_ms: u64) -> Self {
        self.status = outcome.status();
        self.execution = execution.to_owned();
        self.updated_ms = now_ms;
        (self.proof, self.skipped, self.failure) = (None, None, None);
        match outcome {
            Outcome::Migrated { bytes, proof } => {
                self.bytes = *bytes;
                self.proof = Some(*proof);
            }
            Outcome::Unchanged { proof } => self.proof = Some(*proof),
            Outcome::Skipped { reason } => self.skipped = Some(*reason),
            Outcome::Failed { failure } => self.failure = Some(failure.clone()),
        }
        if self.status != Status::Failed {
            self.upload = None;
        }
        self
    }

    /// The final outcome that `execution` gave this object, if it gave one.
    pub fn outcome_of(&self, execution: &str) -> Option<Outcome> {
        if self.execution != execution {
            return None;
        }
        match self.status {
            Status::Copying => None,
            Status::Migrated => self.proof.map(|proof| Outcome::Migrated { bytes: self.bytes, proof }),
            Status::Unchanged => self.proof.map(|proof| Outcome::Unchanged { proof }),
            Status::Skipped => self.skipped.map(|reason| Outcome::Skipped { reason }),
            Status::Failed => self.failure.clone().map(|failure| Outcome::Failed { failure }),
        }
    }

    /// Remembers the newest sequencer.
    pub fn offer(&mut self, sequencer: Option<&Sequencer>) {
        if sequencer > self.sequencer.as_ref() {
            self.sequencer = sequencer.cloned();
        }
    }

    /// True if the ledger pairs this source ETag with this destination ETag, whatever the status: a Complete may have
    /// taken effect without anybody living to record it.
    pub fn pairs(&self, source: &ETag, destination: &ETag) -> bool {
        self.source.as_ref().is_some_and(|known| known.etag == *source)
            && self.destination_etag.as_ref() == Some(destination)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Side;

    fn record() -> JobRecord {
        JobRecord::new(LedgerKey::new(&Side::default(), "k"), "b", "k", "e", 1)
    }

    #[test]
    fn a_failed_object_keeps_its_upload_and_others_forget_it() {
        let mut with_upload = record();
        with_upload.upload = Some(UploadRecord {
            upload_id: "u".into(),
            layout: PartLayout::new(1 << 30, 8 << 20).unwrap(),
            mirrored: false,
            encryption: Encryption::Plain,
            trailing_checksum: false,
        });
        let failed = Outcome::Failed { failure: Failure::new("TooSlow", "") };
        assert!(with_upload.clone().ended(&failed, "e", 2).upload.is_some());
        let migrated = Outcome::Migrated { bytes: 1, proof: Proof::Etag };
        let ended = with_upload.ended(&failed, "e", 2).ended(&migrated, "f", 3);
        assert_eq!((ended.upload, ended.failure, ended.execution.as_str()), (None, None, "f"));
    }

    #[test]
    fn the_newest_sequencer_is_remembered() {
        let mut job = record();
        for (offered, kept) in [(Some("01"), "01"), (Some("03"), "03"), (Some("02"), "03"), (None, "03")] {
            job.offer(offered.map(|text| Sequencer(text.into())).as_ref());
            assert_eq!(job.sequencer.as_ref().unwrap().0, kept);
        }
    }

    #[test]
    fn a_record_survives_a_round_trip() {
        let job = record();
        assert_eq!(serde_json::from_str::<JobRecord>(&serde_json::to_string(&job).unwrap()).unwrap(), job);
    }
}
