//! Commands that talk to a deployment: its state machine, its work bucket and its queues, nothing else.

pub mod backfill;
pub mod control;
pub mod deployment;
pub mod follow;
pub mod look;
pub mod redrive;
pub mod status;
