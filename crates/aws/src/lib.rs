//! All I/O of Longhaul, over concrete SDK clients: the two sides, the copy engine, the ledger, and the steps that the
//! state machine routes between.

pub mod audit;
pub mod clients;
pub mod context;
pub mod credentials;
mod denial;
pub mod destination;
pub mod engine;
pub mod error;
pub mod events;
pub mod lambda;
pub mod ledger;
pub mod metadata;
pub mod outbox;
pub mod outcomes;
pub mod permissions;
pub mod preflight;
mod report;
pub mod routes;
pub mod scan;
pub mod source;
pub mod steps;
mod transport;
pub mod uploads;
pub mod work;
