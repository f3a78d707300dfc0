//! Commands that look at both sides from this machine and copy nothing.

pub mod check;
pub mod estimate;
pub mod uploads;
pub mod verify;

use crate::args::ends::Ends;
use crate::in_process::{Local, Runner};
use crate::outbox::LocalOutbox;
use aws_config::BehaviorVersion;
use longhaul_aws::clients::{Clients, Io, Sides};
use longhaul_aws::context::Clock;
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::ledger::EmbeddedLedger;
use longhaul_core::config::{Config, Options, Route};
use std::sync::Arc;
use std::time::Duration;

/// A scan of one process may take as long as it takes.
pub const SCAN_TIME: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Connections for the sides of `ends`, with the certificates that they name.
pub fn connections(ends: &Ends) -> Result<Io, String> {
    let Some(bundle) = &ends.ca_bundle else { return Io::system() };
    std::fs::read(bundle)
        .map_err(|error| error.to_string())
        .and_then(|pem| Io::trusting(&pem))
        .map_err(|error| format!("--ca-bundle {}: {error}", bundle.display()))
}

/// Clients for a look at both sides: nothing is remembered, nothing leaves this process.
pub async fn looking(ends: &Ends, route: &Route) -> Result<Arc<Clients>, String> {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let local = Local {
        sides: Sides::new(connections(ends)?, shared, Secrets::none()),
        ledger: Arc::new(EmbeddedLedger::in_memory().map_err(|error| error.to_string())?),
        outbox: Arc::new(LocalOutbox::default()),
        config: Config { routes: vec![route.clone()] },
        engine: Engine::new(1, 1 << 20),
    };
    let runner = Runner::new(local, Clock::system(), 0).map_err(|error| error.to_string())?;
    Ok(Arc::new(runner.clients().clone()))
}

/// The route between the ends, as a deployment would take it.
pub fn route(ends: &Ends) -> Result<Route, String> {
    ends.route("local", Options::default())
}
