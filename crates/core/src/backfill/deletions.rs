//! What became of the destination objects that a run was to remove.

use super::manifest::Deletion;
use crate::config::{Route, Side};
use serde::{Deserialize, Serialize};

/// Most failures whose reasons are kept a shard.
pub const FAILURES_KEPT: usize = 20;

/// How far the deletions of a shard have come. It lies at [`super::run::deleted_key`] and is replaced after each group
/// of deletions, under the condition that nobody else did: so each is counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deleted {
    /// The attempt at the run that wrote it last.
    pub attempt: u32,
    /// Of those that an earlier attempt removed or found gone: how many this one has not come across again.
    pub gone_before: u64,
    /// Number of the manifest that comes next.
    pub next_manifest: u32,
    /// Deletions of that manifest that are done.
    pub next_entry: u32,
    /// True if nothing is left.
    pub done: bool,
    /// True while a step works on what comes next: whoever finds it so repeats what may be done already.
    pub under_way: bool,
    /// Objects removed.
    pub removed: u64,
    /// Bytes of those.
    pub removed_bytes: u64,
    /// Kept: the source holds the key after all.
    pub kept_source_has_it: u64,
    /// Kept: the destination holds another object than was listed.
    pub kept_changed: u64,
    /// Somebody else had removed them.
    pub already_gone: u64,
    /// Kept: a request failed.
    pub failed: u64,
    /// The first [`FAILURES_KEPT`] of those.
    pub failures: Vec<DeletionFailure>,
}

/// A destination object that could not be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionFailure {
    /// Its key at the destination.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What became of one deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The object is removed.
    Removed,
    /// It was not there.
    Gone,
    /// Another object stands there, and stays.
    Changed,
    /// The source holds the key, so the object stays.
    SourceHasIt,
    /// It stays, for this reason.
    Failed(String),
}

impl Deleted {
    /// Where attempt `attempt` at the run begins; `None` if it has begun already, or if nothing is left to do.
    ///
    /// After failures it goes through all deletions once more, since the record does not know which ones failed. What
    /// was removed or gone stays counted.
    pub fn taken_up(&self, attempt: u32) -> Option<Self> {
        if self.attempt >= attempt || (self.done && self.failed == 0) {
            return None;
        }
        if self.failed == 0 {
            return Some(Self { attempt, ..self.clone() });
        }
        let Self { removed, removed_bytes, already_gone, .. } = *self;
        let gone_before = removed + already_gone;
        Some(Self { attempt, gone_before, removed, removed_bytes, already_gone, ..Self::default() })
    }

    /// Counts one deletion. `repeated` if it may have been carried out before, and was not counted.
    pub fn count(&mut self, deletion: &Deletion, removal: Removal, repeated: bool) {
        match removal {
            Removal::Gone if self.gone_before > 0 => self.gone_before -= 1,
            Removal::Gone if repeated => self.count(deletion, Removal::Removed, false),
            Removal::Removed => {
                self.removed += 1;
                self.removed_bytes += deletion.size;
            }
            Removal::Gone => self.already_gone += 1,
            Removal::Changed => self.kept_changed += 1,
            Removal::SourceHasIt => self.kept_source_has_it += 1,
            Removal::Failed(reason) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_KEPT {
                    self.failures.push(DeletionFailure { key: deletion.delete.clone(), reason });
                }
            }
        }
    }

    /// How many deletions were counted.
    pub fn total(&self) -> u64 {
        self.removed + self.kept_source_has_it + self.kept_changed + self.already_gone + self.failed
    }
}

/// True if what is removed under the prefix of one side can lie under that of the other.
fn overlap(one: &Side, other: &Side) -> bool {
    let nested = one.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&one.prefix);
    one.store() == other.store() && one.bucket == other.bucket && nested
}

/// True if two routes with overlapping destinations bring each object there from the same place.
fn agree(one: &Route, other: &Route) -> bool {
    let (outer, inner) = match one.destination.prefix.len() <= other.destination.prefix.len() {
        true => (one, other),
        false => (other, one),
    };
    let behind = |inner: &str, outer: &str| inner.strip_prefix(outer).map(str::to_owned);
    let rest = behind(&inner.destination.prefix, &outer.destination.prefix);
    let (from, to) = (&one.source, &other.source);
    let same_bucket = from.store() == to.store() && from.bucket == to.bucket;
    same_bucket && rest.is_some() && behind(&inner.source.prefix, &outer.source.prefix) == rest
}

