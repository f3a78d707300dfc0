//! How the counts add up, as two bars with their tables.

use super::plot::{Segment, bar};
use crate::backfill::summary::RunSummary;
use crate::backfill::summary::words::{bytes, counted, number, percent};

/// Both sums: what was listed, and what became of what was offered.
pub(super) fn balance(summary: &RunSummary) -> String {
    format!("<div class=\"pair\">{}{}</div>", listed(summary), offered(summary))
}

fn listed(summary: &RunSummary) -> String {
    let counts = &summary.counts;
    let segment = |class, name, count| Segment { class, name, count };
    let parts = [
        segment("offered", "offered for copying", counts.offered),
        segment("unchanged", "unchanged", counts.unchanged),
        segment("exists", "left as it is (never overwrite)", counts.exists),
        segment("excluded", "excluded by a filter", counts.excluded),
    ];
    sum("listed", "What was listed", counts.listed, counts.listed_bytes, &parts, "listed")
}

fn offered(summary: &RunSummary) -> String {
    let (counts, tally) = (&summary.counts, &summary.tally);
    let segment = |class, name, count| Segment { class, name, count };
    if summary.request.dry_run {
        let small = counts.offered.saturating_sub(counts.offered_large);
        let parts = [segment("migrated", "in one piece", small), segment("exists", "in parts", counts.offered_large)];
        return sum("offered", "What would be copied", counts.offered, counts.offered_bytes, &parts, "offered");
    }
    let parts = [
        segment("migrated", "migrated", tally.migrated),
        segment("unchanged", "unchanged on a second look", tally.unchanged),
        segment("skipped", "skipped", tally.skipped),
        segment("failed", "failed", tally.failed),
        segment("held", "left to do", summary.held),
        segment("missing", "without an outcome", summary.missing),
    ];
    sum("outcomes", "What became of the offered", counts.offered, counts.offered_bytes, &parts, "offered")
}

fn sum(id: &str, title: &str, whole: u64, volume: u64, parts: &[Segment<'_>], what: &str) -> String {
    let rows: String = parts
        .iter()
        .map(|part| {
            format!(
                "<tr{}><th scope=\"row\"><span class=\"swatch {}\"></span>{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                if part.count == 0 { " class=\"zero\"" } else { "" },
                part.class,
                part.name,
                number(part.count),
                percent(part.count, whole)
            )
        })
        .collect();
    let told: u64 = parts.iter().map(|part| part.count).sum();
    let terms: Vec<String> = parts.iter().filter(|part| part.count > 0).map(|part| number(part.count)).collect();
    let terms = if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") };
    let adds = if told == whole {
        format!("<p class=\"adds\">✓ {} {what} = {terms}</p>", number(whole))
    } else {
        let off = counted(told.abs_diff(whole), "object");
        format!("<p class=\"adds off\">✗ {} {what} ≠ {terms}: {off} apart</p>", number(whole))
    };
    format!(
        "<section aria-labelledby=\"{id}-title\"><div class=\"top\"><h2 id=\"{id}-title\">{title}</h2><span class=\"total\">{}, {}</span></div>{}\
         <table id=\"{id}\"><thead><tr><th scope=\"col\">Objects</th><th scope=\"col\" class=\"n\">Count</th><th scope=\"col\" class=\"n\">Share</th></tr></thead>\
         <tbody>{rows}</tbody></table>{adds}</section>",
        number(whole),
        bytes(volume),
        bar(title, parts)
    )
}
