//! What an endpoint holds: buckets, versions, uploads. Every operation is one step under one lock.

mod direct;
mod listing;
mod objects;
mod uploads;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use s3s::dto::Timestamp;
use s3s::{S3Error, S3Result, s3_error};

use crate::body::{Body, Generated, mix, seed_of};
use crate::digest::{Algorithm, Digested, Digests, SumType, Sums, hex};

pub(crate) use listing::After;
pub(crate) use objects::Found;
pub use objects::WriteCondition;
pub(crate) use uploads::{Asked, Completion, NewUpload};

/// The smallest part but the last, 5 MiB:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MIN_PART_SIZE: u64 = 5 * 1024 * 1024;

/// What may differ between the stores of different tests.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Bytes that every part but the last must have. That of S3 unless a test needs small parts.
    pub min_part_size: u64,
    /// Whether completing a completed upload with the same parts succeeds again, as it does on S3
    /// for a while. Otherwise it is `NoSuchUpload`.
    pub complete_again: bool,
    /// Whether received bytes are kept.
    pub discard: Option<Discard>,
    /// Where tokio's clock starts, for simulations; the system's clock if absent.
    pub epoch: Option<SystemTime>,
    /// Two stores of different salts never give the same version id, upload id or opaque ETag.
    pub salt: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { min_part_size: MIN_PART_SIZE, complete_again: false, discard: None, epoch: None, salt: 0 }
    }
}

/// Received bytes are compared with those of a generated bucket, not kept. An object that equals its
/// counterpart can be read again; any other cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discard {
    /// The bucket whose generated objects are expected, in this process or another one.
    pub bucket: String,
    /// What a received key begins with in place of `source_prefix`.
    pub destination_prefix: String,
    /// What the generated key begins with.
    pub source_prefix: String,
}

impl Discard {
    fn seed(&self, key: &str) -> u64 {
        let rest = key.strip_prefix(&self.destination_prefix).unwrap_or(key);
        seed_of(&self.bucket, &format!("{}{rest}", self.source_prefix))
    }

    /// The generated body where these consecutive bytes equal it.
    pub(crate) fn resolved(&self, key: &str, body: Body) -> Body {
        let pieces = match &body {
            Body::Parts(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        let generated = Generated { seed: self.seed(key), len: body.len() };
        let whole = Body::Generated(generated);
        let mut at = 0;
        for piece in pieces {
            let Body::Discarded { len, crc64 } = piece else { return body };
            let mut digests = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
            whole.pieces(at..at + len).for_each(|bytes| digests.update(&bytes));
            if digests.finalize() != *crc64 {
                return body;
            }
            at += len;
        }
        whole
    }
}

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// Never switched on.
    #[default]
    Off,
    /// Every write makes a version.
    Enabled,
    /// Switched off again: writes replace the version `null`.
    Suspended,
}

/// What a bucket reports as its encryption. Nothing is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// No header at all, as from many S3-compatible stores.
    None,
    /// `AES256`, the default of S3.
    #[default]
    Aes256,
    /// `aws:kms`: ETags look like MD5s and are none.
    Kms,
}

/// What may differ between buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// Whether versions are kept.
    pub versioning: Versioning,
    /// What is reported as encryption.
    pub encryption: Encryption,
    /// The region reported.
    pub region: String,
    /// Whether unsigned requests may read.
    pub public_read: bool,
    /// Whether PUT and DELETE of an object take no notice of conditions, as in some S3-compatible stores.
    pub ignores_conditions: bool,
    /// The days after which a lifecycle rule is said to abort uploads. No upload is aborted.
    pub abort_days: Option<i32>,
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            versioning: Versioning::Off,
            encryption: Encryption::Aes256,
            region: "us-east-1".to_owned(),
            public_read: false,
            ignores_conditions: false,
            abort_days: None,
        }
    }
}

/// The headers that an object carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attributes {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<Timestamp>,
    pub storage_class: Option<String>,
    pub website_redirect_location: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Object {
    /// `null` where the bucket kept no versions.
    pub version_id: String,
    /// The bytes.
    pub body: Body,
    /// Without quotation marks.
    pub etag: String,
    /// When it became visible.
    pub last_modified: SystemTime,
    /// Its headers.
    pub attributes: Attributes,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The sizes of its parts; empty for an object from a single PUT.
    pub parts: Vec<u64>,
    /// Its checksums.
    pub sums: Sums,
    /// What the checksums cover.
    pub sum_type: SumType,
    /// What was reported as encryption when it was written.
    pub encryption: Encryption,
}

