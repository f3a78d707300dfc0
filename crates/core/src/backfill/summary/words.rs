//! Numbers as people read them.

/// `1,234,567`.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 object`, `2,000 objects`.
pub fn counted(value: u64, one: &str) -> String {
    format!("{} {one}{}", number(value), if value == 1 { "" } else { "s" })
}

/// `1.5 GiB`; three digits, the whole number where it is bytes.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    // What would be rounded to 1024 is 1 of the next.
    while scaled >= 1_023.5 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{value} B");
    }
    format!("{} {}", digits(scaled), UNITS[unit])
}

/// `12.5 MiB/s`.
pub fn rate(bytes_per_second: f64) -> String {
    // Below one the fraction is not worth a unit of its own.
    format!("{}/s", bytes(bytes_per_second.round() as u64))
}

/// Three digits, without zeros at the end of a fraction.
fn digits(value: f64) -> String {
    let text = match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => return format!("{value:.0}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `250 ms`, `12 s`, `3 min 5 s`, `2 h 30 min`, `4 d 1 h`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{} s", digits(ms as f64 / 1_000.0)),
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// `2026-11-22 17:05:09 UTC` of milliseconds since 1970.
pub fn time(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a number of days since 1970, by the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    const CYCLE: u64 = 146_097;
    // Years that begin in March, so that a leap day is a year's last. 1970 began 719,468 days into year 0.
    let days = days + 719_468;
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, of_month)
}

/// `12.3 %` of a whole; something is never `0 %`, and less than all never `100 %`.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".into();
    }
    let share = part as f64 * 100.0 / whole as f64;
    match share {
        0.0 => "0 %".into(),
        ..0.1 => "< 0.1 %".into(),
        _ if part < whole && share > 99.9 => "> 99.9 %".into(),
        _ => format!("{} %", digits(share)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([number(0), number(999), number(1_000), number(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "object"), counted(20_005, "object")], ["1 object", "20,005 objects"]);
        let sizes = [0, 1_023, 1_024, 1_536 << 20, 10_240, 1_048_575, 150 << 40, u64::MAX];
        let told = ["0 B", "1023 B", "1 KiB", "1.5 GiB", "10 KiB", "1 MiB", "150 TiB", "16 EiB"];
        assert_eq!(sizes.map(bytes), told);
        assert_eq!(rate(1.25 * 1_048_576.0), "1.25 MiB/s");
    }

    #[test]
    fn times_read_well() {
        let told = [0, 999, 1_500, 9_999, 59_000, 185_000, 9_000_000, 349_200_000];
        assert_eq!(
            told.map(duration),
            ["0 ms", "999 ms", "1.5 s", "10 s", "59 s", "3 min 5 s", "2 h 30 min", "4 d 1 h"]
        );
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(time(1_795_367_109_123), "2026-11-22 17:05:09 UTC");
        assert_eq!(time(4_107_542_400_000), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn shares_hide_nothing() {
        assert_eq!(percent(0, 5), "0 %");
        assert_eq!(percent(1, 100_000), "< 0.1 %");
        assert_eq!(percent(99_999, 100_000), "> 99.9 %");
        assert_eq!([percent(1, 3), percent(5, 5), percent(0, 0)], ["33.3 %", "100 %", "–"]);
    }
}
