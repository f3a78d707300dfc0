//! What happened in a seed: the versions of the source, the writes to the destination, requests and steps in order.

use crate::parts::Send;
use bytes::Bytes;
use longhaul_testing::Object;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one; see [`crate::invariants`].
    pub invariant: &'static str,
    /// What was seen instead.
    pub told: String,
}

/// One version of a source object.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) content: Bytes,
    pub(crate) etag: String,
    pub(crate) sequencer: String,
    pub(crate) version_id: String,
}

/// What is known of one key.
#[derive(Debug, Default)]
pub(crate) struct KeyHistory {
    /// Every version that was ever put, the oldest first.
    pub(crate) versions: Vec<Version>,
    /// The moment since which the source holds it.
    pub(crate) since: Option<u64>,
    /// The size of the parts that it is put in.
    pub(crate) parts: Option<u64>,
    /// Somebody else wrote or deleted at the destination.
    pub(crate) tampered: bool,
    /// The source was said to be gone though it was not.
    pub(crate) denied: bool,
    /// What stands at the destination as far as it was seen.
    pub(crate) stands: Option<Arc<Object>>,
    /// ETags and bytes of everything that was seen at the destination.
    pub(crate) written: Vec<(String, Bytes)>,
    /// Somebody put this before, or behind our back.
    pub(crate) foreign: Vec<Bytes>,
}

/// An upload at the destination.
#[derive(Debug, Default)]
pub(crate) struct UploadHistory {
    pub(crate) key: String,
    /// Grows with every upload.
    pub(crate) order: u64,
    /// The invocation that made it.
    pub(crate) creator: Option<u64>,
    /// The reply with its id arrived.
    pub(crate) told: bool,
    /// The ledger has named it.
    pub(crate) known: bool,
    /// An abort of it was sent and failed.
    pub(crate) abort_failed: bool,
    /// Part number -> the moments at which it was stored.
    pub(crate) stored: BTreeMap<u32, Vec<u64>>,
}

/// One line of the history.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    at_ms: u64,
    invocation: Option<u64>,
    text: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The source keys.
    pub(crate) keys: BTreeMap<String, KeyHistory>,
    pub(crate) uploads: BTreeMap<String, UploadHistory>,
    /// Invocations that ended before their time.
    pub(crate) died: BTreeSet<u64>,
    /// (Upload, part) -> the requests that carried it, in their order.
    pub(crate) sends: BTreeMap<(String, u32), Vec<Send>>,
    /// (Invocation, upload, part) whose reply arrived.
    pub(crate) replied: BTreeSet<(u64, String, u32)>,
    /// (Invocation, upload, part) that its listing showed.
    pub(crate) shown: BTreeSet<(u64, String, u32)>,
    /// (Invocation, key) of the source that were read with a byte changed on the way.
    pub(crate) misread: BTreeSet<(u64, String)>,
    /// Parts stored again, by what led to it.
    pub(crate) again: BTreeMap<&'static str, u64>,
    pub(crate) violations: Vec<Violation>,
    lines: Vec<Line>,
    moment: u64,
}

impl History {
    /// The next moment: grows with every line.
    pub(crate) fn moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    pub(crate) fn say(&mut self, at_ms: u64, invocation: Option<u64>, text: String) -> usize {
        self.moment += 1;
        self.lines.push(Line { at_ms, invocation, text });
        self.lines.len() - 1
    }

    pub(crate) fn add(&mut self, line: usize, text: &str) {
        if let Some(line) = self.lines.get_mut(line) {
            line.text.push_str(text);
        }
    }

    pub(crate) fn violated(&mut self, invariant: &'static str, told: String) {
        let at_ms = self.lines.last().map_or(0, |line| line.at_ms);
        self.say(at_ms, None, format!("!!! {invariant}: {told}"));
        self.violations.push(Violation { invariant, told });
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|Line { at_ms, invocation, text }| match invocation {
                Some(invocation) => format!("{at_ms:>9} #{invocation:<3} {text}"),
                None => format!("{at_ms:>9}      {text}"),
            })
            .collect()
    }

    /// The versions of `key` that have these bytes.
    pub(crate) fn versions_of(&self, key: &str, content: &[u8]) -> Vec<usize> {
        let versions = self.keys.get(key).map(|known| known.versions.as_slice()).unwrap_or_default();
        let same = |(index, version): (usize, &Version)| (version.content == content).then_some(index);
        versions.iter().enumerate().filter_map(same).collect()
    }
}
