//! Objects and their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::{S3Result, s3_error};

use super::{Attributes, BucketSettings, Encryption, Object, State, Store, Version, Versioning};
use crate::body::Body;
use crate::digest::{Digested, SumType};

/// Under which condition a write takes effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Always.
    #[default]
    Always,
    /// Only where nothing stands (`If-None-Match: *`).
    Absent,
    /// Only over this ETag, given without quotation marks (`If-Match`).
    Is(String),
    /// Only over something (`If-Match: *`).
    Present,
}

impl WriteCondition {
    pub(super) fn check(&self, current: Option<&Arc<Object>>) -> S3Result<()> {
        let holds = match (self, current) {
            (Self::Always, _) => true,
            (Self::Absent, current) => current.is_none(),
            (Self::Is(etag), Some(object)) => *etag == object.etag,
            (Self::Present, Some(_)) => true,
            (Self::Is(_) | Self::Present, None) => {
                return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
            }
        };
        if holds {
            Ok(())
        } else {
            Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"))
        }
    }
}

/// What a look for a version finds.
pub(crate) enum Found {
    Object(Arc<Object>),
    /// The version asked for, or the current one, is a delete marker.
    Marker {
        version_id: String,
    },
    Nothing,
}

/// What a delete did.
pub(crate) struct Deleted {
    /// Whether it made or removed a delete marker.
    pub(crate) marker: bool,
    pub(crate) version_id: Option<String>,
}

impl State {
    /// Makes `object` current, under a version id of its own.
    pub(super) fn place(&mut self, bucket: &str, key: &str, mut object: Object) -> S3Result<Arc<Object>> {
        let settings = self.bucket(bucket)?.settings.clone();
        object.version_id = self.version_id(settings.versioning);
        object.encryption = settings.encryption;
        object.last_modified = self.now();
        let object = Arc::new(object);
        self.bucket_mut(bucket)?.push(key, Version::Object(object.clone()));
        Ok(object)
    }
}

impl Store {
    pub(crate) fn create(&self, name: &str, settings: BucketSettings) -> S3Result<()> {
        let mut state = self.lock();
        if state.buckets.contains_key(name) {
            return Err(s3_error!(BucketAlreadyOwnedByYou, "The bucket exists and is yours"));
        }
        let bucket = super::Bucket { settings, keys: BTreeMap::new() };
        state.buckets.insert(name.to_owned(), bucket);
        Ok(())
    }

    pub(crate) fn remove_bucket(&self, name: &str) -> S3Result<()> {
        let mut state = self.lock();
        if !state.bucket(name)?.keys.is_empty() {
            return Err(s3_error!(BucketNotEmpty, "The bucket is not empty"));
        }
        state.buckets.remove(name);
        Ok(())
    }

    pub(crate) fn checked_settings(&self, bucket: &str) -> S3Result<BucketSettings> {
        Ok(self.lock().bucket(bucket)?.settings.clone())
    }

    pub(crate) fn put_object(
        &self,
        (bucket, key): (&str, &str),
        body: Body,
        digested: Digested,
        attributes: Attributes,
        tags: BTreeMap<String, String>,
        condition: &WriteCondition,
    ) -> S3Result<Arc<Object>> {
        let mut state = self.lock();
        state.check(bucket, key, condition)?;
        let encryption = state.bucket(bucket)?.settings.encryption;
        let etag = state.etag(encryption, &digested.md5);
        let object = Object {
            version_id: String::new(),
            body,
            etag,
            last_modified: state.now(),
            attributes,
            tags,
            parts: Vec::new(),
            sums: digested.sums,
            sum_type: SumType::FullObject,
            encryption: Encryption::None,
        };
        state.place(bucket, key, object)
    }

    pub(crate) fn find(&self, bucket: &str, key: &str, version_id: Option<&str>) -> S3Result<Found> {
        let state = self.lock();
        let versions = state.bucket(bucket)?.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let version = match version_id {
            Some(id) => versions.iter().find(|version| version.id() == id),
            None => versions.last(),
        };
        Ok(match version {
            Some(Version::Object(object)) => Found::Object(object.clone()),
            Some(Version::Marker { version_id, .. }) => Found::Marker { version_id: version_id.clone() },
            None => Found::Nothing,
        })
    }

    pub(crate) fn delete_object(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        condition: &WriteCondition,
    ) -> S3Result<Deleted> {
        let mut state = self.lock();
        state.check(bucket, key, condition)?;
        let versioning = state.bucket(bucket)?.settings.versioning;
        if let Some(id) = version_id {
            let bucket = state.bucket_mut(bucket)?;
            let mut marker = false;
            if let Some(versions) = bucket.keys.get_mut(key) {
                marker = versions.iter().any(|v| v.id() == id && matches!(v, Version::Marker { .. }));
                versions.retain(|version| version.id() != id);
                if versions.is_empty() {
                    bucket.keys.remove(key);
                }
            }
            return Ok(Deleted { marker, version_id: Some(id.to_owned()) });
        }
        if versioning == Versioning::Off {
            state.bucket_mut(bucket)?.keys.remove(key);
            return Ok(Deleted { marker: false, version_id: None });
        }
        let id = state.version_id(versioning);
        let marker = Version::Marker { version_id: id.clone(), last_modified: state.now() };
        state.bucket_mut(bucket)?.push(key, marker);
        Ok(Deleted { marker: true, version_id: Some(id) })
    }

    /// Replaces the tags of a version.
    pub(crate) fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        tags: BTreeMap<String, String>,
    ) -> S3Result<String> {
        let mut state = self.lock();
        let versions = state.bucket_mut(bucket)?.keys.get_mut(key);
        let version = versions.and_then(|versions| match version_id {
            Some(id) => versions.iter_mut().find(|version| version.id() == id),
            None => versions.last_mut(),
        });
        match version {
            Some(Version::Object(object)) => {
                Arc::make_mut(object).tags = tags;
                Ok(object.version_id.clone())
            }
            _ => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
        }
    }
}
