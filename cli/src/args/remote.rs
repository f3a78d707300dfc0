//! The commands that talk to a deployment.

use super::ends::Location;
use super::select::SelectArgs;
use clap::{Args, ValueEnum};
use longhaul_core::backfill::request::{BackfillRequest, Deletions, KeysFormat, KeysFrom, RouteChoice};
use longhaul_core::config::{Credentials, Options, Route, Side};

/// Which deployment.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct DeploymentArgs {
    /// ARN of the deployment's backfill state machine: the stack's output BackfillStateMachineArn.
    #[arg(long, value_name = "ARN", env = "LONGHAUL_STATE_MACHINE")]
    pub state_machine: String,
    /// Profile with the keys of the deployment's account; the default chain where absent.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// A run of a deployment.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The run's name.
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The deployment.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
}

/// What `longhaul status` is told.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// The run's name; the newest runs where absent.
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// The deployment.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Goes on showing how far the run has come until it ends.
    #[arg(long, requires = "run")]
    pub follow: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `longhaul resume` is told.
#[derive(Args, Clone, Debug)]
pub struct ResumeArgs {
    /// The run's name.
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The deployment.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// How it is shown.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// How a run is shown.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(skip)]
pub struct WatchArgs {
    /// Starts the run and returns.
    #[arg(long)]
    pub detach: bool,
    /// Prints the summary as one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `longhaul backfill` is told.
#[derive(Args, Debug)]
pub struct BackfillArgs {
    /// Where objects are read: s3://BUCKET[/PREFIX].
    #[arg(value_name = "SRC", requires = "destination")]
    pub source: Option<Location>,
    /// Where objects are written: s3://BUCKET[/PREFIX].
    #[arg(value_name = "DST")]
    pub destination: Option<Location>,
    /// The deployment.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// A route of the deployment's configuration, by name; may be given several times.
    #[arg(long, value_name = "NAME", conflicts_with = "source")]
    pub route: Vec<String>,
    /// How the deployment reaches the source.
    #[command(flatten)]
    pub source_side: SourceSideArgs,
    /// How the deployment reaches the destination.
    #[command(flatten)]
    pub destination_side: DestinationSideArgs,
    /// Which objects.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Takes the keys of a list instead of listing the source: s3://BUCKET/KEY, in the work bucket or readable with
    /// the source's keys.
    #[arg(long, value_name = "LIST", requires = "keys_format")]
    pub keys: Option<Location>,
    /// How the list is written.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub keys_format: Option<KeysFormatArg>,
    /// Scans, estimates and reports, and copies nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Removes destination objects that the source lacks, under the destination's prefix only.
    #[arg(long, requires = "max_delete")]
    pub delete: bool,
    /// Where more than this many would be removed, none is, and the run fails.
    #[arg(long, value_name = "COUNT", requires = "delete")]
    pub max_delete: Option<u64>,
    /// Executions of the copying state machine at once.
    #[arg(long, value_name = "COUNT")]
    pub concurrency: Option<u32>,
    /// Scans at once.
    #[arg(long, value_name = "COUNT")]
    pub scans: Option<u32>,
    /// Ends the copying once more than this share of the executions failed.
    #[arg(long, value_name = "PERCENT")]
    pub max_failed_percent: Option<f64>,
    /// How it is shown.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// [`KeysFormat`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeysFormatArg {
    /// One key a line, or the first column of CSV.
    Csv,
    /// A string, or an object with `key`, a line.
    JsonLines,
    /// The manifest.json of an S3 Inventory in CSV.
    Inventory,
}

/// How a deployment reaches one side.
macro_rules! remote_side_args {
    ($name:ident, $side:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Args, Clone, Debug, Default)]
        #[group(skip)]
        pub struct $name {
            /// The endpoint.
            #[arg(id = concat!($side, "-endpoint-url"), long = concat!($side, "-endpoint-url"), value_name = "URL",
                        requires = "source", help = concat!("Endpoint of the ", $side, " where it is not AWS"))]
            pub endpoint_url: Option<String>,
            /// The Region.
            #[arg(id = concat!($side, "-region"), long = concat!($side, "-region"), value_name = "REGION",
                        requires = "source", help = concat!("Region of the ", $side))]
            pub region: Option<String>,
            /// Path style.
            #[arg(id = concat!($side, "-force-path-style"), long = concat!($side, "-force-path-style"),
                        requires = "source", help = concat!("Address the ", $side, " as https://endpoint/bucket/key"))]
            pub force_path_style: bool,
            /// A secret.
            #[arg(id = concat!($side, "-secret"), long = concat!($side, "-secret"), value_name = "NAME",
                        requires = "source",
                        help = concat!("Secrets Manager secret of the deployment's account with the keys of the ", $side,
                                       "; the functions' own role where absent"))]
            pub secret: Option<String>,
            /// A role.
            #[arg(id = concat!($side, "-role-arn"), long = concat!($side, "-role-arn"), value_name = "ARN",
                        requires = "source", conflicts_with = concat!($side, "-secret"),
                        help = concat!("Role that the functions assume for the ", $side))]
            pub role_arn: Option<String>,
        }

        impl $name {
            fn side(&self, location: &Location) -> Side {
                let credentials = match (&self.secret, &self.role_arn) {
                    (Some(secret), _) => Credentials::Secret { secret: secret.clone() },
                    (None, Some(role_arn)) => Credentials::AssumeRole { role_arn: role_arn.clone() },
                    (None, None) => Credentials::Role,
                };
                Side {
                    bucket: location.bucket.clone(),
                    prefix: location.prefix.clone(),
                    region: self.region.clone(),
                    endpoint: self.endpoint_url.clone(),
                    path_style: self.force_path_style,
                    credentials,
                    ..Side::default()
                }
            }
        }
    };
}
remote_side_args!(SourceSideArgs, "source", "How the deployment reaches the source.");
remote_side_args!(DestinationSideArgs, "destination", "How the deployment reaches the destination.");

