//! Contract, steps, flows, faults and repeats: one binary.
#![allow(clippy::unwrap_used)]

mod contract;
mod flows;
mod server_side;
mod steps;
mod wire;
mod world;
