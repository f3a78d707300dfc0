//! Commands that talk to a deployment: its state machine and its work bucket, nothing else.

pub mod backfill;
pub mod control;
pub mod deployment;
pub mod follow;
pub mod look;
pub mod status;
