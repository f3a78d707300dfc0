//! Thousands of disasters, each decided by one number.
//!
//! [`run`] takes a seed and runs the real state machines, the real steps and the real SDK clients over two in-process
//! stores, on one thread and in paused time. The seed decides the objects, the events and their order, and what goes
//! wrong between any two requests. Afterwards everything is calm, what failed is sent again once, and the promises
//! are checked: see [`invariants`].

// The futures of a whole backfill lie in each other, deeper than the compiler looks unasked.
#![recursion_limit = "256"]

mod backfills;
pub mod dice;
mod events;
mod executions;
pub mod history;
pub mod invariants;
mod ledger;
mod mishaps;
mod notes;
mod objects;
mod others;
mod outbox;
mod parts;
mod queue;
pub mod scenario;
mod steps;
mod weather;
mod wire;
mod work;
mod world;

pub use history::Violation;
pub use world::{Report, run};
