//! Manifests: the log of a scan, and the work of the executions that follow.
//!
//! Each shard of a scan writes its manifests under consecutive numbers, each of them once and never again (a write on
//! condition that nothing stands there). So the manifests themselves say how far the shard has come: a scan that was
//! cut off, or that ran twice at once, goes on behind the last one, and no key is missing or twice.
//!
//! A manifest is JSON Lines: a [`Header`], the offered objects as [`crate::request::ObjectRef`], then the destination
//! objects to remove as [`Deletion`].

use super::counts::Counts;
use super::run::run_prefix;
use crate::config::Route;
use crate::etag::{ETag, Md5Digest};
use serde::{Deserialize, Serialize};

/// Most small objects of a manifest: with them, the state transitions of its execution cost less than a twentieth of
/// its requests.
pub const SMALL_OBJECTS_MAX: usize = 2_000;
/// Bytes at which a manifest of small objects is full: what four batches may hold.
pub const SMALL_BYTES_MAX: u64 = 4 * crate::contract::BATCH_BYTES_MAX;
/// Most large objects of a manifest.
pub const LARGE_OBJECTS_MAX: usize = 10;
/// An object of this size goes alone, and so many bytes of large objects fill a manifest.
pub const LARGE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// The first line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderLine {
    /// The header. The field's name tells the line from an object's.
    pub manifest: Header,
}

/// What a manifest says of itself and of its shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The run.
    pub run: String,
    /// The shard.
    pub shard: u32,
    /// Its place among the shard's manifests, from 0.
    pub number: u32,
    /// The route of its objects.
    pub route: Route,
    /// Objects in this manifest.
    pub objects: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Destination objects to remove that stand behind the objects.
    #[serde(default)]
    pub deletions: u32,
    /// The byte at which they begin.
    #[serde(default)]
    pub deletions_at: u64,
    /// How far the shard has come with this manifest.
    pub progress: Progress,
}

/// How far a shard has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Where the scan goes on: everything up to here stands in manifests, or needs none.
    pub through: Place,
    /// Counts of everything up to there.
    pub counts: Counts,
    /// True if nothing is left to scan. The last manifest of a shard says so, and may be empty otherwise.
    pub done: bool,
}

/// A place in what a shard scans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Nothing was scanned yet.
    #[default]
    Start,
    /// A listing was merged through this key, the route's source prefix included.
    Key(String),
    /// A list of keys was read through this entry of this object of it.
    Line {
        /// Index of the object, where the list has several.
        object: u32,
        /// Entries read of it.
        entry: u64,
    },
}

/// A destination object to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// Its key at the destination. The field's name tells the line from an object's.
    pub delete: String,
    /// The key that the source lacks.
    pub source_key: String,
    /// Its ETag when it was listed.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
}

/// What the keys of all manifests of a run begin with: what the distributed Map lists.
pub fn manifests_prefix(run: &str) -> String {
    format!("{}manifests/", run_prefix(run))
}

/// The key of a manifest. A hash comes first, so that neighbours in the Map's order are far apart in the key space.
pub fn manifest_key(run: &str, shard: u32, number: u32) -> String {
    let hash = Md5Digest::of(format!("{shard}/{number}").as_bytes()).hex();
    format!("{}{}-{shard:05}-{number:07}.jsonl", manifests_prefix(run), &hash[..8])
}

/// The name of a manifest inside its run, from its key: what its outcomes are filed under.
pub fn manifest_name(key: &str) -> &str {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    name.strip_suffix(".jsonl").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_manifests_are_found_again() {
        let key = manifest_key("run-1", 3, 14);
        assert!(key.starts_with(&manifests_prefix("run-1")));
        assert!(manifest_name(&key).ends_with("-00003-0000014"), "{key}");
        let next = manifest_key("run-1", 3, 15);
        assert_ne!(manifest_name(&next).split('-').next(), manifest_name(&key).split('-').next(), "neighbours");
        assert!(!manifests_prefix("run-1").starts_with(&manifests_prefix("run")));
    }
}
