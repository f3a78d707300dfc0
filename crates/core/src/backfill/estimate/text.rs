//! The estimate for a terminal.

use super::{Estimate, Requests};
use crate::backfill::summary::words::number;
use std::fmt::Write as _;

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if value < 1_024.0 {
            break;
        }
        value /= 1_024.0;
        unit = next;
    }
    if unit == "bytes" { format!("{count} bytes") } else { format!("{value:.1} {unit}") }
}

fn time(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

/// An amount with as many digits as matter.
fn amount(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() { number(value.round() as u64) } else { format!("{value:.3}") }
}

fn table(text: &mut String, title: &str, requests: &Requests) {
    if requests.total() == 0 {
        return;
    }
    let _ = writeln!(text, "{title:<34}{:>16}", number(requests.total()));
    for (operation, count) in requests.operations() {
        let _ = writeln!(text, "  {operation:<32}{:>16}", number(count));
    }
}

pub(super) fn text(estimate: &Estimate) -> String {
    let mut text = String::new();
    let bound = if estimate.lower_bound { "at least " } else { "" };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:<34}{:>16}", "objects to copy", number(estimate.objects));
    let _ = writeln!(text, "{:<34}{:>16}", "bytes", format!("{bound}{}", bytes(estimate.bytes)));
    let at = format!("{bound}{}", time(estimate.seconds));
    let _ = writeln!(text, "{:<34}{at:>16}   at {}/s", "time", bytes(estimate.rate));
    text.push('\n');
    table(&mut text, "requests at the source", &estimate.source);
    table(&mut text, "requests at the destination", &estimate.destination);
    table(&mut text, "requests to the work bucket", &estimate.work);
    let _ = writeln!(text, "\n{:<26}{:>16} {:<14}{:>14}", "cost", "", "", estimate.currency);
    for line in &estimate.lines {
        let _ = writeln!(text, "{:<26}{:>16} {:<14}{:>14.4}", line.name, amount(line.amount), line.unit, line.dollars);
    }
    let _ =
        writeln!(text, "{:<26}{:>16} {:<14}{:>14.4}", "without data transfer", "", "", estimate.total_without_transfer);
    let _ = writeln!(text, "{:<26}{:>16} {:<14}{:>14.4}", "total", "", bound.trim_end(), estimate.total);
    text.push_str("\nlimits\n");
    for finding in &estimate.limits {
        let mark = if finding.exceeded { "!" } else { " " };
        let _ = writeln!(text, "{mark} {:<18}{}", finding.name, finding.told);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!((number(0), number(999), number(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!(
            (bytes(1_023), bytes(1_536), bytes(5 << 40)),
            ("1023 bytes".into(), "1.5 KiB".into(), "5.0 TiB".into())
        );
        assert_eq!(
            (time(59), time(61), time(3_660), time(90_000)),
            ("59 s".into(), "1 min 1 s".into(), "1 h 1 min".into(), "1 d 1 h".into())
        );
    }
}
