//! The command line.

pub mod copy;
pub mod ends;
pub mod local;
pub mod redrive;
pub mod remote;
pub mod select;

use clap::{Parser, Subcommand};

/// Moves objects between S3 buckets that no server-side copy can join.
#[derive(Debug, Parser)]
#[command(name = "longhaul", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copies every object under a prefix from one bucket to another, by this machine.
    ///
    /// Prefixes are bytes, not folders: s3://b/a takes the keys `a`, `ab` and `a/b`, and what follows the prefix is put
    /// behind the destination's prefix as it is. Nothing is added at a `/`, and `..` and `//` mean nothing. A key is a
    /// prefix of itself, so s3://b/key copies that object, and every other whose key begins with it.
    ///
    /// Both sides are listed and compared, and what is already there and equal is left alone. Run again after an
    /// interruption, it goes on where it stopped: the ledger remembers the uploads, and the destination says which parts
    /// it holds.
    ///
    /// Exit status: 0 if every object is migrated, unchanged or skipped; 1 if some failed, or the run could not be
    /// carried out; 2 for bad usage; 130 or 143 if it was interrupted or told to end.
    Copy(Box<copy::CopyArgs>),
    /// Has a deployment bring a destination up to date with its source, and shows how it goes.
    ///
    /// Without SRC and DST, every route of the deployment's configuration; --route chooses. Ctrl-C leaves the run going.
    ///
    /// Exit status: 0 if everything listed arrived or was left alone; 1 if something failed; 2 for bad usage; 3 if the
    /// run was paused or stopped, or could not be watched any longer; 130 or 143 if the watching was interrupted.
    Backfill(Box<remote::BackfillArgs>),
    /// Shows the runs of a deployment, or how far one has come.
    Status(remote::StatusArgs),
    /// Prints what failed in a run: CSV of the objects and the reasons.
    Failures(remote::RunArgs),
    /// Lets what is in flight end and begins nothing new; `resume` goes on.
    Pause(remote::RunArgs),
    /// Lets what is in flight end, begins nothing new, and ends the run for good.
    Stop(remote::RunArgs),
    /// Goes on with a run that was paused or broke off; scans nothing again that was scanned.
    Resume(remote::ResumeArgs),
    /// Offers again what failed, once its cause is gone.
    ///
    /// Without RUN, moves the messages of the deployment's failed queue back to its queue; a message is removed only
    /// after its copy was acknowledged. Messages are kept for 14 days: with RUN, the records of that run in the work
    /// bucket are read instead, and nothing is removed. What has arrived meanwhile is found unchanged.
    ///
    /// Exit status: 0 if everything chosen was sent; 1 if not; 2 for bad usage.
    Redrive(redrive::RedriveArgs),
    /// Says what a backfill would copy, what it would cost and how long it would take, and copies nothing.
    Estimate(Box<local::EstimateArgs>),
    /// Tries whether both sides can be used: keys, Regions, reading, conditional writes, uploads, encryption.
    Check(Box<local::CheckArgs>),
    /// Lists the uploads that stand open at the destination, and which of them are orphans: a ledger has a record of
    /// their object, and that names another upload or none. Nobody will go on with these.
    ///
    /// The ledger that `longhaul copy` keeps of the two ends is asked where there is one. With --abort, orphans are
    /// aborted, and their parts are gone. Uploads to objects that no ledger knows may be somebody else's.
    ///
    /// Exit status: 0; 1 if the uploads could not be listed, or one not aborted; 2 for bad usage.
    Uploads(Box<local::UploadsArgs>),
    /// Compares both sides, independently of what any ledger says.
    ///
    /// Exit status: 0 if every object of the source is at the destination, and proven so; 1 if not.
    Verify(Box<local::VerifyArgs>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
