//! Routes: where objects come from, where they go, and with whose credentials.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Everything a deployment is told about its routes: one JSON document in an SSM parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The first route whose source matches an object is taken.
    pub routes: Vec<Route>,
}

/// From a source prefix to a destination prefix. Prefixes are bytes, not folders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// For logs and reports.
    #[serde(default)]
    pub name: String,
    /// Where objects are read.
    pub source: Side,
    /// Where objects are written.
    pub destination: Side,
    /// How.
    #[serde(default)]
    pub options: Options,
}

/// One of the two sides of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Side {
    /// The bucket.
    pub bucket: String,
    /// Removed from the source's keys, put before the destination's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The bucket's Region; the secret's, else the function's own, where absent.
    #[serde(default, deserialize_with = "absent_if_empty", skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Endpoint URL of an S3-compatible store; AWS where absent.
    #[serde(default, deserialize_with = "absent_if_empty", skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub path_style: bool,
    /// Whose keys sign the requests.
    #[serde(default, skip_serializing_if = "Credentials::is_role")]
    pub credentials: Credentials,
    /// The account that must own the bucket (`x-amz-expected-bucket-owner`).
    #[serde(default, deserialize_with = "absent_if_empty", skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The requester pays for requests and transfer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub requester_pays: bool,
}

/// Whose keys sign the requests to a side.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Credentials {
    /// The function's role; in one process, the default chain of the environment.
    #[default]
    Role,
    /// A Secrets Manager secret `{aws_access_key_id, aws_secret_access_key, aws_session_token?, region?}`.
    Secret {
        /// Name or ARN.
        secret: String,
    },
    /// A role to assume.
    AssumeRole {
        /// Its ARN.
        role_arn: String,
    },
    /// A profile of the shared AWS configuration; for one process only.
    Profile {
        /// Its name.
        profile: String,
    },
    /// Requests are not signed.
    Anonymous,
}

impl Side {
    /// The store, named in one way however its endpoint is written: two sides with one store and one bucket hold the
    /// same objects. `None` is Amazon S3.
    pub fn store(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref()?.trim_end_matches('/');
        // Scheme and host know no case; a path behind them does.
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
        let usual_port = if scheme == "https" { ":443" } else { ":80" };
        let host = host.strip_suffix(usual_port).unwrap_or(&host);
        let is_aws = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"));
        if is_aws.is_some_and(|name| name == "s3" || name.starts_with("s3.") || name.starts_with("s3-")) {
            return None;
        }
        Some(format!("{scheme}://{host}{path}"))
    }
}

impl Credentials {
    fn is_role(&self) -> bool {
        *self == Self::Role
    }
}

/// What happens to a destination object that differs (SEMANTICS.md, rule 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overwrite {
    /// It is replaced if it differs.
    #[default]
    Differs,
    /// It stays, whatever it is.
    Never,
    /// It is replaced even if it is the same.
    Always,
}

/// Whether the destination's store may copy by itself, where both sides lie in the same store (SEMANTICS.md, rule 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerSideCopy {
    /// Every byte is read and written by the functions.
    #[default]
    Off,
    /// Where [`Route::copies_server_side`] holds and the store does it; otherwise the functions copy.
    Auto,
}

/// How objects of a route are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Storage class of new objects; the bucket's default where absent.
    #[serde(default, deserialize_with = "absent_if_empty", skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// What happens to an object that is there and differs.
    #[serde(default)]
    pub overwrite: Overwrite,
    /// Part size in bytes where the source's own is not mirrored; 8 MiB, growing with the object, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_size: Option<u64>,
    /// Most functions that copy one large object at once, 1 to 40; 40 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ranges: Option<u32>,
    /// Whether the store may copy by itself.
    #[serde(default, skip_serializing_if = "is_off")]
    pub server_side_copy: ServerSideCopy,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_off(value: &ServerSideCopy) -> bool {
    *value == ServerSideCopy::Off
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn absent_if_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// A configuration that cannot be used; the text names the route and the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a configuration.
    pub fn parse(json: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_str(json).map_err(|error| ConfigError(error.to_string()))?;
        for route in &config.routes {
            route.check()?;
        }
        Ok(config)
    }

    /// The first route that takes `key` of `bucket`.
    pub fn route(&self, bucket: &str, key: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.takes(bucket, key))
    }
}

/// Longest key, in bytes. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
pub const KEY_MAX_BYTES: usize = 1024;

