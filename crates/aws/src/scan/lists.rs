//! A list of keys instead of a listing: nothing is compared, `migrate` looks at each.

use super::keys::{KeyEntry, KeyRow, KeysReader};
use super::writer::{Stop, Writer};
use super::{NOTE_TIME, Scan, ScanEnd, Watch};
use crate::error::StepError;
use longhaul_core::backfill::manifest::Place;
use longhaul_core::backfill::request::KeysFrom;
use tokio::time::Instant;

/// Entries between two looks at the clock.
const LOOK_EVERY: u64 = 1_000;

/// Offers every entry behind `from` that passes the filters.
pub(super) async fn offer_all(
    scan: &Scan<'_>,
    writer: &mut Writer<'_>,
    keys: &KeysFrom,
    from: &Place,
) -> Result<ScanEnd, Stop> {
    let route = scan.job.route;
    let mut watch = Watch::new();
    let mut place = from.clone();
    let mut reader = KeysReader::open(scan.clients, route, keys, from.clone()).await?;
    let mut noted = Instant::now();
    // Entries since the last look; an invocation always does some work.
    let (mut entries, mut begun) = (LOOK_EVERY, false);
    loop {
        if entries >= LOOK_EVERY {
            if let Some(end) = watch.end(scan, writer, begun).await? {
                writer.save(place).await?;
                return Ok(end);
            }
            (entries, begun) = (0, true);
            if noted.elapsed() >= NOTE_TIME && !writer.is_pending() {
                writer.save(place.clone()).await?;
                noted = Instant::now();
            }
        }
        let row = match reader.next().await {
            Ok(row) => row,
            Err(error) => {
                if let Err(Stop::Failed(unsaved)) = writer.save(place).await {
                    tracing::warn!(%unsaved, "read and not saved");
                }
                return Err(error.into());
            }
        };
        let KeyEntry { object, modified, storage_class, place: behind } = match row {
            None => break,
            Some(KeyRow::Entry(entry)) => *entry,
            Some(KeyRow::Passed(behind)) => {
                (place, entries) = (behind, LOOK_EVERY);
                continue;
            }
            Some(KeyRow::Skipped) => {
                if watch.is_held(writer).await? {
                    return Ok(ScanEnd::Held);
                }
                // The next invocation would come no further.
                if Instant::now() >= scan.context.last_moment() {
                    let told = "is too long to be read again up to where the scan stopped: split it";
                    return Err(StepError::rejected(format!("s3://{}/{} {told}", keys.bucket, keys.key)).into());
                }
                continue;
            }
        };
        place = behind;
        entries += 1;
        writer.since.listed += 1;
        writer.since.listed_bytes += object.size.unwrap_or(0);
        // What the route does not take is offered, so that it fails with a reason.
        let passes = object
            .key
            .strip_prefix(&route.source.prefix)
            .is_none_or(|rest| scan.matcher.passes(rest, object.size, modified));
        if passes {
            let archived = storage_class.is_some_and(|class| super::page::is_archive(&class));
            writer.offer(object, archived, place.clone()).await?;
        } else {
            writer.since.excluded += 1;
        }
    }
    writer.finish(place).await?;
    Ok(ScanEnd::Done)
}
