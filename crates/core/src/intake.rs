//! From a batch of messages to executions.

use crate::config::Route;
use crate::names::execution_name;
use crate::request::{ManifestRef, ObjectRef, Request, deduplicated};

/// Most bytes of an execution's input. Step Functions allows 256 KiB, and `plan` adds to it:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const INPUT_MAX_BYTES: usize = 200 * 1024;
/// Most objects of one execution that intake starts.
pub const OBJECTS_MAX: usize = 500;
/// An object of at least this size gets an execution of its own, so that neither waits for the other.
pub const ALONE_BYTES: u64 = 1024 * 1024 * 1024;

/// One execution to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its name, the same whenever the same messages arrive together.
    pub name: String,
    /// Its input, at most [`INPUT_MAX_BYTES`] as JSON.
    pub request: Request,
    /// The messages that wait for it.
    pub message_ids: Vec<String>,
}

struct Offer {
    message_id: String,
    object: ObjectRef,
}

/// The executions for a batch: `events` share executions, each of `requests` has its own.
///
/// Every object and every manifest is in exactly one of them, but for repeats of a key among the events, which are one
/// object.
pub fn starts(events: Vec<(String, Vec<ObjectRef>)>, requests: Vec<(String, Request)>) -> Vec<Start> {
    let mut ids: Vec<String> =
        events.iter().map(|(id, _)| id.clone()).chain(requests.iter().map(|(id, _)| id.clone())).collect();
    ids.sort_unstable();
    let mut out = Starts { ids, starts: Vec::new() };

    let mut events = events;
    events.sort_by(|a, b| a.0.cmp(&b.0));
    let mut waiting: Vec<String> = Vec::new();
    let offers: Vec<Offer> = events
        .into_iter()
        .flat_map(|(message_id, objects)| {
            objects.into_iter().map(move |object| Offer { message_id: message_id.clone(), object })
        })
        .collect();
    // A repeated key is one object, but each of its messages waits for the execution that has it.
    let kept = deduplicated(offers.iter().map(|offer| offer.object.clone()).collect());
    let mut ids_of = std::collections::HashMap::<(&str, &str), Vec<&str>>::new();
    for offer in &offers {
        ids_of.entry((&offer.object.bucket, &offer.object.key)).or_default().push(&offer.message_id);
    }
    let mut group = Vec::new();
    let mut bytes = 0;
    for object in kept {
        let owners: Vec<String> = ids_of
            .get(&(object.bucket.as_str(), object.key.as_str()))
            .map(|ids| ids.iter().map(|id| (*id).to_owned()).collect())
            .unwrap_or_default();
        if object.size.is_some_and(|size| size >= ALONE_BYTES) {
            out.push(vec![object], None, Vec::new(), owners);
            continue;
        }
        let length = json_length(&object);
        if !group.is_empty() && (group.len() == OBJECTS_MAX || bytes + length > INPUT_MAX_BYTES) {
            out.push(std::mem::take(&mut group), None, Vec::new(), std::mem::take(&mut waiting));
            bytes = 0;
        }
        bytes += length;
        group.push(object);
        waiting.extend(owners);
    }
    if !group.is_empty() {
        out.push(group, None, Vec::new(), waiting);
    }

    let mut requests = requests;
    requests.sort_by(|a, b| a.0.cmp(&b.0));
    for (message_id, request) in requests {
        out.split(&message_id, request);
    }
    out.starts
}

struct Starts {
    ids: Vec<String>,
    starts: Vec<Start>,
}

impl Starts {
    fn push(
        &mut self,
        objects: Vec<ObjectRef>,
        route: Option<Route>,
        manifests: Vec<ManifestRef>,
        mut message_ids: Vec<String>,
    ) {
        message_ids.sort_unstable();
        message_ids.dedup();
        let ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        let name = execution_name(&ids, self.starts.len());
        let request = Request { objects, manifests, route, ..Request::default() };
        self.starts.push(Start { name, request, message_ids });
    }

    fn split(&mut self, message_id: &str, request: Request) {
        let Request { objects, manifests, route, .. } = request;
        let ids = || vec![message_id.to_owned()];
        let fixed = route.as_ref().map_or(0, json_length);
        let mut group = Vec::new();
        let mut bytes = fixed;
        for object in objects {
            let length = json_length(&object);
            if !group.is_empty() && bytes + length > INPUT_MAX_BYTES {
                self.push(std::mem::take(&mut group), route.clone(), Vec::new(), ids());
                bytes = fixed;
            }
            bytes += length;
            group.push(object);
        }
        if !group.is_empty() {
            self.push(group, route.clone(), Vec::new(), ids());
        }
        let mut group = Vec::new();
        let mut bytes = fixed;
        for manifest in manifests {
            let length = json_length(&manifest);
            if !group.is_empty() && bytes + length > INPUT_MAX_BYTES {
                self.push(Vec::new(), route.clone(), std::mem::take(&mut group), ids());
                bytes = fixed;
            }
            bytes += length;
            group.push(manifest);
        }
        if !group.is_empty() {
            self.push(Vec::new(), route, group, ids());
        }
    }
}