impl Route {
    /// Refuses a route that cannot work, or whose destination lies under its own source.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |what: &str| Err(ConfigError(format!("route \"{}\": {what}", self.name)));
        for (side, name) in [(&self.source, "source"), (&self.destination, "destination")] {
            if side.bucket.is_empty() {
                return fail(&format!("{name}.bucket is empty"));
            }
            if let Some(endpoint) = &side.endpoint
                && !endpoint.starts_with("https://")
                && !endpoint.starts_with("http://")
            {
                return fail(&format!("{name}.endpoint is no http or https URL"));
            }
            if let Credentials::Secret { secret: name_or_arn } | Credentials::AssumeRole { role_arn: name_or_arn } =
                &side.credentials
                && name_or_arn.is_empty()
            {
                return fail(&format!("{name}.credentials names nothing"));
            }
        }
        if self.source.store() == self.destination.store()
            && self.source.bucket == self.destination.bucket
            && self.destination.prefix.starts_with(&self.source.prefix)
        {
            return fail("the destination lies under the source: every copy would be offered again");
        }
        if self.options.max_ranges == Some(0) {
            return fail("options.maxRanges is 0");
        }
        Ok(())
    }

    /// True if the store is asked to copy by itself: the route allows it, one credential signs for both sides, and both
    /// lie in the same store. Of a Region that only one side names, nothing is assumed.
    pub fn copies_server_side(&self) -> bool {
        let (from, to) = (&self.source, &self.destination);
        let same_partition = match (&from.region, &to.region) {
            (Some(from), Some(to)) => partition(from) == partition(to),
            (from, to) => from == to,
        };
        let same_store = from.endpoint == to.endpoint && (from.endpoint.is_some() || same_partition);
        // A copy names its source by bucket and key; an ARN is named otherwise, and seldom reached from elsewhere.
        let is_named = !from.bucket.starts_with("arn:");
        let one_signer = from.credentials == to.credentials && from.credentials != Credentials::Anonymous;
        self.options.server_side_copy == ServerSideCopy::Auto && one_signer && same_store && is_named
    }

    /// True if the route's source holds this key.
    pub fn takes(&self, bucket: &str, key: &str) -> bool {
        self.source.bucket == bucket && key.starts_with(&self.source.prefix)
    }

    /// The key at the destination: the source prefix is removed and the destination prefix put before, as bytes.
    ///
    /// Errors if the key is not under the source prefix, or the result is empty or longer than S3 allows.
    pub fn destination_key(&self, key: &str) -> Result<String, ConfigError> {
        let Some(rest) = key.strip_prefix(&self.source.prefix) else {
            return Err(ConfigError(format!("key {key:?} is not under the source prefix {:?}", self.source.prefix)));
        };
        let name = format!("{}{rest}", self.destination.prefix);
        match name.len() {
            0 => Err(ConfigError(format!("key {key:?} becomes empty at the destination"))),
            1..=KEY_MAX_BYTES => Ok(name),
            length => Err(ConfigError(format!("key {key:?} becomes {length} bytes long, S3 allows {KEY_MAX_BYTES}"))),
        }
    }
}

