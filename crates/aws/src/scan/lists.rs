//! A list of keys instead of a listing: nothing is compared, `migrate` looks at each.

use super::keys::{KeyEntry, KeysReader};
use super::writer::{Stop, Writer};
use super::{Scan, ScanEnd, Watch};
use longhaul_core::backfill::manifest::Place;
use longhaul_core::backfill::request::KeysFrom;

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
    let mut entries = 0;
    loop {
        if entries % LOOK_EVERY == 0
            && let Some(end) = watch.end(scan, writer).await?
        {
            writer.save(place).await?;
            return Ok(end);
        }
        entries += 1;
        let entry = match reader.next().await {
            Ok(entry) => entry,
            Err(error) => {
                if let Err(Stop::Failed(unsaved)) = writer.save(place).await {
                    tracing::warn!(%unsaved, "read and not saved");
                }
                return Err(error.into());
            }
        };
        let Some(KeyEntry { object, modified, storage_class, place: behind }) = entry else { break };
        place = behind;
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