/// A part of an upload that is not complete.
#[derive(Clone, Debug)]
pub struct Part {
    /// The bytes.
    pub body: Body,
    /// Without quotation marks.
    pub etag: String,
    /// MD5 and checksums of the bytes.
    pub digested: Digested,
    /// The algorithms that the client named a value for.
    pub given: Vec<Algorithm>,
    /// When it arrived.
    pub last_modified: SystemTime,
}

/// A multipart upload that is not complete.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The bucket it belongs to.
    pub bucket: String,
    /// The key it will have.
    pub key: String,
    /// When it was created.
    pub initiated: SystemTime,
    /// The headers that the object will have.
    pub attributes: Attributes,
    /// The tags that the object will have.
    pub tags: BTreeMap<String, String>,
    /// The algorithm and type asked for.
    pub checksum: Option<(Algorithm, SumType)>,
    /// Part number -> part.
    pub parts: BTreeMap<u32, Part>,
}

#[derive(Clone, Debug)]
pub(crate) enum Version {
    Object(Arc<Object>),
    Marker { version_id: String, last_modified: SystemTime },
}

impl Version {
    pub(crate) fn id(&self) -> &str {
        match self {
            Version::Object(object) => &object.version_id,
            Version::Marker { version_id, .. } => version_id,
        }
    }
}

#[derive(Default)]
struct Bucket {
    settings: BucketSettings,
    /// Key -> versions, the newest last. Never empty.
    keys: BTreeMap<String, Vec<Version>>,
}

impl Bucket {
    fn current(&self, key: &str) -> Option<&Arc<Object>> {
        match self.keys.get(key)?.last()? {
            Version::Object(object) => Some(object),
            Version::Marker { .. } => None,
        }
    }

    /// Makes `version` the newest, in place of the version `null` where it is that one.
    fn push(&mut self, key: &str, version: Version) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        if version.id() == "null" {
            versions.retain(|old| old.id() != "null");
        }
        versions.push(version);
    }
}

struct State {
    config: StoreConfig,
    started: tokio::time::Instant,
    buckets: BTreeMap<String, Bucket>,
    uploads: BTreeMap<String, Upload>,
    completed: HashMap<String, (Completion, Arc<Object>)>,
    counter: u64,
}

impl State {
    fn now(&self) -> SystemTime {
        match self.config.epoch {
            Some(epoch) => epoch + self.started.elapsed(),
            None => SystemTime::now(),
        }
    }

    /// Looks opaque, and is the same in the next run of the same test.
    fn id(&mut self, salt: u64) -> String {
        self.counter += 1;
        let salt = salt ^ (self.config.salt << 8);
        format!("{:016x}{:016x}", mix(salt, self.counter), mix(!salt, self.counter))
    }

    fn version_id(&mut self, versioning: Versioning) -> String {
        match versioning {
            Versioning::Enabled => self.id(1),
            Versioning::Off | Versioning::Suspended => "null".to_owned(),
        }
    }

    /// The ETag of these bytes in a bucket of this encryption.
    fn etag(&mut self, encryption: Encryption, md5: &[u8; 16]) -> String {
        match encryption {
            Encryption::Kms => self.id(2),
            Encryption::None | Encryption::Aes256 => hex(md5),
        }
    }

    fn bucket(&self, name: &str) -> S3Result<&Bucket> {
        self.buckets.get(name).ok_or_else(|| no_such_bucket(name))
    }

    /// Fails unless a write to `key` may go ahead.
    fn check(&self, bucket: &str, key: &str, condition: &WriteCondition) -> S3Result<()> {
        let bucket = self.bucket(bucket)?;
        if bucket.settings.ignores_conditions { Ok(()) } else { condition.check(bucket.current(key)) }
    }

    fn bucket_mut(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(|| no_such_bucket(name))
    }
}

fn no_such_bucket(name: &str) -> S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist: {name}")
}

/// The state of one endpoint. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Mutex<State>>);

impl Default for Store {
    fn default() -> Self {
        Self::new(StoreConfig::default())
    }
}

impl Store {
    /// An empty store.
    pub fn new(config: StoreConfig) -> Self {
        Self(Arc::new(Mutex::new(State {
            config,
            started: tokio::time::Instant::now(),
            buckets: BTreeMap::new(),
            uploads: BTreeMap::new(),
            completed: HashMap::new(),
            counter: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn discard(&self) -> Option<Discard> {
        self.lock().config.discard.clone()
    }
}

fn digest(body: &Body, wanted: impl IntoIterator<Item = Algorithm>) -> Digested {
    let mut digests = Digests::new(wanted);
    body.pieces(0..body.len()).for_each(|piece| digests.update(&piece));
    digests.finish()
}
