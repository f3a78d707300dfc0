//! The work bucket: manifests and outcomes, small objects of this deployment's own.

use crate::clients::REQUEST_TIMEOUT;
use crate::error::{Place, StepError, from_sdk};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::Md5Digest;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use tokio::time::timeout;

/// A store of small objects by key.
#[async_trait::async_trait]
pub trait Work: Send + Sync + fmt::Debug {
    /// The bucket that references name.
    fn bucket(&self) -> &str;
    /// Writes an object; an older one is replaced.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StepError>;
    /// Bytes `from` up to `end` (or the object's end) of an object in `bucket`.
    async fn get(&self, bucket: &str, key: &str, from: u64, end: Option<u64>) -> Result<Bytes, StepError>;
    /// Writes an object where none stands; false where one does, which may be this one after a lost reply.
    async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, StepError>;
    /// Replaces the object whose ETag is `etag`; false where another stands, or none.
    async fn replace(&self, key: &str, body: Bytes, etag: &str) -> Result<bool, StepError>;
    /// The first `most` bytes of an object of this bucket; `None` where there is none.
    async fn find(&self, key: &str, most: u64) -> Result<Option<Found>, StepError>;
    /// The keys under a prefix, ascending.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StepError>;
    /// At most a thousand keys under a prefix, ascending, behind `after`.
    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StepError>;
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its bytes.
    pub body: Bytes,
    /// Its ETag, as the store writes it.
    pub etag: String,
}

/// Some of the keys under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys and sizes of the objects.
    pub objects: Vec<(String, u64)>,
    /// True if none are behind them.
    pub last: bool,
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
            .set_content_type(content_type(key).map(str::to_owned))
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
        collected(answer.body, &what).await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, StepError> {
        let request = self.client.put_object().bucket(&self.bucket).key(key).body(body.into()).if_none_match("*");
        conditional(key, request.send().await.map(|_| ()))
    }

    async fn replace(&self, key: &str, body: Bytes, etag: &str) -> Result<bool, StepError> {
        let request = self.client.put_object().bucket(&self.bucket).key(key).body(body.into()).if_match(etag);
        conditional(key, request.send().await.map(|_| ()))
    }

    async fn find(&self, key: &str, most: u64) -> Result<Option<Found>, StepError> {
        let what = format!("reading {key} of the work bucket");
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let answer = match request.set_range(Some(format!("bytes=0-{}", most.max(1) - 1))).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = from_sdk(Place::Own, &what, &error);
                return if error.status == Some(404) { Ok(None) } else { Err(error) };
            }
        };
        let etag = answer.e_tag.unwrap_or_default();
        Ok(Some(Found { body: collected(answer.body, &what).await?, etag }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StepError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let answer = request
            .set_start_after(after.map(str::to_owned))
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, "listing the work bucket", &error))?;
        let last = answer.is_truncated() != Some(true);
        let contents = answer.contents.unwrap_or_default().into_iter();
        let size = |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        let objects = contents.filter_map(|object| Some((object.key?, size(object.size)))).collect();
        Ok(Page { objects, last })
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

/// A whole body. The SDK's timeout ends with the headers.
async fn collected(body: ByteStream, what: &str) -> Result<Bytes, StepError> {
    match timeout(REQUEST_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => Ok(body.into_bytes()),
        Ok(Err(error)) => Err(StepError::new(ErrorName::Transient, format!("{what}: the body ended: {error}"))),
        Err(_) => Err(StepError::stalled(format!("{what}: the body did not end"))),
    }
}

/// What a browser has to know of an object to show it.
fn content_type(key: &str) -> Option<&'static str> {
    match key.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "json" => Some("application/json"),
        "csv" => Some("text/csv; charset=utf-8"),
        _ => None,
    }
}

/// False where a condition of a write did not hold.
fn conditional(
    key: &str,
    answer: Result<(), aws_sdk_s3::error::SdkError<aws_sdk_s3::operation::put_object::PutObjectError>>,
) -> Result<bool, StepError> {
    let Err(error) = answer else { return Ok(true) };
    let error = from_sdk(Place::Own, &format!("writing {key} to the work bucket"), &error);
    // 404 answers If-Match where nothing stands.
    let refused = error.status == Some(412) || error.has_code("NoSuchKey");
    if refused { Ok(false) } else { Err(error) }
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

fn etag_of(body: &Bytes) -> String {
    Md5Digest::of(body).hex()
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

    async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, StepError> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = !objects.contains_key(key);
        if absent {
            objects.insert(key.to_owned(), body);
        }
        Ok(absent)
    }

    async fn replace(&self, key: &str, body: Bytes, etag: &str) -> Result<bool, StepError> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let same = objects.get(key).is_some_and(|found| etag_of(found) == etag);
        if same {
            objects.insert(key.to_owned(), body);
        }
        Ok(same)
    }

    async fn find(&self, key: &str, most: u64) -> Result<Option<Found>, StepError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(objects.get(key).map(|found| {
            let end = usize::try_from(most).map_or(found.len(), |most| most.min(found.len()));
            Found { body: found.slice(..end), etag: etag_of(found) }
        }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StepError> {
        const MOST: usize = 1_000;
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let under = objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let mut found: Vec<_> = under
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after))
            .take(MOST + 1)
            .map(|(key, body)| (key.clone(), body.len() as u64))
            .collect();
        let last = found.len() <= MOST;
        found.truncate(MOST);
        Ok(Page { objects: found, last })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::executor::block_on;

    #[test]
    fn conditions_hold_in_memory_too() {
        let work = MemoryWork::default();
        block_on(async {
            assert!(work.put_new("k", "a".into()).await.unwrap());
            assert!(!work.put_new("k", "b".into()).await.unwrap());
            let found = work.find("k", 100).await.unwrap().unwrap();
            assert_eq!(found.body, "a");
            assert!(work.replace("k", "c".into(), &found.etag).await.unwrap());
            assert!(!work.replace("k", "d".into(), &found.etag).await.unwrap());
            assert!(!work.replace("other", "d".into(), &found.etag).await.unwrap());
            assert_eq!(work.find("other", 1).await.unwrap(), None);
        });
    }

    #[test]
    fn pages_in_memory_go_on_behind_a_key() {
        let work = MemoryWork::default();
        block_on(async {
            for number in 0..1_500 {
                work.put(&format!("p/{number:04}"), "x".into()).await.unwrap();
            }
            work.put("q", "x".into()).await.unwrap();
            let first = work.page("p/", None).await.unwrap();
            assert_eq!((first.objects.len(), first.last), (1_000, false));
            let second = work.page("p/", Some(&first.objects[999].0)).await.unwrap();
            assert_eq!((second.objects.len(), second.last), (500, true));
        });
    }
}
