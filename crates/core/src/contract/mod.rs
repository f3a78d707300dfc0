//! The states of `migrate.asl.json`: what each function takes and what it returns.
//!
//! A returned state is tagged `next`; a `Choice` maps the tag to the state that comes next. Fields that the state
//! machine adds (`results`, `error`) are read where they matter and ignored elsewhere.
#![expect(clippy::large_enum_variant, reason = "a step makes one state and gives it away")]

mod end;
mod large;
mod objects;
mod plan;
mod settle;

pub use end::*;
pub use large::*;
pub use objects::*;
pub use plan::*;
pub use settle::*;

/// Most objects of one small batch.
pub const BATCH_OBJECTS_MAX: usize = 500;
/// Most bytes of one small batch: what one invocation copies in a few minutes over a slow link.
pub const BATCH_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Most objects that one plan looks at; what is beyond goes to a successor.
pub const PLAN_OBJECTS_MAX: usize = 2_000;
/// Most iterations of the outer Map, and most ranges of all its large objects together.
///
/// A range with every retry of every retrier spent is about 250 history events; an execution may have 25,000:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const ITEMS_MAX: usize = 40;
/// See [`ITEMS_MAX`].
pub const RANGES_TOTAL_MAX: usize = 60;
/// Iterations of the outer Map at once (an inline Map runs at most 40).
pub const ITEMS_AT_ONCE: u32 = 40;
/// Most bytes of batches that travel in the state; more go to a manifest in the work bucket.
pub const INLINE_MAX_BYTES: usize = 64 * 1024;
/// Most bytes of a successor's objects that one item carries; more go to a manifest in the work bucket.
pub const REST_MAX_BYTES: usize = 2 * 1024;
/// Rounds of `copy-parts` on one range before `complete` looks at the whole object again.
pub const RANGE_ROUNDS_MAX: u32 = 8;
/// Rounds of ranges and `complete` before a successor execution goes on with the object.
pub const OBJECT_ROUNDS_MAX: u32 = 3;
/// Rounds without progress that fail an item (SEMANTICS.md, rule 18).
pub const IDLE_ROUNDS_MAX: u32 = 2;
