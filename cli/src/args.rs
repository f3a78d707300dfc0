//! The command line.

use crate::sizes::parse_size;
use clap::{Args, Parser, Subcommand, ValueEnum};
use longhaul_core::config::{Credentials, Options, Overwrite, Route, ServerSideCopy, Side};
use longhaul_core::layout::{PART_MAX, PART_MIN};
use longhaul_lanes::LaneWidth;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// Copies every object under a prefix from one bucket to another.
    ///
    /// Prefixes are bytes, not folders: s3://b/a takes the keys `a`, `ab` and `a/b`, and what follows the prefix is put
    /// behind the destination's prefix as it is. Nothing is added at a `/`, and `..` and `//` mean nothing. A key is a
    /// prefix of itself, so s3://b/key copies that object, and every other whose key begins with it.
    ///
    /// What is already there and equal is left alone. Run again after an interruption, it goes on where it stopped:
    /// the ledger remembers the uploads, and the destination says which parts it holds.
    ///
    /// Exit status: 0 if every object is migrated, unchanged or skipped; 1 if some failed, or the run could not be
    /// carried out; 2 for bad usage; 130 or 143 if it was interrupted or told to end.
    Copy(Box<CopyArgs>),
}

/// What `longhaul copy` is told.
#[derive(Args, Debug)]
pub struct CopyArgs {
    /// Where objects are read: s3://BUCKET[/PREFIX].
    #[arg(value_name = "SRC")]
    pub source: Location,
    /// Where objects are written: s3://BUCKET[/PREFIX].
    #[arg(value_name = "DST")]
    pub destination: Location,
    /// Options of the source.
    #[command(flatten)]
    pub source_side: SourceArgs,
    /// Options of the destination.
    #[command(flatten)]
    pub destination_side: DestinationArgs,
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
    /// Certificates to trust besides those of the machine, as PEM: for a private store over https.
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
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

/// `s3://BUCKET[/PREFIX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// Everything behind the `/` after the bucket, as it stands.
    pub prefix: String,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or("write s3://BUCKET or s3://BUCKET/PREFIX")?;
        if rest.starts_with("arn:") {
            return Err("an ARN is no bucket: write the alias of the access point".into());
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("the bucket is missing: write s3://BUCKET or s3://BUCKET/PREFIX".into());
        }
        Ok(Self { bucket: bucket.into(), prefix: prefix.into() })
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
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

/// The options of one side, under names of its own.
macro_rules! side_args {
    ($name:ident, $side:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Args, Clone, Debug, Default)]
        #[group(skip)]
        pub struct $name {
            /// The endpoint.
            #[arg(id = concat!($side, "-endpoint-url"), long = concat!($side, "-endpoint-url"), value_name = "URL",
                        help = concat!("Endpoint of the ", $side, " where it is not AWS"))]
            pub endpoint_url: Option<String>,
            /// The Region.
            #[arg(id = concat!($side, "-region"), long = concat!($side, "-region"), value_name = "REGION",
                        help = concat!("Region of the ", $side, "; the profile's or the environment's where absent"))]
            pub region: Option<String>,
            /// The profile.
            #[arg(id = concat!($side, "-profile"), long = concat!($side, "-profile"), value_name = "NAME",
                        help = concat!("Profile with the keys of the ", $side, "; the default chain where absent"))]
            pub profile: Option<String>,
            /// Path style.
            #[arg(id = concat!($side, "-force-path-style"), long = concat!($side, "-force-path-style"),
                        help = concat!("Address the ", $side, " as https://endpoint/bucket/key"))]
            pub force_path_style: bool,
            /// No signature.
            #[arg(id = concat!($side, "-no-sign-request"), long = concat!($side, "-no-sign-request"),
                        conflicts_with = concat!($side, "-profile"),
                        help = concat!("Send unsigned requests to the ", $side))]
            pub no_sign_request: bool,
            /// Requester pays.
            #[arg(id = concat!($side, "-request-payer"), long = concat!($side, "-request-payer"),
                        help = concat!("Pay for requests to the ", $side, " as the requester"))]
            pub request_payer: bool,
        }

        impl $name {
            fn side(&self, location: &Location) -> Side {
                let credentials = match (&self.profile, self.no_sign_request) {
                    (Some(profile), _) => Credentials::Profile { profile: profile.clone() },
                    (None, true) => Credentials::Anonymous,
                    (None, false) => Credentials::Role,
                };
                Side {
                    bucket: location.bucket.clone(),
                    prefix: location.prefix.clone(),
                    region: self.region.clone(),
                    endpoint: self.endpoint_url.clone(),
                    path_style: self.force_path_style,
                    credentials,
                    owner: None,
                    requester_pays: self.request_payer,
                }
            }
        }
    };
}
side_args!(SourceArgs, "source", "Options of the source.");
side_args!(DestinationArgs, "destination", "Options of the destination.");

/// Ranges of one object at once: in one process they would share the same connections, and each costs two requests.
const RANGES_MAX: u32 = 1;

impl CopyArgs {
    /// The route that these options describe. Its error is one of usage.
    pub fn route(&self) -> Result<Route, String> {
        let route = Route {
            name: "copy".into(),
            source: self.source_side.side(&self.source),
            destination: self.destination_side.side(&self.destination),
            options: Options {
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
            },
        };
        route.check().map_err(|error| error.to_string())?;
        Ok(route)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory as _;

    fn parse(args: &[&str]) -> Result<Box<CopyArgs>, clap::Error> {
        let Command::Copy(copy) = Cli::try_parse_from(["longhaul", "copy"].iter().chain(args))?.command;
        Ok(copy)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn locations_are_bytes() {
        let location = |text: &str| text.parse::<Location>().map(|l| (l.bucket, l.prefix));
        let good = [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/a", "b", "a"),
            ("s3://b//a/", "b", "/a/"),
            ("s3://b/../x y+%20", "b", "../x y+%20"),
        ];
        for (text, bucket, prefix) in good {
            assert_eq!(location(text), Ok((bucket.to_owned(), prefix.to_owned())), "{text}");
        }
        for bad in ["b/a", "s3:/b", "s3://", "s3:///a", "https://b/a", "s3://arn:aws:s3:::b"] {
            assert!(location(bad).is_err(), "{bad}");
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
