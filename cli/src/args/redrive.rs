//! `longhaul redrive`.

use super::remote::DeploymentArgs;
use crate::times::parse_time;
use clap::Args;

/// What `longhaul redrive` is told.
#[derive(Args, Clone, Debug)]
pub struct RedriveArgs {
    /// Takes what failed in this run, as its records in the work bucket say, instead of the failed queue's messages.
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// The deployment.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Sends and removes nothing; says what would be sent.
    #[arg(long)]
    pub dry_run: bool,
    /// Sends at most this many messages; of a run, at most this many objects.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub most: Option<u64>,
    /// Takes only what failed under this name, such as Rejected or States.Timeout; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub only: Vec<String>,
    /// Takes only objects whose key at the source begins with this.
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Takes only messages that were sent at or after this time: 2026-11-22, 2026-11-22T08:30:00Z, or an age such as
    /// 36h or 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "run")]
    pub failed_after: Option<i64>,
    /// Takes only messages that were sent before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "run")]
    pub failed_before: Option<i64>,
    /// Prints the counts as one JSON document.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn parse(args: &[&str]) -> Result<super::RedriveArgs, clap::Error> {
        let all = ["longhaul", "redrive", "--state-machine", "arn:x"];
        match Cli::try_parse_from(all.iter().chain(args))?.command {
            Command::Redrive(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_or_the_queue_is_chosen_from() {
        let queue = parse(&["--only", "Rejected", "--only", "Bug", "--prefix", "a/", "--failed-before", "7d"]).unwrap();
        assert_eq!((queue.run, queue.only.len(), queue.most), (None, 2, None));
        let run = parse(&["backfill-1", "--most", "5", "--dry-run"]).unwrap();
        assert!(run.dry_run && run.run.as_deref() == Some("backfill-1") && run.most == Some(5));
        for bad in [&["--most", "0"][..], &["r", "--failed-after", "1d"], &["--only", ""], &["--failed-after", "soon"]]
        {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
