//! The work bucket: manifests and outcomes, small objects of this deployment's own.

use crate::error::{Place, StepError, from_sdk};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A store of small objects by key.
#[async_trait::async_trait]
pub trait Work: Send + Sync + fmt::Debug {
    /// The bucket that references name.
    fn bucket(&self) -> &str;
    /// Writes an object; an older one is replaced.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StepError>;
    /// Bytes `from` up to `end` (or the object's end) of an object in `bucket`.
    async fn get(&self, bucket: &str, key: &str, from: u64, end: Option<u64>) -> Result<Bytes, StepError>;
    /// The keys under a prefix, ascending.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StepError>;
}

/// An S3 bucket of this account.
#[derive(Clone, Debug)]
pub struct S3Work {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl S3Work {
    /// The bucket `bucket`.
    pub fn new(client: aws_sdk_s3::Client, bucket: String) -> Self {
        Self { client, bucket }
    }
}

#[async_trait::async_trait]
impl Work for S3Work {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StepError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(body.into())
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, &format!("writing {key} to the work bucket"), &error))?;
        Ok(())
    }

    async fn get(&self, bucket: &str, key: &str, from: u64, end: Option<u64>) -> Result<Bytes, StepError> {
        let range = match end {
            None if from == 0 => None,
            None => Some(format!("bytes={from}-")),
            Some(end) if end <= from => return Ok(Bytes::new()),
            Some(end) => Some(format!("bytes={from}-{}", end - 1)),
        };
        let what = format!("reading s3://{bucket}/{key}");
        let answer = self
            .client
            .get_object()
            .bucket(bucket)
            .key(key)
            .set_range(range)
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, &what, &error))?;
        let body = answer.body.collect().await.map_err(|error| {
            StepError::new(longhaul_core::error::ErrorName::Transient, format!("{what}: the body ended: {error}"))
        })?;
        Ok(body.into_bytes())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StepError> {
        let mut keys = Vec::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| from_sdk(Place::Own, "listing the work bucket", &error))?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        Ok(keys)
    }
}

/// Objects in memory, for one process.
#[derive(Debug, Default)]
pub struct MemoryWork {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryWork {
    /// Removes the objects under a prefix and returns them.
    pub fn take(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<String> = objects
            .range(prefix.to_owned()..)
            .map(|(key, _)| key.clone())
            .take_while(|key| key.starts_with(prefix))
            .collect();
        keys.into_iter().filter_map(|key| objects.remove_entry(&key)).collect()
    }
}

#[async_trait::async_trait]
impl Work for MemoryWork {
    fn bucket(&self) -> &str {
        "memory"
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StepError> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), body);
        Ok(())
    }

    async fn get(&self, _bucket: &str, key: &str, from: u64, end: Option<u64>) -> Result<Bytes, StepError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let body = objects.get(key).ok_or_else(|| StepError::rejected(format!("no object {key} in memory")))?;
        let length = body.len() as u64;
        let end = end.map_or(length, |end| end.min(length));
        let from = from.min(end);
        // Both are at most the length of a slice in memory.
        Ok(body.slice(from as usize..end as usize))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StepError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(objects
            .range(prefix.to_owned()..)
            .map(|(key, _)| key.clone())
            .take_while(|key| key.starts_with(prefix))
            .collect())
    }
}
