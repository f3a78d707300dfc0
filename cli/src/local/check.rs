//! `longhaul check`: whether both sides can be used.

use super::{looking, route};
use crate::args::ends::Ends;
use crate::args::local::CheckArgs;
use crate::output::print;
use longhaul_aws::context::Clock;
use longhaul_aws::preflight::preflight;
use longhaul_aws::uploads;
use longhaul_core::backfill::check::{Check, CheckedSide, Verdict};

/// Tries both sides and says what was found; 1 if a side cannot be used.
pub async fn check(args: &CheckArgs) -> Result<u8, String> {
    let checks = checks(&args.ends, args.delete).await?;
    print(&if args.json { serde_json::to_string(&checks).unwrap_or_default() } else { text(&checks) });
    Ok(u8::from(checks.iter().any(|check| check.verdict == Verdict::Failed)))
}

/// What a look at both sides found.
pub async fn checks(ends: &Ends, deletes: bool) -> Result<Vec<Check>, String> {
    let route = route(ends)?;
    let clients = looking(ends, &route).await?;
    let mut checks = preflight(&clients, &route, deletes).await;
    // Of a side that cannot be used there is one line.
    if !checks.iter().any(|check| check.side == CheckedSide::Destination && check.verdict == Verdict::Failed) {
        checks.push(uploads::check(&clients, &route, Clock::system().now_ms()).await);
    }
    Ok(checks)
}

/// The checks as lines.
pub fn text(checks: &[Check]) -> String {
    let lines = checks.iter().map(|check| {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
            Verdict::Unknown => "unknown",
        };
        let side = match check.side {
            CheckedSide::Source => "source",
            CheckedSide::Destination => "destination",
            CheckedSide::Both => "both",
        };
        format!("{verdict:<8} {side:<12} {:<20} {}", check.name, check.told.replace(['\n', '\r'], " "))
    });
    lines.collect::<Vec<_>>().join("\n")
}
