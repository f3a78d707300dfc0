//! The uploads that a run finds open, and that the ledger does not know (SEMANTICS.md, rule 19).

use super::written;
use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::uploads::{Found, Uploads};
use longhaul_core::backfill::csv::{Sheet, Table, upload_line};
use longhaul_core::backfill::run::Run;
use longhaul_core::config::Side;
use longhaul_core::uploads::{OpenUploads, destinations};
use std::time::Duration;
use tokio::time::timeout;

/// Time kept for the rest of the report.
const KEPT: Duration = Duration::from_secs(15);
/// Longest time for one page with its records; a destination that is silent costs no more.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most pages of one run: a hundred thousand uploads.
const PAGES_MAX: u32 = 100;

/// Looks at the destinations of a run and writes a table of the orphans begun before it, where there are any. What
/// cannot be looked at is said, and fails nothing. The table is the last of the report's: `None` where it is empty.
pub(crate) async fn look(
    clients: &Clients,
    context: &Context,
    run: &Run,
) -> Result<(OpenUploads, Option<Sheet>), StepError> {
    let mut found = OpenUploads::default();
    let mut sheet = Sheet::new(Table::Uploads);
    let mut pages = 0;
    for (index, side) in destinations(&run.routes).into_iter().enumerate() {
        // The first one is looked at however late it is.
        if index > 0 && context.time_left() < KEPT {
            found.unseen.push(format!("s3://{}/{}: not looked for: no time was left", side.bucket, side.prefix));
            continue;
        }
        let told = look_at(clients, context, run, side, (&mut found, &mut sheet), &mut pages).await?;
        if let Some(told) = told {
            tracing::warn!(run = run.name, bucket = side.bucket, told, "uploads not looked for");
            found.unseen.push(format!("s3://{}/{}: {told}", side.bucket, side.prefix));
        }
    }
    if found.orphans > 0 {
        return Ok((found, Some(sheet)));
    }
    // An earlier attempt may have found some.
    let key = Table::Uploads.key(&run.name, 1);
    if clients.work.find(&key, 1).await?.is_some() {
        written::sheets(clients, &run.name, &[sheet]).await?;
    }
    Ok((found, None))
}

/// Why the look did not come to its end, where it did not.
async fn look_at(
    clients: &Clients,
    context: &Context,
    run: &Run,
    side: &Side,
    (found, sheet): (&mut OpenUploads, &mut Sheet),
    pages: &mut u32,
) -> Result<Option<String>, StepError> {
    let silent = || format!("not looked for: no answer in {} s", PAGE_TIMEOUT.as_secs());
    let mut uploads = match timeout(PAGE_TIMEOUT, Uploads::of(clients, side, run.started_ms)).await {
        Ok(Ok(uploads)) => uploads,
        Ok(Err(error)) => return Ok(Some(format!("not looked for: {}", error.message))),
        Err(_) => return Ok(Some(silent())),
    };
    loop {
        let page = match timeout(PAGE_TIMEOUT, uploads.next(&[&*clients.ledger])).await {
            Ok(Ok(Some(page))) => page,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(error)) => return Ok(Some(format!("not looked for: {}", error.message))),
            Err(_) => return Ok(Some(silent())),
        };
        for Found { upload, is_orphan, .. } in page {
            found.count(&upload, is_orphan);
            if is_orphan && let Some((part, text)) = sheet.push(&upload_line(&upload, &side.bucket)) {
                written::sheet(clients, &run.name, Table::Uploads, part, text).await?;
            }
        }
        *pages += 1;
        if !uploads.has_ended() && (*pages >= PAGES_MAX || context.time_left() < KEPT) {
            return Ok(Some("there are more uploads than were looked at".into()));
        }
    }
}
