//! What tests do without a request: look in, and play the other writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Attributes, Bucket, BucketSettings, Encryption, Object, Part, Store, Upload, Version, Versioning, WriteCondition,
    digest,
};
use crate::body::{Body, Generated, seed_of};
use crate::digest::{Algorithm, Digested, SumType, Sums, combined, multipart_etag};

impl Store {
    /// Makes a bucket, or changes the settings of one that stands.
    pub fn set_bucket(&self, bucket: &str, settings: BucketSettings) {
        self.lock().buckets.entry(bucket.to_owned()).or_default().settings = settings;
    }

    /// Makes a bucket with default settings unless it stands.
    pub fn bucket(&self, bucket: &str) {
        self.lock().buckets.entry(bucket.to_owned()).or_default();
    }

    /// Makes a bucket that keeps versions, or switches them on.
    pub fn versioned_bucket(&self, bucket: &str) {
        let mut state = self.lock();
        let bucket = state.buckets.entry(bucket.to_owned()).or_default();
        bucket.settings.versioning = Versioning::Enabled;
    }

    /// The settings of a bucket.
    pub fn settings(&self, bucket: &str) -> Option<BucketSettings> {
        Some(self.lock().buckets.get(bucket)?.settings.clone())
    }

    /// Writes an object as one PUT does, and makes the bucket if need be.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> Arc<Object> {
        self.put_with(bucket, key, bytes, Attributes::default(), BTreeMap::new())
    }

    /// The same with headers and tags.
    pub fn put_with(
        &self,
        bucket: &str,
        key: &str,
        bytes: impl Into<Bytes>,
        attributes: Attributes,
        tags: BTreeMap<String, String>,
    ) -> Arc<Object> {
        let body = Body::Bytes(bytes.into());
        let digested = digest(&body, []);
        self.insert((bucket, key), body, &[digested], attributes, tags, false)
    }

    /// Writes an object as a multipart upload of these parts does, whatever their sizes.
    pub fn put_parts(&self, bucket: &str, key: &str, parts: Vec<Bytes>) -> Arc<Object> {
        let parts: Vec<Body> = parts.into_iter().map(Body::Bytes).collect();
        let digested: Vec<Digested> = parts.iter().map(|part| digest(part, [])).collect();
        let none = (Attributes::default(), BTreeMap::new());
        self.insert((bucket, key), Body::Parts(parts), &digested, none.0, none.1, true)
    }

    /// Writes a generated object: in parts of `part_size`, or as one PUT does without it. Takes time
    /// for its MD5 and no memory.
    pub fn put_generated(&self, bucket: &str, key: &str, len: u64, part_size: Option<u64>) -> Arc<Object> {
        let body = Body::Generated(Generated { seed: seed_of(bucket, key), len });
        let step = part_size.unwrap_or(len).max(1);
        let digested: Vec<Digested> = (0..len.div_ceil(step).max(1))
            .map(|i| {
                let mut digests = crate::digest::Digests::new([]);
                body.pieces(i * step..((i + 1) * step).min(len)).for_each(|p| digests.update(&p));
                digests.finish()
            })
            .collect();
        let none = (Attributes::default(), BTreeMap::new());
        self.insert((bucket, key), body, &digested, none.0, none.1, part_size.is_some())
    }

    /// Writes an object of any size that is for looking at only: it costs no time, and its ETag is not that of its
    /// bytes.
    pub fn put_unread(&self, bucket: &str, key: &str, len: u64) -> Arc<Object> {
        let body = Body::Generated(Generated { seed: seed_of(bucket, key), len });
        let digested = [crate::digest::Digests::new([]).finish()];
        self.insert((bucket, key), body, &digested, Attributes::default(), BTreeMap::new(), false)
    }

    fn insert(
        &self,
        (bucket, key): (&str, &str),
        body: Body,
        digested: &[Digested],
        attributes: Attributes,
        tags: BTreeMap<String, String>,
        multipart: bool,
    ) -> Arc<Object> {
        self.bucket(bucket);
        let mut state = self.lock();
        let encryption = state.buckets.get(bucket).map(|b| b.settings.encryption).unwrap_or_default();
        let etag = match (encryption, multipart) {
            (Encryption::Kms, false) => state.id(2),
            (Encryption::Kms, true) => format!("{}-{}", state.id(4), digested.len()),
            (_, true) => multipart_etag(digested.iter().map(|d| &d.md5)),
            (_, false) => digested.iter().map(|d| crate::digest::hex(&d.md5)).collect(),
        };
        let crc64 = combined(Algorithm::Crc64Nvme, digested.iter().map(|d| (d.sums.get(&Algorithm::Crc64Nvme), d.len)));
        let object = Object {
            version_id: String::new(),
            body,
            etag,
            last_modified: state.now(),
            attributes,
            tags,
            parts: if multipart { digested.iter().map(|d| d.len).collect() } else { Vec::new() },
            sums: crc64.into_iter().map(|sum| (Algorithm::Crc64Nvme, sum)).collect::<Sums>(),
            sum_type: SumType::FullObject,
            encryption,
        };
        match state.place(bucket, key, object) {
            Ok(object) => object,
            Err(error) => unreachable!("the bucket was made above: {error}"),
        }
    }

    /// Writes other bytes over an object, which keeps its headers and tags.
    pub fn overwrite(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> Arc<Object> {
        let (attributes, tags) = match self.object(bucket, key) {
            Some(object) => (object.attributes.clone(), object.tags.clone()),
            None => Default::default(),
        };
        self.put_with(bucket, key, bytes, attributes, tags)
    }

    /// Deletes as a DELETE without version id does. Nothing happens where nothing stands.
    pub fn delete(&self, bucket: &str, key: &str) {
        // The only error is a missing bucket, which holds no object either.
        let _ = self.delete_object(bucket, key, None, &WriteCondition::Always);
    }

    /// The current version.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.lock().buckets.get(bucket)?.current(key).cloned()
    }

    /// The bytes of the current version; nothing if there is none, or if they were discarded.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.object(bucket, key)?.body.bytes()
    }

    /// The versions of a key that are no delete markers, the oldest first.
    pub fn versions(&self, bucket: &str, key: &str) -> Vec<Arc<Object>> {
        let state = self.lock();
        let versions = state.buckets.get(bucket).and_then(|bucket| bucket.keys.get(key));
        let objects = versions.into_iter().flatten().filter_map(|version| match version {
            Version::Object(object) => Some(object.clone()),
            Version::Marker { .. } => None,
        });
        objects.collect()
    }

    /// The keys that have a current version, in order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.lock();
        let Some(bucket) = state.buckets.get(bucket) else { return Vec::new() };
        bucket.keys.keys().filter(|key| bucket.current(key).is_some()).cloned().collect()
    }

    /// The uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<Upload> {
        self.lock().uploads.values().cloned().collect()
    }

    /// The parts of an open upload.
    pub fn parts(&self, upload_id: &str) -> BTreeMap<u32, Part> {
        self.lock().uploads.get(upload_id).map(|upload| upload.parts.clone()).unwrap_or_default()
    }

    /// Aborts an open upload, as somebody else does; false if there is none.
    pub fn abort_upload(&self, upload_id: &str) -> bool {
        self.lock().uploads.remove(upload_id).is_some()
    }

    /// Inverts a bit of a stored part as if it had arrived so: its ETag and checksums follow. False
    /// where there is no such byte in memory.
    pub fn corrupt_part(&self, upload_id: &str, number: u32, at: usize) -> bool {
        let mut state = self.lock();
        let part = state.uploads.get_mut(upload_id).and_then(|u| u.parts.get_mut(&number));
        let Some(part) = part else { return false };
        let Some(bytes) = part.body.bytes().filter(|bytes| at < bytes.len()) else { return false };
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        part.body = Body::Bytes(changed.into());
        part.digested = digest(&part.body, part.digested.sums.keys().copied());
        part.etag = crate::digest::hex(&part.digested.md5);
        true
    }

    /// Everything by name: buckets -> keys -> `{size, etag, versions}`, and uploads -> parts. A key
    /// whose received bytes were discarded without being equal says `"unequal": true`.
    pub fn summary(&self) -> Value {
        let state = self.lock();
        let buckets: BTreeMap<&String, Value> =
            state.buckets.iter().map(|(name, bucket)| (name, keys_of(bucket))).collect();
        let uploads: BTreeMap<&String, Value> = state
            .uploads
            .iter()
            .map(|(id, upload)| {
                let parts: BTreeMap<String, Value> = upload
                    .parts
                    .iter()
                    .map(|(n, p)| (n.to_string(), json!({"size": p.digested.len, "etag": p.etag})))
                    .collect();
                (id, json!({"bucket": upload.bucket, "key": upload.key, "parts": parts}))
            })
            .collect();
        json!({"buckets": buckets, "uploads": uploads})
    }
}

fn keys_of(bucket: &Bucket) -> Value {
    let entry = |(key, versions): (&String, &Vec<Version>)| {
        let mut value = match bucket.current(key) {
            Some(object) => json!({"size": object.body.len(), "etag": object.etag}),
            None => json!({"deleted": true}),
        };
        value["versions"] = versions.len().into();
        if bucket.current(key).is_some_and(|object| object.body.is_discarded()) {
            value["unequal"] = true.into();
        }
        (key.clone(), value)
    };
    bucket.keys.iter().map(entry).collect::<serde_json::Map<_, _>>().into()
}
