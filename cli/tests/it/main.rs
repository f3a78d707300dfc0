//! The command between two endpoints on loopback, and the runner below it.
#![allow(clippy::unwrap_used)]

mod copy;
mod kill;
mod looks;
mod refusals;
mod runner;
mod world;
