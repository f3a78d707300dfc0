//! The two ends of a command, and how each is reached.

use clap::Args;
use longhaul_core::config::{Credentials, Options, Route, Side};
use std::path::PathBuf;
use std::str::FromStr;

/// Where objects come from and where they go.
#[derive(Args, Debug)]
#[group(skip)]
pub struct Ends {
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
    /// Certificates to trust besides those of the machine, as PEM: for a private store over https.
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
}

impl Ends {
    /// The route between the ends. Its error is one of usage.
    pub fn route(&self, name: &str, options: Options) -> Result<Route, String> {
        let route = Route {
            name: name.into(),
            source: self.source_side.side(&self.source),
            destination: self.destination_side.side(&self.destination),
            options,
        };
        route.check().map_err(|error| error.to_string())?;
        Ok(route)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