impl BackfillArgs {
    /// The request that these options describe. Its error is one of usage.
    pub fn request(&self) -> Result<BackfillRequest, String> {
        let routes = match self.source.as_ref().zip(self.destination.as_ref()) {
            Some((source, destination)) => {
                let route = Route {
                    name: "backfill".into(),
                    source: self.source_side.side(source),
                    destination: self.destination_side.side(destination),
                    options: Options::default(),
                };
                vec![RouteChoice::Given(Box::new(route))]
            }
            None => self.route.iter().cloned().map(RouteChoice::Named).collect(),
        };
        let keys = self.keys.as_ref().zip(self.keys_format).map(|(list, format)| KeysFrom {
            format: match format {
                KeysFormatArg::Csv => KeysFormat::Csv,
                KeysFormatArg::JsonLines => KeysFormat::JsonLines,
                KeysFormatArg::Inventory => KeysFormat::Inventory,
            },
            bucket: list.bucket.clone(),
            key: list.prefix.clone(),
        });
        let request = BackfillRequest {
            routes,
            compare: self.select.compare(),
            filters: self.select.filters.filters()?,
            keys,
            dry_run: self.dry_run,
            delete: self.max_delete.filter(|_| self.delete).map(|max| Deletions { max }),
            concurrency: self.concurrency,
            scans: self.scans,
            max_failed_percent: self.max_failed_percent,
            ..BackfillRequest::default()
        };
        request.check().map_err(|error| error.to_string())?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn request(args: &[&str]) -> Result<BackfillRequest, String> {
        let all = ["longhaul", "backfill", "--state-machine", "arn:x"];
        match Cli::try_parse_from(all.iter().chain(args)).map_err(|error| error.to_string())?.command {
            Command::Backfill(args) => args.request(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_become_a_request() {
        assert_eq!(request(&[]).unwrap(), BackfillRequest::default());
        let named = request(&["--route", "a", "--route", "b", "--dry-run", "--exclude", "*.tmp"]).unwrap();
        assert_eq!(named.routes.len(), 2);
        assert!(named.dry_run && named.filters.exclude == ["*.tmp"]);
        let given =
            request(&["s3://a/x", "s3://b", "--destination-secret", "s", "--delete", "--max-delete", "5"]).unwrap();
        let [RouteChoice::Given(route)] = given.routes.as_slice() else { panic!("{given:?}") };
        assert_eq!(route.destination.credentials, Credentials::Secret { secret: "s".into() });
        assert_eq!(given.delete, Some(Deletions { max: 5 }));
        let listed = request(&["--route", "a", "--keys", "s3://w/list.csv", "--keys-format", "csv"]).unwrap();
        assert_eq!(listed.keys.unwrap().key, "list.csv");
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let bad: [&[&str]; 6] = [
            &["s3://a"],
            &["s3://a", "s3://b", "--route", "r"],
            &["--delete"],
            &["--max-delete", "5"],
            &["--source-secret", "s"],
            &["--keys", "s3://w/k"],
        ];
        for args in bad {
            assert!(request(args).is_err(), "{args:?}");
        }
        assert!(request(&["--scans", "41"]).unwrap_err().contains("scans"));
    }
}
