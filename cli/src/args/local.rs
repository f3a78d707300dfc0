//! The commands that look at both sides from this machine and copy nothing.

use super::ends::Ends;
use super::select::{FilterArgs, SelectArgs};
use crate::sizes::parse_size;
use crate::times::parse_time;
use clap::Args;
use std::path::PathBuf;

/// What `longhaul estimate` is told.
#[derive(Args, Debug)]
pub struct EstimateArgs {
    /// The two ends.
    #[command(flatten)]
    pub ends: Ends,
    /// Which objects.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Bytes a second that the whole link carries, such as 100MiB: for the time it would take.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub rate: Option<u64>,
    /// Executions of the copying state machine at once.
    #[arg(long, value_name = "COUNT", default_value_t = longhaul_core::backfill::request::CONCURRENCY_DEFAULT)]
    pub concurrency: u32,
    /// Prices to reckon with, as JSON in the form of crates/core/prices.json; those of us-east-1 where absent.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Scans at once.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=40))]
    pub scans: u32,
    /// Does not try the sides first.
    #[arg(long)]
    pub no_check: bool,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `longhaul check` is told.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The two ends.
    #[command(flatten)]
    pub ends: Ends,
    /// Also tries what --delete needs.
    #[arg(long)]
    pub delete: bool,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// What `longhaul verify` is told.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The two ends.
    #[command(flatten)]
    pub ends: Ends,
    /// Which objects.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// Reads every object on both sides and compares the bytes, whatever ETags and checksums say.
    #[arg(long)]
    pub deep: bool,
    /// Objects looked at, or read, at once.
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Writes a line of JSON for every object that is missing, differs or could not be proven.
    #[arg(long, value_name = "FILE")]
    pub findings: Option<PathBuf>,
    /// Prints the summary as one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `longhaul uploads` is told.
#[derive(Args, Debug)]
pub struct UploadsArgs {
    /// The two ends.
    #[command(flatten)]
    pub ends: Ends,
    /// Only uploads begun before this time, or longer ago than this age; with --abort 7d where absent.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub older_than: Option<i64>,
    /// Aborts the orphans: those whose object a ledger knows, by another upload or none; needs --table or --no-table.
    #[arg(long, requires = "deployment")]
    pub abort: bool,
    /// With --abort: also those whose object no ledger knows. They may be somebody else's.
    #[arg(long, requires = "abort")]
    pub unknown: bool,
    /// The ledger of a deployment that writes there: its stack's output LedgerTable.
    #[arg(long, value_name = "NAME", group = "deployment")]
    pub table: Option<String>,
    /// No deployment writes there.
    #[arg(long, group = "deployment")]
    pub no_table: bool,
    /// A ledger of `longhaul copy` besides that of these two ends: of one between other prefixes, or --ledger there.
    #[arg(long, value_name = "FILE")]
    pub ledger: Vec<PathBuf>,
    /// Prints a JSON document for each upload.
    #[arg(long)]
    pub json: bool,
}
