#![allow(clippy::unwrap_used, dead_code)]
#[path = "../it/world.rs"]
mod world;
#[path = "../it/keys.rs"]
mod keys;
#[path = "../it/estimate.rs"]
mod estimate;
