//! The `longhaul` command, and the state machine run in one process over the real steps.
//!
//! [`in_process`] and [`outbox`] need no terminal and no arguments: tests and simulations use them too.

pub mod args;
pub mod copy;
pub mod grouping;
pub mod in_process;
pub mod local;
pub mod outbox;
pub mod output;
pub mod progress;
pub mod reach;
pub mod remote;
pub mod signals;
pub mod sizes;
pub mod summary;
pub mod times;
