//! A look at both sides of a route before the first byte moves. It leaves nothing behind.

mod destination;
mod reach;
mod source;

use crate::clients::Clients;
use crate::error::StepError;
use longhaul_core::backfill::check::{Check, CheckedSide, Verdict};
use longhaul_core::backfill::run::lock_key;
use longhaul_core::config::{Route, Side, partition};
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time for one check. The SDK repeats a request without an answer within it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// Looks at both sides of `route`; with `deletes`, also at what removals need. A check that cannot be made says so.
///
/// A side that cannot be reached at all has one failed check and no more.
pub async fn preflight(clients: &Clients, route: &Route, deletes: bool) -> Vec<Check> {
    let probe = probe_key(route);
    let at_source = format!("{}{probe}", route.source.prefix);
    let at_destination = format!("{}{probe}", route.destination.prefix);
    let (source, destination) = tokio::join!(
        source::checks(clients, &route.source, &at_source, deletes),
        destination::checks(clients, route, &at_destination, deletes),
    );
    source.into_iter().chain(destination).chain([fit(route)]).collect()
}

/// The end of a key under which nothing stands; the same for each look at a route.
fn probe_key(route: &Route) -> String {
    let hash = lock_key(route);
    let hash: String = hash.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    format!(".longhaul-check-{hash}")
}

/// Where the two sides lie, and who moves the bytes.
fn fit(route: &Route) -> Check {
    let place = |side: &Side| match (&side.endpoint, &side.region) {
        (Some(endpoint), _) => format!("behind {endpoint}"),
        (None, Some(region)) => format!("in {region} (partition {})", partition(region)),
        (None, None) => "in the Region of its credentials".to_owned(),
    };
    let who = match route.copies_server_side() {
        true => "the store is asked to copy by itself",
        false => "the functions read and write every byte",
    };
    let told = format!("from {} to {}; {who}", place(&route.source), place(&route.destination));
    Check::new(CheckedSide::Both, "placement", Verdict::Ok, told)
}

/// Makes the checks of one side, each within [`CHECK_TIMEOUT`].
#[derive(Clone, Copy, Debug)]
struct Look {
    side: CheckedSide,
}

impl Look {
    fn ok(self, name: &str, told: impl Into<String>) -> Check {
        Check::new(self.side, name, Verdict::Ok, told)
    }

    fn warning(self, name: &str, told: impl Into<String>) -> Check {
        Check::new(self.side, name, Verdict::Warning, told)
    }

    fn failed(self, name: &str, told: impl Into<String>) -> Check {
        Check::new(self.side, name, Verdict::Failed, told)
    }

    fn unknown(self, name: &str, told: impl Into<String>) -> Check {
        Check::new(self.side, name, Verdict::Unknown, told)
    }

    /// `error` under the verdict `denied` where it will not pass; a fault that may pass tells nothing.
    fn refused(self, name: &str, denied: Verdict, meaning: &str, error: &StepError) -> Check {
        let verdict = if error.name.is_retryable() { Verdict::Unknown } else { denied };
        Check::new(self.side, name, verdict, format!("{meaning}: {}", error.message))
    }

    async fn within(self, name: &str, check: impl Future<Output = Check>) -> Check {
        let late = || self.unknown(name, format!("no answer in {} s", CHECK_TIMEOUT.as_secs()));
        timeout(CHECK_TIMEOUT, check).await.unwrap_or_else(|_| late())
    }
}
