//! What one connection of a route carries: written down by those who copy, read by those who plan (rule 18).

use crate::clients::Clients;
use crate::context::Context;
use crate::ledger::LedgerError;
use longhaul_core::config::Route;
use longhaul_core::layout::PartLayout;
use longhaul_core::rate::{PART_UNASKED, RateKey};
use std::time::Duration;
use tokio::time::timeout;

/// Longest time that a measure may take to be written down.
const REMEMBER_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes down what a connection carried, in bytes a second, where it says something new. One that gets lost is made
/// again.
pub(super) async fn remember(clients: &Clients, context: &Context, route: &Route, rate: u64) {
    let written = async {
        let rates = clients.ledger.rates(&RateKey::new(route)).await?;
        match rates.with(rate, context.clock.now_ms()) {
            Some(rates) => clients.ledger.put_rates(&rates).await,
            None => Ok(()),
        }
    };
    match timeout(REMEMBER_TIMEOUT, written).await {
        Ok(Ok(()) | Err(LedgerError::Conflict)) => {}
        Ok(Err(error)) => tracing::debug!(%error, rate, "rate not written down"),
        Err(_) => tracing::debug!(rate, "rate not written down in time"),
    }
}

/// What one connection of the route carries, in bytes a second, where the layout's parts are large enough to ask and it
/// is known. A store that copies by itself does so at its own rate.
pub(super) async fn rate_for(clients: &Clients, context: &Context, route: &Route, layout: &PartLayout) -> Option<u64> {
    if layout.part_size() <= PART_UNASKED || route.copies_server_side() {
        return None;
    }
    match clients.ledger.rates(&RateKey::new(route)).await {
        Ok(rates) => rates.rate(context.clock.now_ms()),
        Err(error) => {
            // No reason to refuse: whoever copies finds out.
            tracing::warn!(%error, "the route's rate is not known");
            None
        }
    }
}
