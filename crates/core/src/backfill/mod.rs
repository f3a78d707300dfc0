//! Backfill: a whole source compared with its destination, copied, reported.
//!
//! A run lists both sides, writes what differs into manifests in the work bucket, runs one execution of `migrate` a
//! manifest, and adds up what they recorded.

pub mod check;
pub mod counts;
pub mod csv;
pub mod deletions;
pub mod estimate;
pub mod filters;
pub mod html;
pub mod keys;
pub mod manifest;
pub mod merge;
pub mod pack;
pub mod prices;
pub mod request;
pub mod run;
pub mod states;
pub mod summary;