/// Why nothing may be removed at the destination of `route`, where that is so: what its source lacks may be there
/// because another route of `known` brought it, or because the source itself lies there.
pub fn forbids_deletions(route: &Route, known: &[Route]) -> Option<String> {
    let to = &route.destination;
    if overlap(to, &route.source) {
        return Some(format!(
            "route {:?}: delete would remove its own source, which lies in its destination",
            route.name
        ));
    }
    let other = known.iter().find(|other| overlap(to, &other.destination) && !agree(route, other))?;
    let told = "delete would remove what route";
    Some(format!("route {:?}: {told} {:?} writes to the same place", route.name, other.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Options;
    use crate::etag::ETag;

    fn route(from: (&str, &str), to: (&str, &str)) -> Route {
        let side =
            |(bucket, prefix): (&str, &str)| Side { bucket: bucket.into(), prefix: prefix.into(), ..Side::default() };
        Route { name: "r".into(), source: side(from), destination: side(to), options: Options::default() }
    }

    #[test]
    fn each_deletion_is_counted_under_one_name() {
        let deletion = |number: u64| Deletion {
            delete: number.to_string(),
            source_key: number.to_string(),
            etag: ETag::new("e"),
            size: 7,
        };
        let mut deleted = Deleted::default();
        for number in 0..30 {
            deleted.count(&deletion(number), Removal::Failed("no".into()), false);
        }
        for removal in [Removal::Removed, Removal::Gone, Removal::Changed, Removal::SourceHasIt] {
            deleted.count(&deletion(1), removal, false);
        }
        assert_eq!((deleted.total(), deleted.failures.len(), deleted.removed_bytes), (34, FAILURES_KEPT, 7));
        deleted.count(&deletion(1), Removal::Gone, true);
        assert_eq!((deleted.removed, deleted.removed_bytes, deleted.already_gone), (2, 14, 1));
    }

    #[test]
    fn failures_are_mended_by_the_next_attempt_and_counted_once() {
        let deletion = Deletion { delete: "d".into(), source_key: "s".into(), etag: ETag::new("e"), size: 7 };
        let failed = || Removal::Failed("no".into());
        let mut deleted = Deleted { attempt: 1, ..Deleted::default() };
        for removal in [Removal::Removed, failed(), Removal::Gone, Removal::Changed, failed(), Removal::SourceHasIt] {
            deleted.count(&deletion, removal, false);
        }
        (deleted.next_manifest, deleted.done) = (3, true);
        assert_eq!(deleted.taken_up(1), None, "a step that is repeated");

        let mut again = deleted.taken_up(2).unwrap();
        assert_eq!((again.next_manifest, again.done, again.failed, again.failures.len()), (0, false, 0, 0));
        // One of those that failed was removed by somebody else meanwhile.
        let gone = || Removal::Gone;
        for removal in [gone(), gone(), gone(), Removal::Changed, Removal::Removed, Removal::SourceHasIt] {
            again.count(&deletion, removal, false);
        }
        let Deleted { removed, removed_bytes, already_gone, kept_changed, kept_source_has_it, .. } = again;
        assert_eq!((removed, removed_bytes, already_gone, kept_changed, kept_source_has_it), (2, 14, 2, 1, 1));
        assert_eq!((again.total(), again.gone_before), (deleted.total(), 0));

        again.done = true;
        assert_eq!(again.taken_up(3), None, "nothing is left");
        let paused = Deleted { attempt: 1, next_manifest: 2, removed: 5, ..Deleted::default() };
        assert_eq!(paused.taken_up(2).unwrap(), Deleted { attempt: 2, ..paused });
    }

    #[test]
    fn a_destination_that_others_write_to_is_left_alone() {
        let mine = route(("a", ""), ("b", "x/"));
        assert_eq!(forbids_deletions(&mine, std::slice::from_ref(&mine)), None);
        assert_eq!(forbids_deletions(&mine, &[route(("c", ""), ("b", "y/")), route(("b", "x/"), ("d", ""))]), None);
        // The same objects, brought by a route that is wider or narrower.
        let part = route(("a", "x/"), ("b", "x/"));
        assert_eq!(forbids_deletions(&part, &[route(("a", ""), ("b", "")), route(("a", "x/y/"), ("b", "x/y/"))]), None);
        assert!(forbids_deletions(&part, &[route(("a", "y/"), ("b", "x/"))]).is_some());
        assert!(forbids_deletions(&part, &[route(("a", "x/"), ("b", ""))]).is_some());
        for other in [("b", ""), ("b", "x/"), ("b", "x/y/")] {
            assert!(forbids_deletions(&mine, &[route(("c", ""), other)]).unwrap().contains("writes"), "{other:?}");
        }
        assert!(forbids_deletions(&route(("b", "in/"), ("b", "")), &[]).unwrap().contains("own source"));
    }
}
