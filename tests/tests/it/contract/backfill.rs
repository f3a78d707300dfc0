//! What executions of `backfill` do: which states follow each other, what they are given, and how they end.

mod faults;
mod scenarios;
mod sizes;
mod trial;

pub(super) use scenarios::check;
