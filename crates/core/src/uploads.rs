//! Uploads that are open at a destination: which of them nobody will go on with (SEMANTICS.md, rule 19).

use crate::config::{Route, Side};
use crate::job::JobRecord;
use serde::{Deserialize, Serialize};

/// A multipart upload that a destination lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenUpload {
    /// The key at the destination.
    pub key: String,
    /// The upload id.
    pub upload_id: String,
    /// When it was begun, milliseconds since 1970.
    pub initiated_ms: u64,
}

impl OpenUpload {
    /// True if the ledger does not tie this upload to its object: whoever plans the object again begins another one, so
    /// nobody who keeps this ledger will go on with it.
    pub fn is_orphan(&self, record: Option<&JobRecord>) -> bool {
        let known = record.and_then(|record| record.upload.as_ref());
        known.is_none_or(|known| known.upload_id != self.upload_id)
    }
}

/// What was found of the open uploads of some destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenUploads {
    /// Uploads that were looked at: those begun before the look's limit.
    pub open: u64,
    /// Those of them that no record of the ledger knows.
    pub orphans: u64,
    /// When the oldest of the orphans was begun, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// What was not looked at, and why; one line a destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

impl OpenUploads {
    /// Counts an upload.
    pub fn count(&mut self, upload: &OpenUpload, is_orphan: bool) {
        self.open += 1;
        if is_orphan {
            self.orphans += 1;
            let initiated_ms = upload.initiated_ms;
            self.oldest_ms = Some(self.oldest_ms.map_or(initiated_ms, |oldest| oldest.min(initiated_ms)));
        }
    }
}

/// The destinations of `routes`, each place once: one that lies within another is left out, so that no upload is
/// counted twice.
pub fn destinations(routes: &[Route]) -> Vec<&Side> {
    let covers = |one: &Side, other: &Side| {
        one.bucket == other.bucket && one.store() == other.store() && other.prefix.starts_with(&one.prefix)
    };
    let mut kept: Vec<&Side> = Vec::new();
    for route in routes {
        let side = &route.destination;
        if kept.iter().any(|other| covers(other, side)) {
            continue;
        }
        kept.retain(|other| !covers(side, other));
        kept.push(side);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;
    use crate::job::UploadRecord;
    use crate::layout::PartLayout;
    use crate::names::LedgerKey;

    fn upload(id: &str, initiated_ms: u64) -> OpenUpload {
        OpenUpload { key: "k".into(), upload_id: id.into(), initiated_ms }
    }

    #[test]
    fn rule_19_only_the_upload_of_its_record_is_known() {
        let mut record = JobRecord::new(LedgerKey::new(&Side::default(), "k"), "b", "k", "e", 1);
        assert!(upload("one", 1).is_orphan(None) && upload("one", 1).is_orphan(Some(&record)));
        record.upload = PartLayout::new(9, 1).ok().map(|layout| UploadRecord {
            upload_id: "one".into(),
            layout,
            mirrored: false,
            encryption: Default::default(),
            trailing_checksum: false,
        });
        assert!(!upload("one", 1).is_orphan(Some(&record)));
        assert!(upload("other", 1).is_orphan(Some(&record)));
    }

    #[test]
    fn the_oldest_orphan_is_told() {
        let mut found = OpenUploads::default();
        for (at, is_orphan) in [(3, true), (1, false), (2, true), (5, true)] {
            found.count(&upload("u", at), is_orphan);
        }
        assert_eq!((found.open, found.orphans, found.oldest_ms), (4, 3, Some(2)));
    }

    #[test]
    fn no_place_is_looked_at_twice() {
        let route = |bucket: &str, prefix: &str, endpoint: Option<&str>| Route {
            name: String::new(),
            source: Side::default(),
            destination: Side {
                bucket: bucket.into(),
                prefix: prefix.into(),
                endpoint: endpoint.map(str::to_owned),
                ..Side::default()
            },
            options: Options::default(),
        };
        let routes = [
            route("b", "x/1", None),
            route("b", "x", None),
            route("b", "x/2", None),
            route("b", "y", None),
            route("c", "x", None),
            route("b", "x/1", Some("https://store.example")),
            route("b", "x", Some("https://s3.amazonaws.com")),
        ];
        let told: Vec<(&str, &str, bool)> = destinations(&routes)
            .into_iter()
            .map(|side| (side.bucket.as_str(), side.prefix.as_str(), side.endpoint.is_some()))
            .collect();
        assert_eq!(told, [("b", "x", false), ("b", "y", false), ("c", "x", false), ("b", "x/1", true)]);
    }
}
