//! Times as people write them.

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 of a date, a time with its zone, or an age behind now such as `90m`, `36h` or `7d`.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    parse_time_at(text.trim(), i64::try_from(now).unwrap_or(i64::MAX))
}

fn parse_time_at(text: &str, now: i64) -> Result<i64, String> {
    let wrong =
        || format!("\"{text}\" is no time: write 2026-11-22, 2026-11-22T08:30:00Z, or an age such as 36h or 7d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let seconds = match text.get(digits..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => {
            let whole = if text.len() == "2026-11-22".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
            return DateTime::from_str(&whole, DateTimeFormat::DateTimeWithOffset)
                .map(|time| time.secs())
                .map_err(|_| wrong());
        }
    };
    let age: i64 = text[..digits].parse().map_err(|_| wrong())?;
    age.checked_mul(seconds).and_then(|age| now.checked_sub(age)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_ages() {
        let at = |text: &str| parse_time_at(text, 1_000_000);
        assert_eq!(at("1970-01-02"), Ok(86_400));
        assert_eq!(at("1970-01-02T01:00:00Z"), Ok(90_000));
        assert_eq!(at("1970-01-02T01:00:00+01:00"), Ok(86_400));
        assert_eq!((at("90m"), at("1d"), at("10s")), (Ok(994_600), Ok(913_600), Ok(999_990)));
        for bad in ["", "d", "1w", "yesterday", "2026-13-01", "99999999999999999999d", "1.5h"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
