//! Listed objects, gathered into requests of a bounded size.

use longhaul_core::classify::SMALL_MAX;
use longhaul_core::request::{ObjectRef, REQUEST_VERSION, Request};

/// Most small objects of a request.
pub const SMALL_OBJECTS_MAX: usize = 500;
/// Most large objects of a request.
pub const LARGE_OBJECTS_MAX: usize = 10;
/// Bytes of objects at which a request of small ones is full.
pub const SMALL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most bytes of a request's objects as JSON: half of what an execution takes.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const JSON_BYTES_MAX: usize = 128 * 1024;

/// Objects of one request, and how many bytes they have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The objects.
    pub objects: Vec<ObjectRef>,
    /// The sum of their sizes.
    pub bytes: u64,
    json_bytes: usize,
}

impl Group {
    /// The request for these objects.
    pub fn into_request(self) -> Request {
        Request { version: Some(REQUEST_VERSION), objects: self.objects, ..Request::default() }
    }

    fn is_full_for(&self, json_bytes: usize, objects_max: usize, bytes_max: u64) -> bool {
        self.objects.len() >= objects_max || self.bytes >= bytes_max || self.json_bytes + json_bytes > JSON_BYTES_MAX
    }
}

/// Gathers objects in the order of the listing: small ones and large ones apart.
#[derive(Debug, Default)]
pub struct Grouper {
    small: Group,
    large: Group,
}

impl Grouper {
    /// Adds an object; returns the group that had no room for it.
    pub fn push(&mut self, object: ObjectRef) -> Option<Group> {
        let size = object.size.unwrap_or(0);
        let (group, objects_max, bytes_max) = if size <= SMALL_MAX {
            (&mut self.small, SMALL_OBJECTS_MAX, SMALL_BYTES_MAX)
        } else {
            (&mut self.large, LARGE_OBJECTS_MAX, u64::MAX)
        };
        // Neither text nor numbers can fail to be written; were it otherwise, the object would travel alone.
        let json_bytes = serde_json::to_string(&object).map_or(JSON_BYTES_MAX, |json| json.len() + 1);
        let full = !group.objects.is_empty() && group.is_full_for(json_bytes, objects_max, bytes_max);
        let done = full.then(|| std::mem::take(group));
        group.objects.push(object);
        group.bytes += size;
        group.json_bytes += json_bytes;
        done
    }

    /// What is left at the end of the listing.
    pub fn finish(self) -> impl Iterator<Item = Group> {
        [self.small, self.large].into_iter().filter(|group| !group.objects.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: u64) -> ObjectRef {
        ObjectRef { bucket: "b".into(), key: key.into(), size: Some(size), ..ObjectRef::default() }
    }

    fn groups(objects: Vec<ObjectRef>) -> Vec<Group> {
        let mut grouper = Grouper::default();
        let mut groups: Vec<Group> = objects.into_iter().filter_map(|object| grouper.push(object)).collect();
        groups.extend(grouper.finish());
        groups
    }

    fn counts(groups: &[Group]) -> Vec<usize> {
        groups.iter().map(|group| group.objects.len()).collect()
    }

    #[test]
    fn small_and_large_objects_travel_apart() {
        let mut objects = Vec::new();
        for number in 0..1_201 {
            objects.push(object(&format!("{number}"), 10));
            if number % 50 == 0 {
                objects.push(object(&format!("{number}-large"), SMALL_MAX + 1));
            }
        }
        let groups = groups(objects.clone());
        let mut sorted = counts(&groups);
        sorted.sort_unstable();
        assert_eq!(sorted, [5, 10, 10, 201, 500, 500]);
        let mut all: Vec<_> = groups.into_iter().flat_map(|group| group.objects).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(all, objects);
    }

    #[test]
    fn a_group_is_bounded_by_bytes_and_by_its_json() {
        let eights = groups((0..300).map(|n| object(&n.to_string(), SMALL_MAX)).collect());
        assert_eq!(counts(&eights), [128, 128, 44]);
        // Control characters take six bytes each as JSON.
        let long = groups((0..100).map(|_| object(&"\u{1}".repeat(1024), 1)).collect());
        for group in &long {
            assert!(serde_json::to_string(&group.clone().into_request()).is_ok_and(|json| json.len() < 140_000));
        }
        assert_eq!(long.iter().map(|group| group.objects.len()).sum::<usize>(), 100);
    }
}
