//! The tables of the page.

use super::escape::{key, text};
use super::estimate::spoken;
use crate::backfill::check::{CheckedSide, Verdict};
use crate::backfill::deletions::Deleted;
use crate::backfill::summary::words::{bytes, counted, duration, number, rate, time};
use crate::backfill::summary::{RunSummary, Throughput, UNFINISHED_KEPT};
use crate::uploads::OpenUploads;
use serde_json::Value;

/// A table in a box of its own, which scrolls where the screen is too narrow.
pub(super) fn table(id: &str, label: &str, head: &[(&str, &str)], rows: &str) -> String {
    let head: String =
        head.iter().map(|(name, class)| format!("<th scope=\"col\" class=\"{class}\">{name}</th>")).collect();
    format!(
        "<div class=\"scroll tall\" role=\"region\" aria-label=\"{label}\" tabindex=\"0\"><table id=\"{id}\"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// The throughput in numbers, for those who cannot see the plot.
pub(super) fn buckets(throughput: &Throughput) -> String {
    if throughput.total() == 0 {
        return String::new();
    }
    let rows: String = throughput
        .bytes
        .iter()
        .zip(throughput.rates())
        .enumerate()
        .map(|(index, (moved, speed))| {
            let from = duration(index as u64 * throughput.bucket_ms);
            format!(
                "<tr><th scope=\"row\">{from}</th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                bytes(*moved),
                rate(speed)
            )
        })
        .collect();
    let table = table("buckets", "Throughput in numbers", &[("From", ""), ("Bytes", "n"), ("Rate", "n")], &rows);
    format!("<details><summary>The same in numbers</summary>{table}</details>")
}

pub(super) fn slowest(summary: &RunSummary) -> String {
    if summary.slowest.is_empty() {
        return String::new();
    }
    let rows: String = summary
        .slowest
        .iter()
        .map(|slow| {
            format!(
                "<tr><td class=\"long\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                key(&slow.key),
                bytes(slow.bytes),
                duration(slow.ms),
                rate(slow.bytes_per_second as f64)
            )
        })
        .collect();
    let table = table("slowest", "Slowest objects", &[("Key", ""), ("Size", "n"), ("Time", "n"), ("Rate", "n")], &rows);
    format!("<section aria-labelledby=\"slowest-title\"><h2 id=\"slowest-title\">Slowest objects</h2>{table}</section>")
}

pub(super) fn failures(summary: &RunSummary) -> String {
    let failures = &summary.failures;
    let told: u64 = failures.by_name.values().sum();
    if told == 0 {
        return String::new();
    }
    let names: String = failures
        .by_name
        .iter()
        .map(|(name, count)| format!("<li><b>{}</b> {}</li>", number(*count), text(name)))
        .collect();
    let rows: String = failures
        .first
        .iter()
        .map(|failed| {
            format!(
                "<tr><td class=\"long\">{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"long\">{}</td></tr>",
                key(&failed.key),
                failed.size.map_or_else(|| "–".into(), bytes),
                text(&failed.name),
                text(&failed.message)
            )
        })
        .collect();
    let shown = failures.first.len() as u64;
    let rest = match told.saturating_sub(shown) {
        0 => format!("All of them are in {} too.", csv(summary)),
        rest => format!("The first {shown} by key; the other {} are in {}.", number(rest), csv(summary)),
    };
    let table =
        table("failures", "Failed objects", &[("Key", ""), ("Size", "n"), ("Error", ""), ("Message", "")], &rows);
    format!(
        "<section aria-labelledby=\"failures-title\"><div class=\"top\"><h2 id=\"failures-title\">Failed objects</h2><span class=\"total\">{}</span></div>\
         <ul class=\"names\">{names}</ul>{table}<p class=\"adds\">{rest}</p></section>",
        number(told)
    )
}

fn csv(summary: &RunSummary) -> String {
    let found = summary.report.iter().find(|name| name.ends_with("/failures.csv"));
    found.map_or_else(|| "the CSV".into(), |name| key(name.rsplit_once('/').map_or(name, |(_, name)| name)))
}

pub(super) fn skipped(summary: &RunSummary) -> String {
    let names: String = summary
        .skipped
        .iter()
        .map(|(name, count)| {
            let told = match name.as_str() {
                "sourceGone" => "the source object was gone",
                "superseded" => "a newer version of the source came",
                "exists" => "the destination holds an object, and the route never overwrites",
                other => other,
            };
            format!("<li><b>{}</b> {}</li>", number(*count), text(told))
        })
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "<section aria-labelledby=\"skipped-title\"><h2 id=\"skipped-title\">Skipped objects</h2><ul class=\"names\">{names}</ul></section>"
    )
}

/// Manifests that did not come to their end.
pub(super) fn unfinished(summary: &RunSummary) -> String {
    let unfinished = &summary.unfinished;
    if unfinished.manifests == 0 || summary.request.dry_run {
        return String::new();
    }
    let names: String = unfinished.first.iter().map(|name| format!("<li>{}</li>", key(name))).collect();
    let told = format!(
        "{} with {} that have no outcome yet.",
        counted(unfinished.manifests, "manifest"),
        counted(unfinished.objects, "object")
    );
    let more = if unfinished.manifests > UNFINISHED_KEPT as u64 { " The first of them:" } else { "" };
    format!(
        "<section aria-labelledby=\"unfinished-title\"><h2 id=\"unfinished-title\">Left to do</h2><p class=\"told\">{told}{more}</p>\
         <details><summary>Manifests</summary><ul class=\"notes\">{names}</ul></details></section>"
    )
}

pub(super) fn deletions(summary: &RunSummary) -> String {
    let Some(deleted) = &summary.deletions else { return String::new() };
    let Deleted { removed, removed_bytes, kept_source_has_it, kept_changed, already_gone, failed, .. } = deleted;
    let list = summary.report.iter().find(|name| name.ends_with("/deletions.csv"));
    let list =
        list.map(|name| format!(" Their keys are in {}.", key(name.rsplit_once('/').map_or(name, |(_, name)| name))));
    let planned = format!(
        "<p class=\"told\">{} of the destination that the source lacks, {} to be removed.{}</p>",
        counted(summary.counts.extra, "object"),
        number(summary.counts.deletions),
        list.unwrap_or_default()
    );
    let rows = [
        (format!("removed ({})", bytes(*removed_bytes)), *removed),
        ("kept: the source holds the key after all".to_owned(), *kept_source_has_it),
        ("kept: changed since it was listed".to_owned(), *kept_changed),
        ("gone before".to_owned(), *already_gone),
        ("failed".to_owned(), *failed),
    ];
    let rows: String = rows
        .iter()
        .map(|(name, count)| {
            let class = if *count == 0 { " class=\"zero\"" } else { "" };
            format!("<tr{class}><th scope=\"row\">{name}</th><td class=\"n\">{}</td></tr>", number(*count))
        })
        .collect();
    let carried_out = if summary.request.dry_run {
        String::new()
    } else {
        table("deletions", "Deletions", &[("Outcome", ""), ("Objects", "n")], &rows)
    };
    let failures: String = deleted
        .failures
        .iter()
        .map(|failure| {
            format!(
                "<tr><td class=\"long\">{}</td><td class=\"long\">{}</td></tr>",
                key(&failure.key),
                text(&failure.reason)
            )
        })
        .collect();
    let failures = if failures.is_empty() {
        String::new()
    } else {
        format!(
            "<h3>The first that failed</h3>{}",
            table("undeleted", "Failed deletions", &[("Key", ""), ("Reason", "")], &failures)
        )
    };
    format!(
        "<section aria-labelledby=\"deletions-title\"><h2 id=\"deletions-title\">Deletions</h2>{planned}{carried_out}{failures}</section>"
    )
}

/// Uploads that the ledger does not know, and what was not looked at.
pub(super) fn uploads(summary: &RunSummary) -> String {
    let OpenUploads { open, orphans, oldest_ms, unseen } = &summary.uploads;
    if *orphans == 0 && unseen.is_empty() {
        return String::new();
    }
    let mut told = String::new();
    if let Some(oldest_ms) = oldest_ms {
        let list = summary.report.iter().find(|name| name.ends_with("/uploads.csv"));
        let list = list.and_then(|name| name.rsplit_once('/'));
        let list = list.map(|(_, name)| format!(" They are in {}.", key(name))).unwrap_or_default();
        told = format!(
            "<p class=\"told\">{} at the destination that no record of the ledger knows, the oldest of {}, of {} that \
             stood open before the run.{list} Their parts cost storage until they are aborted: by hand, by \
             <code>longhaul uploads</code>, or by a lifecycle rule.</p>",
            counted(*orphans, "upload"),
            time(*oldest_ms),
            number(*open)
        );
    }
    let unseen: String = unseen.iter().map(|line| format!("<li>{}</li>", text(line))).collect();
    let unseen = if unseen.is_empty() { unseen } else { format!("<ul class=\"notes\" id=\"unseen\">{unseen}</ul>") };
    format!(
        "<section aria-labelledby=\"uploads-title\"><h2 id=\"uploads-title\">Unfinished uploads</h2>{told}{unseen}</section>"
    )
}

/// What preflight found besides that all is well, and the notes.
pub(super) fn findings(summary: &RunSummary) -> String {
    let mut rows = String::new();
    for route in &summary.checks {
        for check in route.checks.iter().filter(|check| check.verdict != Verdict::Ok) {
            let (class, verdict) = match check.verdict {
                Verdict::Failed => ("bad", "failed"),
                Verdict::Warning => ("warn", "warning"),
                Verdict::Unknown | Verdict::Ok => ("info", "not known"),
            };
            let side = match check.side {
                CheckedSide::Source => "source",
                CheckedSide::Destination => "destination",
                CheckedSide::Both => "both",
            };
            rows.push_str(&format!(
                "<tr><td><span class=\"tag {class}\">{verdict}</span></td><td>{}</td><td>{side}</td><td>{}</td><td class=\"long\">{}</td></tr>",
                text(&route.route),
                text(&check.name),
                text(&check.told)
            ));
        }
    }
    let notes: String = summary.notes.iter().map(|note| format!("<li>{}</li>", text(note))).collect();
    if rows.is_empty() && notes.is_empty() {
        return String::new();
    }
    let head = [("", ""), ("Route", ""), ("Side", ""), ("Check", ""), ("What was seen", "")];
    let checks =
        if rows.is_empty() { String::new() } else { table("checks", "Findings of the preflight", &head, &rows) };
    let notes =
        if notes.is_empty() { String::new() } else { format!("<h3>Notes</h3><ul class=\"notes\">{notes}</ul>") };
    format!(
        "<section aria-labelledby=\"findings-title\"><h2 id=\"findings-title\">To know</h2>{checks}{notes}</section>"
    )
}

/// What the run did, in numbers, and what it was asked for.
pub(super) fn facts(summary: &RunSummary) -> String {
    let (counts, tally) = (&summary.counts, &summary.tally);
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut count = |name: &str, value: u64| {
        if value > 0 {
            facts.push((name.to_owned(), number(value)));
        }
    };
    count("Manifests", summary.manifests);
    count("Executions", summary.executions);
    count("Pages listed at the source", counts.source_pages);
    count("Pages listed at the destination", counts.destination_pages);
    count("HEADs to compare checksums", counts.heads);
    count("Ledger records read to compare", counts.ledger_reads);
    count("Objects in parts", counts.offered_large);
    count("Their parts", counts.parts);
    count("Copied by the store itself", tally.server_side);
    count("Parts found and not sent again", tally.parts_held);
    count("Repeats after a fault", tally.retries);
    count("Asked to slow down", tally.throttles);
    count("Lost connections", tally.resets);
    count("Stalls", tally.stalls);
    count("Errors of a server", tally.server_errors);
    count("Digests that differed", tally.mismatches);
    count("Migrated by executions that were repeated", summary.superseded.migrated);
    // Settings are told by the names that a request gives them.
    if let Ok(Value::Object(asked)) = serde_json::to_value(&summary.request) {
        facts.extend(asked.iter().map(|(name, value)| (spoken(name), plain(value))));
    }
    let facts: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>", text(name), text(value)))
        .collect();
    format!(
        "<section aria-labelledby=\"facts-title\"><h2 id=\"facts-title\">The run in numbers</h2><dl class=\"facts\" id=\"facts\">{facts}</dl></section>"
    )
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(value) => value.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(number_of) => number_of.as_u64().map_or_else(|| number_of.to_string(), number),
        Value::Null => "–".into(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let told: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}: {}", spoken(name), plain(value))).collect();
            told.join("; ")
        }
    }
}
