//! The decisions of Longhaul, without any I/O.
//!
//! Architecture invariant: nothing here reads a clock, a random number or the environment, and nothing here
//! depends on tokio, hyper or an `aws-*` crate. CI checks the dependencies.

pub mod backfill;
pub mod classify;
pub mod config;
pub mod contract;
pub mod error;
pub mod etag;
pub mod event;
#[cfg(test)]
mod fuzz;
pub mod hedge;
pub mod intake;
pub mod integrity;
pub mod job;
pub mod layout;
pub mod names;
pub mod outcome;
pub mod pace;
pub mod rate;
pub mod request;
pub mod tally;
pub mod uploads;
