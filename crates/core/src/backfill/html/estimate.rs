//! The estimate beside what came of it. It is shown as it is written, whatever its fields.

use super::escape::text;
use super::tables::table;
use crate::backfill::summary::RunSummary;
use crate::backfill::summary::words::{bytes, duration, number, rate};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most rows of a table.
const ROWS_MAX: usize = 80;
/// Columns that come first, in their order; others follow by name.
const FIRST: [&str; 5] = ["name", "told", "amount", "unit", "dollars"];

/// Plain fields that come first, in their order.
const LEADING: [&str; 7] = ["objects", "bytes", "seconds", "rate", "total", "totalWithoutTransfer", "currency"];

/// `sourcePages` as `Source pages`.
pub(super) fn spoken(name: &str) -> String {
    match name {
        "gbSeconds" => return "GB-seconds".into(),
        "kmsRequests" => return "KMS requests".into(),
        "seconds" => return "Time".into(),
        "lines" => return "Bill".into(),
        "told" => return "What was found".into(),
        _ => {}
    }
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

/// Plain fields beside what came of them, fields of numbers as one table, and each list as a table of its own.
pub(super) fn estimate(summary: &RunSummary) -> String {
    let Some(Value::Object(fields)) = &summary.estimate else { return String::new() };
    let mut tables = plain(summary, fields) + &matrix(fields);
    for (name, value) in fields {
        if let Value::Array(items) = value {
            tables.push_str(&list(name, items));
        }
    }
    format!("<section aria-labelledby=\"estimate-title\"><h2 id=\"estimate-title\">Estimate</h2>{tables}</section>")
}

/// What it costs, and how long it takes, where the estimate says so.
pub(super) fn brief(summary: &RunSummary) -> Option<(String, String)> {
    let estimate = summary.estimate.as_ref()?;
    let currency = estimate.get("currency")?.as_str()?;
    let cost = format!("{} {currency}", told("total", estimate.get("total")?));
    Some((text(&cost), text(&told("seconds", estimate.get("seconds")?))))
}

fn plain(summary: &RunSummary, fields: &Map<String, Value>) -> String {
    let moved = !summary.request.dry_run;
    let mut rows = String::new();
    let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| LEADING.iter().position(|leading| leading == name).unwrap_or(LEADING.len()));
    for (name, value) in fields.into_iter().take(ROWS_MAX) {
        if matches!(value, Value::Object(_) | Value::Array(_) | Value::Null) {
            continue;
        }
        let actual = match actual(summary, name).filter(|_| moved) {
            Some(actual) => format!("<td class=\"n\">{actual}</td>"),
            None if moved => "<td></td>".into(),
            None => String::new(),
        };
        let (name, value) = (text(&spoken(name)), text(&told(name, value)));
        rows.push_str(&format!("<tr><th scope=\"row\">{name}</th><td class=\"n\">{value}</td>{actual}</tr>"));
    }
    let head = [("", ""), ("Estimate", "n"), ("Actual", "n")];
    table("estimate", "Estimate and actual", &head[..if moved { 3 } else { 2 }], &rows)
}

/// Fields that hold numbers by name: a column each, a row for each name.
fn matrix(fields: &Map<String, Value>) -> String {
    let columns: Vec<(&String, &Map<String, Value>)> = fields
        .iter()
        .filter_map(|(name, value)| value.as_object().map(|numbers| (name, numbers)))
        .filter(|(_, numbers)| numbers.values().all(Value::is_number) && !numbers.is_empty())
        .collect();
    if columns.is_empty() {
        return String::new();
    }
    let names: BTreeSet<&String> = columns.iter().flat_map(|(_, numbers)| numbers.keys()).collect();
    let row = |name: &&String| {
        let cell = |numbers: &Map<String, Value>| {
            let value = numbers.get(*name).map_or_else(|| "0".into(), |value| told("", value));
            format!("<td class=\"n\">{}</td>", text(&value))
        };
        let cells: String = columns.iter().map(|(_, numbers)| cell(numbers)).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", text(name))
    };
    let rows: String = names.iter().take(ROWS_MAX).map(row).collect();
    let heads: Vec<String> = columns.iter().map(|(name, _)| text(&spoken(name))).collect();
    let mut head = vec![("Requests", "")];
    head.extend(heads.iter().map(|name| (name.as_str(), "n")));
    format!("<h3>Requests</h3>{}", table("estimate-requests", "Estimated requests", &head, &rows))
}

