//! Which objects a command is about, and what makes two of them the same.

use crate::sizes::parse_size;
use crate::times::parse_time;
use clap::{Args, ValueEnum};
use longhaul_core::backfill::filters::{Filters, ignore_list};
use longhaul_core::backfill::request::Compare;
use std::path::PathBuf;

/// Which objects, and what makes two of them the same.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct SelectArgs {
    /// What makes a destination object the same as the source's, so that it is left alone.
    #[arg(long, value_enum, default_value_t = CompareArg::Etag)]
    pub compare: CompareArg,
    /// Which objects.
    #[command(flatten)]
    pub filters: FilterArgs,
}

/// Which objects.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct FilterArgs {
    /// Takes only keys that match a glob such as '*.jpg'; may be given several times. Globs see the key behind the
    /// source's prefix, and `*` crosses `/`.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Leaves out keys that match a glob, even if they are included; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Leaves out keys that match a glob of this list, one a line; `#` begins a comment.
    #[arg(long, value_name = "FILE")]
    pub ignore_list: Option<PathBuf>,
    /// Leaves out smaller objects.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub min_size: Option<u64>,
    /// Leaves out larger objects.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_size: Option<u64>,
    /// Leaves out objects last modified before this time: 2026-11-22, 2026-11-22T08:30:00Z, or an age such as 36h or
    /// 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub modified_after: Option<i64>,
    /// Leaves out objects last modified at or after this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub modified_before: Option<i64>,
}

/// [`Compare`] as an option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CompareArg {
    /// Equal sizes; proves nothing.
    Size,
    /// Equal ETags, or a pair of them that the ledger knows.
    #[default]
    Etag,
    /// Equal checksums over the whole object; costs two more requests for each object of equal size.
    Checksum,
    /// Nothing: every object is looked at on its own.
    Always,
}

impl SelectArgs {
    /// What makes two objects the same.
    pub fn compare(&self) -> Compare {
        match self.compare {
            CompareArg::Size => Compare::Size,
            CompareArg::Etag => Compare::Etag,
            CompareArg::Checksum => Compare::Checksum,
            CompareArg::Always => Compare::Always,
        }
    }
}

impl FilterArgs {
    /// The filters, checked. Reads the ignore list.
    pub fn filters(&self) -> Result<Filters, String> {
        let mut exclude = self.exclude.clone();
        if let Some(list) = &self.ignore_list {
            let told = |error: String| format!("--ignore-list {}: {error}", list.display());
            let text = std::fs::read_to_string(list).map_err(|error| told(error.to_string()))?;
            exclude.extend(ignore_list(&text).map_err(told)?);
        }
        let filters = Filters {
            include: self.include.clone(),
            exclude,
            min_size: self.min_size,
            max_size: self.max_size,
            modified_after: self.modified_after,
            modified_before: self.modified_before,
        };
        filters.check()?;
        Ok(filters)
    }
}
