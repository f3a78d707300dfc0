//! `longhaul uploads`: what stands open at the destination, and who knows of it.

use super::{looking, route};
use crate::args::local::UploadsArgs;
use crate::output::print;
use crate::sizes::count_text;
use aws_config::BehaviorVersion;
use longhaul_aws::context::Clock;
use longhaul_aws::ledger::{DynamoLedger, EmbeddedLedger, Ledger, default_path};
use longhaul_aws::uploads::{Found, Uploads, abort};
use longhaul_core::backfill::summary::words::time;
use longhaul_core::config::Route;
use longhaul_core::uploads::OpenUploads;

/// Uploads that are younger, in milliseconds, are not aborted unless asked for: a week.
const ABORT_AGE_MS: u64 = 7 * 24 * 3_600_000;

/// Lists the open uploads and, if told so, aborts the orphans; 1 if one could not be aborted.
pub async fn uploads(args: &UploadsArgs) -> Result<u8, String> {
    let route = route(&args.ends)?;
    let clients = looking(&args.ends, &route).await?;
    let ledgers = ledgers(args, &route).await?;
    let ledgers: Vec<&dyn Ledger> = ledgers.iter().map(|ledger| &**ledger).collect();
    let now_ms = Clock::system().now_ms();
    let before_ms = match args.older_than {
        Some(seconds) => u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000),
        None if args.abort => now_ms.saturating_sub(ABORT_AGE_MS),
        None => now_ms,
    };
    let side = &route.destination;
    let mut listed = Uploads::of(&clients, side, before_ms).await.map_err(|error| error.message)?;
    let (mut sum, mut aborted, mut failed) = (OpenUploads::default(), 0_u64, 0_u64);
    while let Some(page) = listed.next(&ledgers).await.map_err(|error| error.message)? {
        for mut found in page {
            sum.count(&found.upload, found.is_orphan);
            let mut aborts = args.abort && is_ours(&found, args);
            if aborts {
                // It was judged with its page, which may be a while ago.
                found = listed.again(found, &ledgers).await.map_err(|error| error.message)?;
                aborts = is_ours(&found, args);
            }
            let mut fate = fate(&found).to_owned();
            if aborts {
                match abort(&clients, side, &found.upload).await {
                    Ok(()) => {
                        aborted += 1;
                        fate = "aborted".into();
                    }
                    Err(error) => {
                        failed += 1;
                        fate = format!("not aborted: {}", error.message);
                    }
                }
            }
            print(&line(&found, &fate, args.json));
        }
    }
    if !args.json {
        let oldest = sum.oldest_ms.map(|oldest| format!(", the oldest of {}", time(oldest))).unwrap_or_default();
        let (open, orphans) = (count_text(sum.open), count_text(sum.orphans));
        let done = if args.abort { format!("; {} aborted", count_text(aborted)) } else { String::new() };
        print(&format!("{open} open, {orphans} of them in no ledger{oldest}{done}"));
    }
    Ok(u8::from(failed > 0))
}

/// Whatever may know an upload. The ledger of the two ends is asked where there is one, and not made.
async fn ledgers(args: &UploadsArgs, route: &Route) -> Result<Vec<Box<dyn Ledger>>, String> {
    let mut ledgers: Vec<Box<dyn Ledger>> = Vec::new();
    let own = default_path(&route.source, &route.destination);
    for path in args.ledger.iter().chain([&own].into_iter().filter(|own| own.exists())) {
        if !path.exists() {
            return Err(format!("there is no ledger {}", path.display()));
        }
        ledgers.push(Box::new(EmbeddedLedger::open(path).map_err(|error| error.to_string())?));
    }
    if let Some(table) = &args.table {
        let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
        ledgers.push(Box::new(DynamoLedger::connect(&shared, table.clone())));
    }
    Ok(ledgers)
}

/// True if it may be aborted: a ledger has a record of its object that names another upload, or none.
fn is_ours(found: &Found, args: &UploadsArgs) -> bool {
    found.is_orphan && (found.has_record || args.unknown)
}

fn fate(found: &Found) -> &'static str {
    match (found.is_orphan, found.has_record) {
        (false, _) => "known",
        (true, true) => "orphan",
        (true, false) => "unknown",
    }
}

fn line(found: &Found, fate: &str, json: bool) -> String {
    let Found { upload, is_orphan, .. } = found;
    if json {
        let mut document = serde_json::to_value(upload).unwrap_or_default();
        document["orphan"] = (*is_orphan).into();
        document["fate"] = fate.into();
        return document.to_string();
    }
    format!("{fate:<8} {} {:?} {}", time(upload.initiated_ms), upload.key, upload.upload_id)
}
