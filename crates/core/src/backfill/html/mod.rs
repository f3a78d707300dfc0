//! The report of a run as one page: no script, nothing from elsewhere, light or dark as the reader has it.

mod balance;
mod escape;
mod estimate;
mod plot;
mod tables;

use super::summary::words::{bytes, duration, number, rate, time};
use super::summary::{RunStatus, RunSummary};
use escape::{key, text};

const STYLE: &str = include_str!("page.css");

/// The page of a summary. Whatever its keys and messages hold is shown and never obeyed: it is escaped, and the page
/// allows neither scripts nor anything from elsewhere.
pub fn page(summary: &RunSummary) -> String {
    let name = text(&summary.run);
    let verdict = summary.status.words();
    let moved = format!(
        "<section aria-labelledby=\"throughput-title\"><h2 id=\"throughput-title\">Throughput</h2>{}{}</section>",
        plot::throughput(&summary.throughput),
        tables::buckets(&summary.throughput)
    );
    let sizes = format!(
        "<section aria-labelledby=\"sizes-title\"><h2 id=\"sizes-title\">Sizes of the offered objects</h2>{}</section>",
        plot::sizes(&summary.counts.sizes)
    );
    let body = [
        head(summary),
        tiles(summary),
        balance::balance(summary),
        tables::failures(summary),
        tables::unfinished(summary),
        tables::findings(summary),
        if summary.request.dry_run { estimate::estimate(summary) } else { moved },
        sizes,
        tables::slowest(summary),
        tables::skipped(summary),
        tables::deletions(summary),
        tables::uploads(summary),
        if summary.request.dry_run { String::new() } else { estimate::estimate(summary) },
        tables::facts(summary),
        foot(summary),
    ]
    .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{name}: {verdict}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn head(summary: &RunSummary) -> String {
    let (class, mark) = match summary.status {
        RunStatus::Succeeded => ("good", "✓ Succeeded"),
        RunStatus::Failed => ("bad", "✗ Failed"),
        RunStatus::Paused => ("warn", "Paused"),
        RunStatus::Stopped => ("warn", "Stopped"),
        RunStatus::DryRun => ("info", "Dry run"),
    };
    let routes: String = summary
        .routes
        .iter()
        .map(|route| {
            let name = if route.name.is_empty() { String::new() } else { format!("{}: ", text(&route.name)) };
            format!("<li>{name}{} → {}</li>", key(&route.source), key(&route.destination))
        })
        .collect();
    let took = summary.ended_ms.saturating_sub(summary.started_ms);
    let attempt = if summary.attempt > 1 { format!(", attempt {}", summary.attempt) } else { String::new() };
    format!(
        "<header><p class=\"kind\">Longhaul backfill</p><h1>{}</h1>\
         <div class=\"verdict {class}\" id=\"verdict\"><strong>{mark}</strong><p>{}</p><p>{}</p></div>\
         <p class=\"meta\">{} to {} ({}){attempt}</p><ul class=\"routes\">{routes}</ul></header>",
        text(&summary.run),
        text(&summary.cause),
        text(&summary.advice),
        time(summary.started_ms),
        time(summary.ended_ms),
        duration(took)
    )
}

fn tiles(summary: &RunSummary) -> String {
    let (counts, tally) = (&summary.counts, &summary.tally);
    let tile = |name: &str, figure: String, more: String, alarm: bool| {
        let alarm = if alarm { " alarm" } else { "" };
        format!(
            "<div class=\"tile{alarm}\"><dt>{name}</dt><dd><div class=\"figure\">{figure}</div><div class=\"more\">{more}</div></dd></div>"
        )
    };
    let mut tiles = vec![tile("Listed", number(counts.listed), bytes(counts.listed_bytes), false)];
    let same = counts.unchanged + tally.unchanged;
    let unchanged = tile("Unchanged", number(same), "nothing to copy".into(), false);
    let excluded = tile("Excluded", number(counts.excluded), "by a filter".into(), false);
    if summary.request.dry_run {
        tiles.push(tile("To copy", number(counts.offered), bytes(counts.offered_bytes), false));
        if let Some((cost, time)) = estimate::brief(summary) {
            tiles.push(tile("Estimated cost", cost, format!("{time}, see below"), false));
        }
        tiles.extend([unchanged, excluded]);
        if summary.request.delete.is_some() {
            tiles.push(tile("To remove", number(counts.deletions), "at the destination".into(), false));
        }
    } else {
        tiles.push(tile("Migrated", number(tally.migrated), bytes(tally.bytes), false));
        tiles.push(unchanged);
        let left_out = counts.excluded + counts.exists + tally.skipped;
        tiles.push(tile("Left out", number(left_out), "excluded, skipped, kept".into(), false));
        let wrong = tally.failed + summary.missing;
        let more = match summary.missing {
            0 => "with a reason each".to_owned(),
            missing => format!("{} without an outcome", number(missing)),
        };
        tiles.push(tile("Failed", number(wrong), if wrong == 0 { "none".into() } else { more }, wrong > 0));
        if summary.held > 0 {
            tiles.push(tile("Left to do", number(summary.held), "nothing of it was lost".into(), false));
        } else {
            let moving = summary.throughput.bytes.len() as u64 * summary.throughput.bucket_ms;
            let average = summary.throughput.total() as f64 * 1_000.0 / moving.max(1) as f64;
            tiles.push(tile("Average rate", rate(average), format!("over {}", duration(moving)), false));
        }
    }
    format!("<dl class=\"tiles\" id=\"tiles\">{}</dl>", tiles.concat())
}

fn foot(summary: &RunSummary) -> String {
    let list: String = summary
        .report
        .iter()
        .map(|name| format!("<li>{}</li>", key(&format!("s3://{}/{name}", summary.bucket))))
        .collect();
    format!("<footer>This report:<ul id=\"objects\">{list}</ul></footer>")
}

#[cfg(test)]
mod tests;
