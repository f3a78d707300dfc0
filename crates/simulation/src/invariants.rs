//! The promises, and how each is checked. Every one has a name, by which a failing seed tells what it broke.
//!
//! While the seed runs:
//! - `byte-for-byte`: whatever a write leaves at the destination has the bytes of one version of the source.
//! - `never-older`: no write of ours replaces a version of the source by an older one.
//! - `no-part-twice`: no invocation sends a part that its upload held when it began, that its own listing showed, or
//!   whose reply it had. What is left is bounded by that: hedges, repeats after lost replies, concurrent twins.
//! - `outcome-is-true`: the ledger calls nothing migrated or unchanged that was not seen at the destination so.
//! - `counts-add-up`: every execution counts each object that it was offered once, and so does a backfill.
//! - `failed-is-queued`: a failed object has its message on the failed queue.
//! - `within-quotas`: no execution outgrows its history or its payloads.
//! - `every-message-is-read`: no message is called unreadable.
//! - `it-ends`: everything comes to its end within thirty days.
//!
//! When everything is calm and what failed was sent again once:
//! - `exactly-one-outcome`: every object that was offered has a final outcome in the ledger.
//! - `redrive-succeeds`: what was sent again does not fail again.
//! - `newest-is-there`: the newest version of the source stands at the destination.
//! - `no-upload-left`: no upload is open but those whose Create reply was lost, or whose abort was.

use crate::history::{History, KeyHistory};
use crate::weather::{DESTINATION, SOURCE, Weather, short};
use longhaul_core::config::Overwrite;
use std::collections::BTreeMap;

/// Why an upload may be left open.
fn excuse(history: &History, id: &str) -> Option<&'static str> {
    let upload = history.uploads.get(id)?;
    let creator_died = upload.creator.is_some_and(|creator| history.died.contains(&creator));
    if !upload.told {
        Some("its Create reply was lost")
    } else if upload.abort_failed {
        Some("its abort failed")
    } else if !upload.known && creator_died {
        Some("whoever made it died before it could tell")
    } else {
        None
    }
}

/// Checks what holds at the end; returns the uploads left open, by their excuses.
pub(crate) fn check(weather: &Weather) -> BTreeMap<&'static str, u64> {
    let mut excused = BTreeMap::new();
    let mut violations = Vec::new();
    let history = weather.history();
    for upload in weather.there.store().open_uploads() {
        match excuse(&history, &upload.id) {
            Some(excuse) => *excused.entry(excuse).or_default() += 1,
            None => {
                let told = format!(
                    "upload {} to {:?} is open: {:?}",
                    short(&upload.id),
                    upload.key,
                    history.uploads.get(&upload.id)
                );
                violations.push(("no-upload-left", told));
            }
        }
    }
    for (key, known) in &history.keys {
        if let Some(told) = newest(weather, key, known) {
            violations.push(("newest-is-there", told));
        }
    }
    drop(history);
    for (invariant, told) in violations {
        weather.history().violated(invariant, told);
    }
    excused
}

/// What is wrong with the destination's object.
fn newest(weather: &Weather, key: &str, known: &KeyHistory) -> Option<String> {
    let source = weather.here.store().get(SOURCE, key);
    let there = weather.there.store().get(DESTINATION, &weather.there_key(key));
    // What others did at the destination may have been the last that happened there.
    let free = known.tampered || known.denied || weather.scenario.overwrite == Overwrite::Never;
    match (source, there) {
        (Some(source), Some(there)) if source == there => None,
        (None, None) => None,
        (Some(_), None) if free && known.tampered | known.denied => None,
        // A source that is gone takes nothing away.
        (source, Some(there)) => {
            let of_source = known.versions.iter().any(|version| version.content == there);
            let foreign = known.foreign.contains(&there);
            let fine = (of_source || foreign) && (free || source.is_none());
            let told = || {
                format!("{key:?}: {} bytes stand there, of the source: {of_source}, foreign: {foreign}", there.len())
            };
            (!fine).then(told)
        }
        (Some(source), None) => Some(format!("{key:?} of {} bytes is not at the destination", source.len())),
    }
}
