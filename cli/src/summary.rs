//! What a run did, for people and for programs.

use crate::sizes::{bytes_text, count_text, time_text};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::contract::Exception;
use longhaul_core::outcome::Outcome;
use longhaul_core::tally::Tally;
use serde::Serialize;

/// Most failures that a summary lists.
pub const FAILURES_SHOWN: usize = 20;

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// `s3://bucket/prefix` of the source.
    pub source: String,
    /// `s3://bucket/prefix` of the destination.
    pub destination: String,
    /// Objects listed.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Of those, the ones that a filter left out.
    pub excluded: u64,
    /// Of the unchanged, the ones of which nothing is known but that their sizes are equal.
    pub unproven: u64,
    /// Objects that arrived, with proof.
    pub migrated: u64,
    /// Objects that were already there.
    pub unchanged: u64,
    /// Objects left out for a reason.
    pub skipped: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Objects whose outcome could not be recorded.
    pub unsettled: u64,
    /// Bytes of migrated objects.
    pub bytes: u64,
    /// Bytes that the destination acknowledged.
    pub bytes_sent: u64,
    /// Parts that the destination acknowledged.
    pub parts_sent: u64,
    /// Parts that it held already.
    pub parts_held: u64,
    /// Repeats after a fault.
    pub retries: u64,
    /// Faults because a store asked for fewer requests.
    pub throttles: u64,
    /// Faults because a connection was lost or a body ended early.
    pub resets: u64,
    /// Faults because nothing moved for too long.
    pub stalls: u64,
    /// Faults because a store answered with an error of its own.
    pub server_errors: u64,
    /// Faults because a digest differed.
    pub mismatches: u64,
    /// Bodies that were read on from where they stopped.
    pub resumed: u64,
    /// Copies of parts that were begun because another was slow.
    pub hedges: u64,
    /// Bytes that this moved for nothing.
    pub bytes_hedged: u64,
    /// Parts or objects that the store copied by itself.
    pub server_side: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Seconds spent waiting before repeats, added up over all transfers.
    pub seconds_waited: f64,
    /// How long it took.
    pub seconds: f64,
    /// Bytes sent by second.
    pub bytes_per_second: u64,
    /// The first failures.
    pub failures: Vec<FailedObject>,
    /// Why the run itself failed, where it did: then not every object may have been seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An object that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedObject {
    /// Its key at the source.
    pub key: String,
    /// The error's name.
    pub name: String,
    /// What happened.
    pub message: String,
}

impl Summary {
    /// Adds the outcomes of one execution.
    pub fn add_outcomes(&mut self, tally: Tally, exceptions: Vec<Exception>) {
        self.migrated += tally.migrated;
        self.unchanged += tally.unchanged;
        self.skipped += tally.skipped;
        self.failed += tally.failed;
        self.unsettled += tally.unsettled;
        self.bytes += tally.bytes;
        let room = FAILURES_SHOWN.saturating_sub(self.failures.len());
        let failed = exceptions.into_iter().filter_map(|exception| match exception.outcome {
            Outcome::Failed { failure } => {
                Some(FailedObject { key: exception.object.key, name: failure.name, message: failure.message })
            }
            _ => None,
        });
        self.failures.extend(failed.take(room));
    }

    /// Adds what the scan saw.
    pub fn add_scan(&mut self, counts: &Counts) {
        self.objects += counts.listed;
        self.object_bytes += counts.listed_bytes;
        self.excluded += counts.excluded;
        self.unchanged += counts.unchanged;
        self.unproven += counts.unproven;
        self.skipped += counts.exists;
    }

    /// Sets what was counted on the way.
    pub fn set_counted(&mut self, counted: Tally, seconds: f64) {
        self.bytes_sent = counted.bytes_up;
        self.parts_sent = counted.parts;
        self.parts_held = counted.parts_held;
        self.retries = counted.retries;
        self.throttles = counted.throttles;
        self.resets = counted.resets;
        self.stalls = counted.stalls;
        self.server_errors = counted.server_errors;
        self.mismatches = counted.mismatches;
        self.resumed = counted.resumed;
        self.hedges = counted.hedges;
        self.bytes_hedged = counted.bytes_hedged;
        self.server_side = counted.server_side;
        self.bytes_read = counted.bytes_down;
        self.seconds_waited = counted.wait_ms as f64 / 1000.0;
        self.seconds = (seconds * 1000.0).round() / 1000.0;
        self.bytes_per_second = if seconds > 0.0 { (counted.bytes_up as f64 / seconds) as u64 } else { 0 };
    }

