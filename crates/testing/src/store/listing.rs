//! Listings, in the order of the keys' bytes.

use std::ops::Bound;
use std::sync::Arc;

use s3s::S3Result;

use super::{Object, Store, Upload, Version};

/// A page of objects.
pub(crate) struct Listed {
    pub(crate) objects: Vec<(String, Arc<Object>)>,
    pub(crate) prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<After>,
}

/// The last thing that a page named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Key(String),
    /// Everything below it was summed up.
    Prefix(String),
}

/// A page of uploads.
pub(crate) struct ListedUploads {
    pub(crate) uploads: Vec<Upload>,
    pub(crate) truncated: bool,
}

/// A page of versions: key, version, whether it is the newest.
pub(crate) struct ListedVersions {
    pub(crate) versions: Vec<(String, Version, bool)>,
    pub(crate) truncated: bool,
}

impl Store {
    pub(crate) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: &str,
        after: Option<After>,
        max: usize,
    ) -> S3Result<Listed> {
        let state = self.lock();
        let bucket = state.bucket(bucket)?;
        let mut listed = Listed { objects: Vec::new(), prefixes: Vec::new(), next: None };
        if max == 0 {
            return Ok(listed);
        }
        let (from, mut summed) = match after.clone() {
            Some(After::Key(key)) if key.as_str() >= prefix => (Bound::Excluded(key), None),
            Some(After::Prefix(below)) => (Bound::Excluded(below.clone()), Some(below)),
            _ => (Bound::Included(prefix.to_owned()), None),
        };
        let mut last = None;
        for (key, versions) in bucket.keys.range((from, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            let Some(Version::Object(object)) = versions.last() else { continue };
            if summed.as_ref().is_some_and(|below| key.starts_with(below.as_str())) {
                continue;
            }
            if listed.objects.len() + listed.prefixes.len() == max {
                listed.next = last;
                break;
            }
            match (!delimiter.is_empty()).then(|| rest.find(delimiter)).flatten() {
                Some(at) => {
                    let below = key[..prefix.len() + at + delimiter.len()].to_owned();
                    listed.prefixes.push(below.clone());
                    last = Some(After::Prefix(below.clone()));
                    summed = Some(below);
                }
                None => {
                    listed.objects.push((key.clone(), object.clone()));
                    last = Some(After::Key(key.clone()));
                }
            }
        }
        Ok(listed)
    }

    pub(crate) fn list_uploads(
        &self,
        bucket: &str,
        prefix: &str,
        (key_marker, id_marker): (&str, &str),
        max: usize,
    ) -> S3Result<ListedUploads> {
        let state = self.lock();
        state.bucket(bucket)?;
        let mut uploads: Vec<&Upload> =
            state.uploads.values().filter(|u| u.bucket == bucket && u.key.starts_with(prefix)).collect();
        uploads.sort_by_key(|u| (&u.key, u.initiated, &u.id));
        let mut rest = uploads.as_slice();
        if !key_marker.is_empty() {
            let at = rest.iter().position(|u| u.key == key_marker && u.id == id_marker);
            let skip = match at {
                Some(at) => at + 1,
                None => rest.partition_point(|u| u.key.as_str() <= key_marker),
            };
            rest = &rest[skip..];
        }
        let page = rest.iter().take(max).map(|u| (*u).clone()).collect();
        Ok(ListedUploads { uploads: page, truncated: max > 0 && rest.len() > max })
    }

    pub(crate) fn list_versions(
        &self,
        bucket: &str,
        prefix: &str,
        (key_marker, id_marker): (&str, &str),
        max: usize,
    ) -> S3Result<ListedVersions> {
        let state = self.lock();
        let mut listed = ListedVersions { versions: Vec::new(), truncated: false };
        for (key, versions) in &state.bucket(bucket)?.keys {
            if !key.starts_with(prefix) || key.as_str() < key_marker {
                continue;
            }
            let mut newest_first: Vec<&Version> = versions.iter().rev().collect();
            if key == key_marker && !key_marker.is_empty() {
                let at = newest_first.iter().position(|v| v.id() == id_marker);
                newest_first.drain(..at.map_or(versions.len(), |at| at + 1));
            }
            for version in newest_first {
                if listed.versions.len() == max {
                    listed.truncated = max > 0;
                    return Ok(listed);
                }
                let newest = versions.last().is_some_and(|last| last.id() == version.id());
                listed.versions.push((key.clone(), version.clone(), newest));
            }
        }
        Ok(listed)
    }

    pub(crate) fn bucket_names(&self) -> Vec<String> {
        self.lock().buckets.keys().cloned().collect()
    }
}
