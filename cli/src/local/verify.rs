//! `longhaul verify`: an audit of both sides.

use super::{looking, route};
use crate::args::local::VerifyArgs;
use crate::output::{print, tell};
use crate::progress::{Shown, Snapshot, show};
use crate::sizes::{bytes_text, count_text};
use longhaul_aws::audit::{Audited, Depth, Finding, What, audit};
use longhaul_core::backfill::filters::Matcher;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Findings that are shown at the terminal.
const SHOWN: usize = 20;

/// Compares both sides; 0 if every object of the source is proven to be at the destination.
pub async fn verify(args: &VerifyArgs) -> Result<u8, String> {
    let route = route(&args.ends)?;
    let clients = looking(&args.ends, &route).await?;
    let matcher = Matcher::new(&args.filters.filters()?)?;
    let named = |error: std::io::Error, file: &std::path::Path| format!("--findings {}: {error}", file.display());
    let mut lines = match &args.findings {
        Some(file) => Some(BufWriter::new(File::create(file).map_err(|error| named(error, file))?)),
        None => None,
    };
    let depth = Depth { reads: args.deep, at_once: usize::from(args.concurrency) };
    let begun = Instant::now();
    let seen = Arc::new(Mutex::new(Audited::default()));
    let shown = seen.clone();
    let look = move || snapshot(&shown.lock().unwrap_or_else(PoisonError::into_inner), begun);
    let display = show(look, Shown::choose(args.quiet, false), tell);
    let mut first = Vec::new();
    let mut unwritten = None;
    let audited = audit(&clients, &route, &matcher, depth, |audited, finding| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = *audited;
        let Some(finding) = finding else { return };
        if let Some(lines) = &mut lines {
            let line = serde_json::to_string(&finding).unwrap_or_default();
            unwritten = unwritten.take().or(writeln!(lines, "{line}").err());
        }
        if first.len() < SHOWN && finding.finding != What::Extra {
            first.push(finding);
        }
    })
    .await;
    drop(display);
    let audited = audited.map_err(|error| error.message)?;
    if let (Some(mut lines), Some(file)) = (lines, &args.findings) {
        unwritten = unwritten.or(lines.flush().err());
        if let Some(error) = unwritten {
            return Err(named(error, file));
        }
    }
    if args.json {
        let document = serde_json::json!({"proven": audited.all_proven(), "counts": audited, "first": first});
        print(&document.to_string());
    } else {
        print(&text(&args.ends.source.to_string(), &args.ends.destination.to_string(), &audited, &first));
    }
    Ok(u8::from(!audited.all_proven()))
}

fn snapshot(audited: &Audited, begun: Instant) -> Snapshot {
    let ended = audited.excluded + audited.by_etag + audited.by_checksum + audited.by_reading;
    let wrong = audited.missing + audited.different + audited.unreadable;
    let mut snapshot = Snapshot {
        elapsed: begun.elapsed(),
        listed_objects: audited.listed,
        listed_bytes: audited.bytes,
        ended_objects: ended + wrong + audited.unproven,
        ..Snapshot::default()
    };
    snapshot.counted.failed = wrong;
    snapshot
}

fn text(source: &str, destination: &str, audited: &Audited, first: &[Finding]) -> String {
    let rows = [
        ("listed", format!("{} ({})", count_text(audited.listed), bytes_text(audited.bytes))),
        ("excluded", count_text(audited.excluded)),
        ("by ETag", count_text(audited.by_etag)),
        ("by checksum", count_text(audited.by_checksum)),
        ("by reading", count_text(audited.by_reading)),
        ("unproven", count_text(audited.unproven)),
        ("different", count_text(audited.different)),
        ("missing", count_text(audited.missing)),
        ("unreadable", count_text(audited.unreadable)),
        ("extra", format!("{} at the destination only", count_text(audited.extra))),
    ];
    let verdict =
        if audited.all_proven() { "every object is there, and proven so" } else { "NOT every object is proven" };
    let mut text = format!("{source} -> {destination}: {verdict}");
    for (name, value) in rows {
        text += &format!("\n  {name:<12} {value}");
    }
    for Finding { key, finding, told, .. } in first {
        let finding = format!("{finding:?}").to_lowercase();
        text += &format!("\n{finding} {key:?}{}{told}", if told.is_empty() { "" } else { ": " });
    }
    text
}