/// The partition of a Region: nothing is copied from one to another.
/// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
pub fn partition(region: &str) -> &str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn route(source_prefix: &str, destination_prefix: &str) -> Route {
        Route {
            name: "r".into(),
            source: Side { bucket: "a".into(), prefix: source_prefix.into(), ..Side::default() },
            destination: Side { bucket: "b".into(), prefix: destination_prefix.into(), ..Side::default() },
            options: Options::default(),
        }
    }

    proptest! {
        #[test]
        fn keys_are_opaque(prefix in "\\PC{0,8}", rest in "\\PC{1,40}", put in "\\PC{0,8}") {
            let key = format!("{prefix}{rest}");
            prop_assert_eq!(route(&prefix, &put).destination_key(&key).unwrap(), format!("{put}{rest}"));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = Config::parse(&text);
        }
    }

    #[test]
    fn awkward_keys_stay_as_they_are() {
        for key in ["a//b", "/abs", "../up", "dir/", "a b+c%20", "\u{1F980}"] {
            assert_eq!(route("", "to/").destination_key(key).unwrap(), format!("to/{key}"));
        }
        assert!(route("", "p").destination_key(&"k".repeat(1024)).is_err());
        assert!(route("x", "").destination_key("x").is_err());
    }

    #[test]
    fn empty_text_means_absent() {
        let config = Config::parse(
            r#"{"routes":[{"name":"default",
                "source":{"bucket":"a","prefix":"","region":"","endpoint":"","pathStyle":false,"credentials":{"kind":"role"}},
                "destination":{"bucket":"b","region":"cn-north-1","credentials":{"kind":"secret","secret":"s"}},
                "options":{"storageClass":"","overwrite":"never"}}]}"#,
        )
        .unwrap();
        let route = config.route("a", "any").unwrap();
        assert_eq!((route.source.region.as_deref(), route.source.endpoint.as_deref()), (None, None));
        assert_eq!(route.destination.credentials, Credentials::Secret { secret: "s".into() });
        assert_eq!((route.options.storage_class.as_deref(), route.options.overwrite), (None, Overwrite::Never));
        assert_eq!(config.route("c", "any"), None);
    }

    #[test]
    fn a_store_has_one_name() {
        let store = |endpoint: &str| Side { endpoint: Some(endpoint.into()), ..Side::default() }.store();
        for aws in [
            "https://s3.amazonaws.com",
            "https://S3.eu-west-1.amazonaws.com/",
            "https://s3.cn-north-1.amazonaws.com.cn",
        ] {
            assert_eq!(store(aws), None, "{aws}");
        }
        assert_eq!(store("https://Store.example:443/"), Some("https://store.example".into()));
        assert_eq!(store("http://store.example:80/Path"), store("http://store.example/Path"));
        assert_ne!(store("http://store.example/Path"), store("http://store.example/path"));
        assert_ne!(store("http://store.example:9000"), store("http://store.example"));
        let mut circle = route("in/", "in/deeper/");
        circle.destination.bucket = "a".into();
        circle.source.endpoint = Some("https://store.example".into());
        circle.destination.endpoint = Some("https://STORE.example:443/".into());
        assert!(circle.check().unwrap_err().0.contains("under the source"));
    }

    #[test]
    fn a_store_copies_by_itself_only_within_itself() {
        let copies = |change: &dyn Fn(&mut Route)| {
            let mut route = route("", "");
            route.options.server_side_copy = ServerSideCopy::Auto;
            change(&mut route);
            route.copies_server_side()
        };
        let regions = |from: Option<&str>, to: Option<&str>| {
            copies(&|route| {
                (route.source.region, route.destination.region) = (from.map(Into::into), to.map(Into::into));
            })
        };
        assert!(regions(None, None) && regions(Some("eu-west-1"), Some("ap-east-1")));
        assert!(
            regions(Some("cn-north-1"), Some("cn-northwest-1"))
                && regions(Some("us-iso-east-1"), Some("us-iso-west-1"))
        );
        for other in
            ["cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "eusc-de-east-1"]
        {
            assert!(!regions(Some("us-east-1"), Some(other)), "{other}");
            assert!(!regions(Some(other), None), "{other}");
        }
        assert!(!regions(Some("us-iso-east-1"), Some("us-isob-east-1")) && !regions(None, Some("us-east-1")));

        let secret = |name: &str| Credentials::Secret { secret: name.into() };
        let signed = |from: Credentials, to: Credentials| {
            copies(&|route| {
                (route.source.credentials, route.destination.credentials) = (from.clone(), to.clone());
            })
        };
        assert!(signed(secret("a"), secret("a")));
        assert!(!signed(secret("a"), secret("b")) && !signed(secret("a"), Credentials::Role));
        assert!(!signed(Credentials::Anonymous, Credentials::Anonymous));

        let endpoint = |from: Option<&str>, to: Option<&str>| {
            copies(&|route| {
                (route.source.endpoint, route.destination.endpoint) = (from.map(Into::into), to.map(Into::into));
                route.source.region = Some("garage".into());
            })
        };
        assert!(endpoint(Some("https://s3.example"), Some("https://s3.example")));
        assert!(!endpoint(Some("https://s3.example"), Some("https://s4.example")));
        assert!(!endpoint(Some("https://s3.example"), None));
        assert!(!copies(&|route| route.source.bucket = "arn:aws:s3:us-east-1:1:accesspoint/x".into()));
        assert!(!copies(&|route| route.options.server_side_copy = ServerSideCopy::Off));
    }

    #[test]
    fn the_option_is_off_or_auto() {
        let parse = |text: &str| serde_json::from_str::<Options>(text).map(|options| options.server_side_copy);
        assert_eq!(parse("{}").unwrap(), ServerSideCopy::Off);
        assert_eq!(parse(r#"{"serverSideCopy":"off"}"#).unwrap(), ServerSideCopy::Off);
        assert_eq!(parse(r#"{"serverSideCopy":"auto"}"#).unwrap(), ServerSideCopy::Auto);
        assert!(parse(r#"{"serverSideCopy":true}"#).is_err());
        assert!(!serde_json::to_string(&Options::default()).unwrap().contains("serverSide"));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let error = |text: &str| Config::parse(text).unwrap_err().to_string();
        assert!(error(r#"{"routes":[{"source":{"bucket":"a"},"destination":{"bukket":"b"}}]}"#).contains("bukket"));
        assert!(
            error(r#"{"routes":[{"source":{"bucket":""},"destination":{"bucket":"b"}}]}"#).contains("source.bucket")
        );
        assert!(
            error(r#"{"routes":[{"source":{"bucket":"a"},"destination":{"bucket":"a","prefix":"to/"}}]}"#)
                .contains("under the source")
        );
        assert!(
            Config::parse(
                r#"{"routes":[{"source":{"bucket":"a","prefix":"in/"},"destination":{"bucket":"a","prefix":"out/"}}]}"#
            )
            .is_ok()
        );
    }
}
