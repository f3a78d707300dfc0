//! The promises, and how each is checked. Every one has a name, by which a failing seed tells what it broke.
//!
//! While the seed runs:
//! - `byte-for-byte`: whatever a write leaves at the destination has the bytes of one version of the source.
//! - `never-older`: no write of ours replaces a version of the source by an older one.
//! - `no-part-twice`: no invocation sends a part that its upload held when it began, that its own listing showed, or
//!   whose reply it had. What is left is bounded by that: hedges, repeats after lost replies, concurrent twins.
//! - `never-deleted`: nothing of ours removes an object whose key the source held all the time.
//! - `outcome-is-true`: the ledger calls nothing migrated or unchanged that was not seen at the destination so.
//! - `counts-add-up`: every execution counts each object that it was offered once, and so does a backfill.
//! - `failed-is-queued`: a failed object has its message on the failed queue.
//! - `within-quotas`: no execution outgrows its history or its payloads.
//! - `every-message-is-read`: no message is called unreadable.
//! - `run-is-whole`: a backfill that says that it succeeded left out nothing that stood at the source all the time.
//! - `it-ends`: everything comes to its end within thirty days.
//!
//! When everything is calm and what failed was sent again once:
//! - `exactly-one-outcome`: every object that was offered has a final outcome in the ledger.
//! - `redrive-succeeds`: what was sent again does not fail again.
//! - `newest-is-there`: the newest version of the source stands at the destination.
//! - `no-upload-left`: no upload is open but those whose Create reply was lost, or whose abort was.
//! - `open-upload-is-named`: each of these is named by the look that reports them.

use crate::history::{History, KeyHistory};
use crate::weather::{DESTINATION, SOURCE, Weather, short};
use longhaul_aws::clients::Clients;
use longhaul_aws::uploads::Uploads;
use longhaul_core::config::{Overwrite, Route};
use std::collections::{BTreeMap, BTreeSet};

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

/// Ids of the uploads that a look at the destination reports as nobody's.
pub(crate) async fn named(clients: &Clients, route: &Route) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let Ok(mut uploads) = Uploads::of(clients, &route.destination, u64::MAX).await else { return named };
    while let Ok(Some(page)) = uploads.next(&[&*clients.ledger]).await {
        named.extend(page.into_iter().filter(|found| found.is_orphan).map(|found| found.upload.upload_id));
    }
    named
}

/// Checks what holds at the end; returns the uploads left open, by their excuses. `named` are those that are reported.
pub(crate) fn check(weather: &Weather, named: &BTreeSet<String>) -> BTreeMap<&'static str, u64> {
    let mut excused = BTreeMap::new();
    let mut violations = Vec::new();
    let history = weather.history();
    for upload in weather.there.store().open_uploads() {
        match excuse(&history, &upload.id) {
            Some(excuse) => {
                *excused.entry(excuse).or_default() += 1;
                if !named.contains(&upload.id) {
                    let told = format!("upload {} to {:?} is open ({excuse})", short(&upload.id), upload.key);
                    violations.push(("open-upload-is-named", told));
                }
            }
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

/// Checks what a backfill that says that it succeeded has left out.
pub(crate) fn check_run(weather: &Weather, run: &str) {
    let mut left_out = Vec::new();
    // What has one version that still stands was there from the beginning.
    for (key, known) in weather.history().keys.iter().filter(|(_, known)| known.versions.len() == 1) {
        let size = weather.here.store().object(SOURCE, key).map(|object| object.body.len());
        let stands = size.is_some_and(|size| !weather.leaves_out(key, size as usize));
        left_out.extend(newest(weather, key, known).filter(|_| stands).map(|told| format!("{run}: {told}")));
    }
    for told in left_out {
        weather.history().violated("run-is-whole", told);
    }
}

/// What is wrong with the destination's object.
fn newest(weather: &Weather, key: &str, known: &KeyHistory) -> Option<String> {
    let source = weather.here.store().get(SOURCE, key);
    let there = weather.there.store().get(DESTINATION, &weather.there_key(key));
    // No event brings what the filters of the backfills leave out.
    if !weather.scenario.events && source.as_ref().is_some_and(|source| weather.leaves_out(key, source.len())) {
        return None;
    }
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
