//! What this process has cost.

/// The kernel's unit in `/proc`, the same on every Linux: `sysconf(_SC_CLK_TCK)`.
const TICKS: f64 = 100.0;

/// CPU seconds of this process, of user and system; zeros where the kernel does not say.
pub(crate) fn seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    parse(&stat).unwrap_or_default()
}

/// The 14th and 15th field; the second is a name in parentheses that may hold anything.
fn parse(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || Some(fields.next()?.parse::<f64>().ok()? / TICKS);
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b 9) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        assert_eq!(parse(stat), Some((2.5, 0.5)));
        assert_eq!(parse(""), None);
    }
}
