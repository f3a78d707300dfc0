#![allow(clippy::unwrap_used, dead_code)]
mod backfill_steps;
mod world;
