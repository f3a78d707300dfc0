//! The estimate beside what came of it. It is shown as it is written, whatever its fields.

use super::escape::text;
use super::tables::table;
use crate::backfill::summary::RunSummary;
use crate::backfill::summary::words::{bytes, number};
use serde_json::Value;

/// Most rows of the table.
const ROWS_MAX: usize = 80;

/// `sourcePages` as `Source pages`.
pub(super) fn spoken(name: &str) -> String {
    let mut words = String::new();
    for (index, character) in name.chars().enumerate() {
        match (index, character) {
            (0, first) => words.extend(first.to_uppercase()),
            (_, upper) if upper.is_uppercase() => {
                words.push(' ');
                words.extend(upper.to_lowercase());
            }
            (_, '_') => words.push(' '),
            (_, other) => words.push(other),
        }
    }
    words
}

pub(super) fn estimate(summary: &RunSummary) -> String {
    let Some(estimate) = &summary.estimate else { return String::new() };
    let mut rows = Vec::new();
    flatten(&mut rows, "", "", estimate);
    let rows: String = rows
        .iter()
        .take(ROWS_MAX)
        .map(|(name, field, value)| {
            let actual = actual(summary, field).unwrap_or_default();
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{actual}</td></tr>",
                text(name),
                text(value)
            )
        })
        .collect();
    let head = [("", ""), ("Estimate", "n"), ("Actual", "n")];
    let table = table("estimate", "Estimate and actual", &head, &rows);
    format!("<section aria-labelledby=\"estimate-title\"><h2 id=\"estimate-title\">Estimate</h2>{table}</section>")
}

/// Each number and text of a document, with the names that lead to it and the last of them.
fn flatten(rows: &mut Vec<(String, String, String)>, path: &str, field: &str, value: &Value) {
    if rows.len() >= ROWS_MAX {
        return;
    }
    let under =
        |name: &str| if path.is_empty() { spoken(name) } else { format!("{path}: {}", spoken(name).to_lowercase()) };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(rows, &under(name), name, value);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let name = if values.len() == 1 { path.to_owned() } else { format!("{path} {}", index + 1) };
                flatten(rows, &name, field, value);
            }
        }
        Value::Null => {}
        Value::Bool(value) => rows.push((path.to_owned(), field.to_owned(), if *value { "yes" } else { "no" }.into())),
        Value::String(value) => rows.push((path.to_owned(), field.to_owned(), value.clone())),
        Value::Number(value) => rows.push((path.to_owned(), field.to_owned(), told(field, value))),
    }
}

fn told(field: &str, value: &serde_json::Number) -> String {
    let lower = field.to_lowercase();
    match value.as_u64() {
        Some(whole) if lower.ends_with("bytes") => bytes(whole),
        Some(whole) => number(whole),
        None => value.as_f64().map_or_else(|| value.to_string(), |value| format!("{value:.2}")),
    }
}

/// What a field of the estimate came to, where the run counted it.
fn actual(summary: &RunSummary, field: &str) -> Option<String> {
    if summary.request.dry_run {
        return None;
    }
    let tally = &summary.tally;
    Some(match field {
        "objects" => number(tally.objects()),
        "bytes" => bytes(tally.bytes),
        "parts" => number(tally.parts),
        "manifests" => number(summary.manifests),
        "executions" => number(summary.executions),
        "sourcePages" => number(summary.counts.source_pages),
        "destinationPages" => number(summary.counts.destination_pages),
        "seconds" => number(summary.ended_ms.saturating_sub(summary.started_ms) / 1_000),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_spoken() {
        assert_eq!([spoken("sourcePages"), spoken("x"), spoken("gb_seconds")], ["Source pages", "X", "Gb seconds"]);
    }

    #[test]
    fn any_document_becomes_rows() {
        let mut rows = Vec::new();
        flatten(
            &mut rows,
            "",
            "",
            &json!({"bytes": 2048, "cost": {"usdTotal": 1.5, "lines": [{"a": 1}, {"a": 2}]}, "none": null}),
        );
        let rows: Vec<String> = rows.into_iter().map(|(name, _, value)| format!("{name} = {value}")).collect();
        let expected = ["Bytes = 2 KiB", "Cost: lines 1: a = 1", "Cost: lines 2: a = 2", "Cost: usd total = 1.50"];
        assert_eq!(rows, expected);
    }
}
