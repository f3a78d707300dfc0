//! Contract, steps, flows, faults and repeats: one binary.
#![allow(clippy::unwrap_used)]

mod backfill;
mod backfill_steps;
mod by_hand;
mod contract;
mod estimate;
mod flows;
mod keys;
mod limits;
mod logs;
mod pressure;
mod report;
mod rules;
mod run_items;
mod scan;
mod server_side;
mod steps;
mod twins;
mod uploads;
mod wire;
mod world;