fn list(name: &str, items: &[Value]) -> String {
    let items: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    let Some(first) = items.first() else { return String::new() };
    let mut columns: Vec<&String> = first.keys().collect();
    let place = |column: &str| FIRST.iter().position(|first| *first == column).unwrap_or(FIRST.len());
    columns.sort_by_key(|column| place(column));
    let is_number = |column: &String| first.get(column).is_some_and(Value::is_number);
    let cell = |item: &Map<String, Value>, column: &String| {
        let value = item.get(column).map(|value| told(column, value)).unwrap_or_default();
        format!("<td{}>{}</td>", if is_number(column) { " class=\"n\"" } else { "" }, text(&value))
    };
    let row = |item: &&Map<String, Value>| {
        format!("<tr>{}</tr>", columns.iter().map(|column| cell(item, column)).collect::<String>())
    };
    let rows: String = items.iter().take(ROWS_MAX).map(row).collect();
    let heads: Vec<String> = columns.iter().map(|column| text(&spoken(column))).collect();
    let head: Vec<(&str, &str)> = heads
        .iter()
        .zip(&columns)
        .map(|(head, column)| (head.as_str(), if is_number(column) { "n" } else { "" }))
        .collect();
    let title = text(&spoken(name));
    format!("<h3>{title}</h3>{}", table(&format!("estimate-{title}").to_lowercase(), &title, &head, &rows))
}

fn told(field: &str, value: &Value) -> String {
    let lower = field.to_lowercase();
    match value {
        Value::String(value) => value.clone(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.into(),
        Value::Number(value) => match (value.as_u64(), value.as_f64()) {
            (Some(whole), _) if lower.ends_with("bytes") => bytes(whole),
            (Some(whole), _) if lower == "seconds" => duration(whole.saturating_mul(1_000)),
            (Some(whole), _) if lower == "rate" => rate(whole as f64),
            (Some(whole), _) => number(whole),
            (None, Some(value)) if value >= 1_000.0 || value == value.trunc() => number(value.round() as u64),
            (None, Some(value)) if value.abs() < 0.1 => format!("{value:.4}"),
            (None, Some(value)) => format!("{value:.2}"),
            (None, None) => value.to_string(),
        },
        // Deeper than anything that is estimated.
        other => other.to_string(),
    }
}

/// What a field of the estimate came to, where the run counted it.
fn actual(summary: &RunSummary, field: &str) -> Option<String> {
    let tally = &summary.tally;
    Some(match field {
        "objects" => number(tally.migrated + tally.unchanged),
        "bytes" => bytes(tally.bytes),
        "seconds" => duration(summary.ended_ms.saturating_sub(summary.started_ms) / 1_000 * 1_000),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_spoken() {
        assert_eq!([spoken("sourcePages"), spoken("x"), spoken("gbSeconds")], ["Source pages", "X", "GB-seconds"]);
    }

    #[test]
    fn values_are_told_by_their_fields() {
        let cases = [
            ("logBytes", json!(2_048), "2 KiB"),
            ("seconds", json!(90), "1 min 30 s"),
            ("rate", json!(1_048_576), "1 MiB/s"),
            ("dollars", json!(0.0123), "0.0123"),
            ("total", json!(12.345), "12.35"),
            ("gbSeconds", json!(12_345.6), "12,346"),
            ("exceeded", json!(true), "yes"),
        ];
        for (field, value, expected) in cases {
            assert_eq!(told(field, &value), expected);
        }
    }

    #[test]
    fn lists_and_numbers_become_tables() {
        let value = json!({"source": {"GetObject": 5}, "work": {"PutObject": 7}, "text": {"a": "b"}});
        let html = matrix(value.as_object().unwrap_or(&Map::new()));
        assert_eq!(html.matches("<tr>").count(), 3, "{html}");
        let html = list("lines", &[json!({"dollars": 1.5, "name": "<x>"}), json!({"name": "y"})]);
        assert!(
            html.contains("<th scope=\"col\" class=\"\">Name</th><th scope=\"col\" class=\"n\">Dollars</th>"),
            "{html}"
        );
        assert!(html.contains("<td>&lt;x&gt;</td><td class=\"n\">1.50</td>"), "{html}");
        assert_eq!(list("none", &[]), "");
    }
}
