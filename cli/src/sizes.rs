//! Sizes as people write and read them.

pub use longhaul_core::backfill::summary::words::number as count_text;

/// Reads `8MiB`, `16M`, `5GB` or a number of bytes. Units without `B`, and with `iB`, are powers of 1,024; `KB`, `MB`,
/// `GB` and `TB` are powers of 1,000.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("\"{text}\" is no size: write 8MiB, 16M or a number of bytes");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let (letter, base) = match unit.as_str() {
        "" | "b" => return Ok(number),
        _ => match unit.split_at_checked(1) {
            Some((letter, "" | "ib")) => (letter, 1024u64),
            Some((letter, "b")) => (letter, 1000),
            _ => return Err(wrong()),
        },
    };
    let power = "kmgt".find(letter).ok_or_else(wrong)?;
    let factor = base.pow(power as u32 + 1);
    number.checked_mul(factor).ok_or_else(|| format!("{text} is too large"))
}

/// `1.5 GiB`.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1h02m`, `3m07s` or `12s`.
pub fn time_text(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let good = [
            ("0", 0),
            ("8388608", 8 << 20),
            ("8MiB", 8 << 20),
            ("8mib", 8 << 20),
            ("16M", 16 << 20),
            ("16 M", 16 << 20),
            ("5GB", 5_000_000_000),
            ("1k", 1024),
            ("2TiB", 2 << 40),
            ("7b", 7),
        ];
        for (text, bytes) in good {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "8X", "8MiBs", "-1", "1.5G", "99999999999T", "ü", "8ü"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_shown_short() {
        assert_eq!(bytes_text(1023), "1023 B");
        assert_eq!(bytes_text(3 << 29), "1.5 GiB");
        assert_eq!(count_text(1_234_567), "1,234,567");
        assert_eq!(count_text(999), "999");
        assert_eq!([12, 187, 3725].map(time_text), ["12s", "3m07s", "1h02m"]);
    }
}
