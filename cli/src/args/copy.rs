//! `longhaul copy`.

use super::ends::Ends;
use super::select::SelectArgs;
use crate::sizes::parse_size;
use clap::{Args, ValueEnum};
use longhaul_core::config::{Options, Overwrite, Route, ServerSideCopy};
use longhaul_core::layout::{PART_MAX, PART_MIN};
use longhaul_lanes::LaneWidth;
use std::path::PathBuf;

/// What `longhaul copy` is told.
#[derive(Args, Debug)]
pub struct CopyArgs {
    /// The two ends.
    #[command(flatten)]
    pub ends: Ends,
    /// Which objects.
    #[command(flatten)]
    pub select: SelectArgs,
    /// The ledger's database; one for each pair of sides under $XDG_STATE_HOME/longhaul where absent.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Part size of large objects where the source's own is not mirrored, such as 16MiB; 8 MiB, growing with the
    /// object, where absent.
    #[arg(long, value_name = "SIZE", value_parser = part_size)]
    pub part_size: Option<u64>,
    /// Most parts and small objects in flight at once; how many there are within that is found from what arrives.
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Sends no part a second time, however slow it is. Otherwise the slowest parts in the end are sent again, for at
    /// most a quarter more bytes.
    #[arg(long)]
    pub no_hedging: bool,
    /// Width of the lanes in which MD5s are taken: for measurements.
    #[arg(long, value_enum, default_value_t = LanesArg::Auto, hide = true)]
    pub md5_lanes: LanesArg,
    /// Storage class of new objects; the bucket's default where absent.
    #[arg(long, value_name = "CLASS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub storage_class: Option<String>,
    /// What happens to a destination object that is there.
    #[arg(long, value_enum, default_value_t = OverwriteArg::Differs)]
    pub overwrite: OverwriteArg,
    /// Whether the store may copy by itself, moving no byte through this machine, where one credential signs for both
    /// sides and both lie in the same store: the same endpoint, or the same partition of AWS.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ServerSideCopyArg::Off)]
    pub server_side_copy: ServerSideCopyArg,
    /// Prints the summary as one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Writes the request of every failed object to FILE, one line of JSON each.
    #[arg(long, value_name = "FILE")]
    pub failures: Option<PathBuf>,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
    /// Logs every outcome; twice, every retry too.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

fn part_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if (PART_MIN..=PART_MAX).contains(&size) { Ok(size) } else { Err("S3 takes parts of 5 MiB to 5 GiB".into()) }
}

/// [`Overwrite`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverwriteArg {
    /// It is replaced if it differs.
    Differs,
    /// It stays, whatever it is.
    Never,
    /// It is replaced even if it is the same.
    Always,
}

/// [`ServerSideCopy`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServerSideCopyArg {
    /// Every byte passes through this machine.
    Off,
    /// The store copies where it can; what it refuses is copied through this machine.
    Auto,
}

/// [`LaneWidth`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LanesArg {
    /// The widest that this processor has.
    Auto,
    /// 128 bits, as on arm64.
    #[value(name = "128")]
    Bits128,
}

impl From<LanesArg> for LaneWidth {
    fn from(lanes: LanesArg) -> Self {
        match lanes {
            LanesArg::Auto => Self::Auto,
            LanesArg::Bits128 => Self::Bits128,
        }
    }
}

/// Ranges of one object at once: in one process they would share the same connections, and each costs two requests.
const RANGES_MAX: u32 = 1;

impl CopyArgs {
    /// The route that these options describe. Its error is one of usage.
    pub fn route(&self) -> Result<Route, String> {
        let options = Options {
            storage_class: self.storage_class.clone(),
            overwrite: match self.overwrite {
                OverwriteArg::Differs => Overwrite::Differs,
                OverwriteArg::Never => Overwrite::Never,
                OverwriteArg::Always => Overwrite::Always,
            },
            part_size: self.part_size,
            max_ranges: Some(RANGES_MAX.min(u32::from(self.concurrency))),
            server_side_copy: match self.server_side_copy {
                ServerSideCopyArg::Off => ServerSideCopy::Off,
                ServerSideCopyArg::Auto => ServerSideCopy::Auto,
            },
        };
        self.ends.route("copy", options)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;
    use longhaul_core::config::{Credentials, Side};

    fn parse(args: &[&str]) -> Result<Box<CopyArgs>, clap::Error> {
        match Cli::try_parse_from(["longhaul", "copy"].iter().chain(args))?.command {
            Command::Copy(copy) => Ok(copy),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_become_a_route() {
        let args = parse(&[
            "s3://a/in/",
            "s3://b/out/",
            "--source-endpoint-url",
            "http://127.0.0.1:9000",
            "--source-force-path-style",
            "--source-no-sign-request",
            "--destination-profile",
            "there",
            "--destination-region",
            "cn-north-1",
            "--destination-request-payer",
            "--part-size",
            "16MiB",
            "--concurrency",
            "2",
            "--overwrite",
            "never",
        ])
        .unwrap();
        let route = args.route().unwrap();
        let source = Side {
            bucket: "a".into(),
            prefix: "in/".into(),
            endpoint: Some("http://127.0.0.1:9000".into()),
            path_style: true,
            credentials: Credentials::Anonymous,
            ..Side::default()
        };
        let destination = Side {
            bucket: "b".into(),
            prefix: "out/".into(),
            region: Some("cn-north-1".into()),
            credentials: Credentials::Profile { profile: "there".into() },
            requester_pays: true,
            ..Side::default()
        };
        assert_eq!((route.source, route.destination), (source, destination));
        assert_eq!(route.options.part_size, Some(16 << 20));
        assert_eq!((route.options.max_ranges, route.options.overwrite), (Some(1), Overwrite::Never));
        assert_eq!(route.options.server_side_copy, ServerSideCopy::Off);
        let auto = parse(&["s3://a", "s3://b", "--server-side-copy", "auto"]).unwrap().route().unwrap();
        assert!(auto.copies_server_side());
    }

    #[test]
    fn bad_usage_is_told_and_ends_with_2() {
        let bad: [&[&str]; 9] = [
            &[],
            &["s3://a"],
            &["s3://a", "b"],
            &["s3://a", "s3://b", "--part-size", "1MiB"],
            &["s3://a", "s3://b", "--concurrency", "0"],
            &["s3://a", "s3://b", "--overwrite", "perhaps"],
            &["s3://a", "s3://b", "--server-side-copy", "always"],
            &["s3://a", "s3://b", "--storage-class", ""],
            &["s3://a", "s3://b", "--source-profile", "p", "--source-no-sign-request"],
        ];
        for args in bad {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
        assert!(parse(&["s3://a", "s3://a/copy"]).unwrap().route().unwrap_err().contains("under the source"));
        let no_url = parse(&["s3://a", "s3://b", "--source-endpoint-url", "localhost:1"]).unwrap();
        assert!(no_url.route().unwrap_err().contains("source.endpoint"));
    }
}