    /// True if every object that the source holds is migrated, unchanged or skipped.
    pub fn all_well(&self) -> bool {
        let ended = self.migrated + self.unchanged + self.skipped + self.excluded;
        self.error.is_none() && self.failed == 0 && self.unsettled == 0 && ended == self.objects
    }

    /// As one JSON document.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn unchanged_text(&self) -> String {
        let unproven = format!(", {} of them by their size alone", count_text(self.unproven));
        format!("{}{}", count_text(self.unchanged), if self.unproven > 0 { &unproven } else { "" })
    }

    fn retries_text(&self) -> String {
        let causes = [
            (self.throttles, "throttled"),
            (self.resets, "connections lost"),
            (self.stalls, "stalled"),
            (self.server_errors, "server errors"),
            (self.mismatches, "mismatches"),
            (self.resumed, "bodies read on"),
        ];
        let told = causes.iter().filter(|(count, _)| *count > 0);
        let told = told.map(|(count, cause)| format!(", {} {cause}", count_text(*count))).collect::<String>();
        let waited =
            if self.seconds_waited >= 0.1 { format!(", {:.1}s waited", self.seconds_waited) } else { String::new() };
        format!("{}{told}{waited}", count_text(self.retries))
    }

    /// As a table, with the first failures below.
    pub fn text(&self) -> String {
        let mut rows = vec![
            ("migrated", format!("{} ({})", count_text(self.migrated), bytes_text(self.bytes))),
            ("unchanged", self.unchanged_text()),
            ("skipped", count_text(self.skipped)),
            ("failed", count_text(self.failed)),
        ];
        if self.excluded > 0 {
            rows.push(("excluded", count_text(self.excluded)));
        }
        if self.unsettled > 0 {
            rows.push(("unsettled", count_text(self.unsettled)));
        }
        let rate = bytes_text(self.bytes_per_second);
        let time = if self.seconds < 10.0 { format!("{:.1}s", self.seconds) } else { time_text(self.seconds as u64) };
        rows.push(("sent", format!("{} in {time}, {rate}/s", bytes_text(self.bytes_sent))));
        let (sent, held) = (count_text(self.parts_sent), count_text(self.parts_held));
        rows.push(("parts", format!("{sent} sent, {held} already there")));
        if self.server_side > 0 {
            rows.push(("by store", format!("{} copied by the store itself", count_text(self.server_side))));
        }
        if self.hedges > 0 {
            let extra = bytes_text(self.bytes_hedged);
            rows.push(("hedged", format!("{} slow parts sent again, {extra} extra", count_text(self.hedges))));
        }
        rows.push(("retries", self.retries_text()));
        let mut text = format!("{} -> {}", self.source, self.destination);
        for (name, value) in rows {
            text += &format!("\n  {name:<10} {value}");
        }
        for failure in &self.failures {
            // A key may hold anything, line ends and escapes of a terminal too.
            text += &format!("\nfailed {:?}: {}: {}", failure.key, failure.name, failure.message);
        }
        let more = self.failed.saturating_sub(self.failures.len() as u64);
        if more > 0 {
            text += &format!("\nand {} more; --failures FILE writes them all", count_text(more));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longhaul_core::error::Failure;
    use longhaul_core::outcome::SkipReason;
    use longhaul_core::request::ObjectRef;

    fn exception(key: &str, outcome: Outcome) -> Exception {
        Exception { object: ObjectRef { key: key.into(), ..ObjectRef::default() }, outcome }
    }

    #[test]
    fn the_first_failures_are_named_and_the_others_counted() {
        let failure = Failure::new("Rejected", "no");
        let mut exceptions = vec![exception("s", Outcome::Skipped { reason: SkipReason::SourceGone })];
        exceptions.extend((0..30).map(|n| exception(&format!("k\n{n}"), Outcome::Failed { failure: failure.clone() })));
        let mut summary = Summary { objects: 31, ..Summary::default() };
        summary.add_outcomes(Tally { failed: 30, skipped: 1, ..Tally::default() }, exceptions);
        assert_eq!(summary.failures.len(), FAILURES_SHOWN);
        assert!(!summary.all_well());
        let text = summary.text();
        assert!(text.contains("failed \"k\\n0\": Rejected: no") && text.contains("and 10 more"), "{text}");
    }

    #[test]
    fn an_object_without_an_outcome_is_not_well() {
        let mut summary = Summary { objects: 2, ..Summary::default() };
        summary.add_outcomes(Tally { migrated: 1, bytes: 5, ..Tally::default() }, Vec::new());
        assert!(!summary.all_well());
        summary.add_outcomes(Tally { unchanged: 1, ..Tally::default() }, Vec::new());
        assert!(summary.all_well());
        summary.error = Some("listing".into());
        assert!(!summary.all_well());
    }
}