/// Bytes of a value in JSON, with room for a comma.
fn json_length<T: serde::Serialize>(value: &T) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len() + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::MANIFESTS_MAX;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn object(key: &str) -> ObjectRef {
        ObjectRef { bucket: "in".into(), key: key.into(), size: Some(1), ..ObjectRef::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn rule_14_every_object_is_in_one_execution_that_fits(
            events in prop::collection::vec(prop::collection::vec("[a-c]{1,2}|\\PC{200,1000}", 1..8), 0..60),
            requests in prop::collection::vec(prop::collection::vec("\\PC{100,1000}", 1..300), 0..3),
        ) {
            let events: Vec<_> = events.into_iter().enumerate()
                .map(|(n, keys)| (format!("e{n}"), keys.iter().map(|key| object(key)).collect::<Vec<_>>())).collect();
            let requests: Vec<_> = requests.into_iter().enumerate()
                .map(|(n, keys)| (format!("r{n}"), Request { objects: keys.iter().map(|key| object(key)).collect(), ..Request::default() }))
                .collect();
            let started = starts(events.clone(), requests.clone());
            for start in &started {
                prop_assert!(serde_json::to_string(&start.request).unwrap().len() <= INPUT_MAX_BYTES + 64);
            }
            let names: BTreeSet<_> = started.iter().map(|start| &start.name).collect();
            prop_assert_eq!(names.len(), started.len());
            for (id, objects) in &events {
                for offered in objects {
                    let holders: Vec<_> = started.iter()
                        .filter(|start| start.name.starts_with("s3-") && start.message_ids.contains(id) && start.request.objects.contains(offered))
                        .collect();
                    prop_assert_eq!(holders.len(), 1);
                }
            }
            let in_requests: usize = requests.iter().map(|(_, request)| request.objects.len()).sum();
            let distinct: BTreeSet<_> = events.iter().flat_map(|(_, objects)| objects.iter().map(|object| &object.key)).collect();
            let total: usize = started.iter().map(|start| start.request.objects.len()).sum();
            prop_assert_eq!(total, in_requests + distinct.len());
        }
    }

    /// The largest message, of keys that JSON makes six times as long.
    #[test]
    fn rule_14_manifests_with_long_keys_are_shared_out() {
        let manifest = |number: usize| ManifestRef {
            bucket: "work".into(),
            key: format!("{number:04}{}", "\u{1}".repeat(1_020)),
            offset: 0,
            end: None,
        };
        let manifests: Vec<_> = (0..MANIFESTS_MAX).map(manifest).collect();
        let request = Request { manifests: manifests.clone(), ..Request::default() };
        let started = starts(Vec::new(), vec![("r".into(), request)]);
        assert!(started.len() > 1);
        for start in &started {
            assert!(serde_json::to_string(&start.request).unwrap().len() <= INPUT_MAX_BYTES + 64);
            assert_eq!(start.message_ids, ["r"]);
        }
        let all: Vec<_> = started.into_iter().flat_map(|start| start.request.manifests).collect();
        assert_eq!(all, manifests);
    }

    #[test]
    fn the_same_batch_in_another_order_gives_the_same_executions() {
        let a = ("a".to_owned(), vec![object("x"), object("y")]);
        let b = ("b".to_owned(), vec![object("z")]);
        assert_eq!(starts(vec![a.clone(), b.clone()], vec![]), starts(vec![b, a], vec![]));
    }

    #[test]
    fn a_very_large_object_goes_alone_and_a_manifest_too() {
        let large = ObjectRef { size: Some(ALONE_BYTES), ..object("large") };
        let manifest = ManifestRef { bucket: "work".into(), key: "m".into(), offset: 0, end: None };
        let request = Request { objects: vec![object("q")], manifests: vec![manifest], ..Request::default() };
        let started = starts(vec![("m".into(), vec![object("x"), large, object("y")])], vec![("r".into(), request)]);
        let counts: Vec<_> =
            started.iter().map(|start| (start.request.objects.len(), !start.request.manifests.is_empty())).collect();
        assert_eq!(counts, [(1, false), (2, false), (1, false), (0, true)]);
    }
}
