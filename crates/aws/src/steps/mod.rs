//! The steps: one use case a function, `async fn step(&Clients, &Context, Input) -> Result<Next, StepError>`.

mod backfill;
mod begin;
mod complete;
mod copy_objects;
mod copy_parts;
mod delete;
mod gather;
mod intake;
mod large;
mod objects;
mod plan;
mod rate;
mod record;
mod report;
mod run_item;
mod settle;

pub use backfill::{read_run, scan};
pub use complete::complete;
pub use copy_objects::copy_objects;
pub use copy_parts::copy_parts;
pub use intake::{IntakeReport, QueueMessage, intake};
pub use plan::plan;
pub use report::report;
pub use settle::{Ended, settle, settle_ended};
