//! What AWS charges: a table that users may edit.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The table of this release: the list prices of us-east-1, without free tiers and discounts.
pub const PRICES: &str = include_str!("../../prices.json");

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
            /// The page that states them.
            pub source: String,
            /// The day on which it did.
            pub as_of: String,
        }
    };
}

/// Prices, in the table's currency.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// The Region that they are of.
    pub region: String,
    /// Their currency.
    pub currency: String,
    /// Requests to S3.
    pub s3: S3Prices,
    /// Bytes that leave the source.
    pub transfer: TransferPrices,
    /// Functions.
    pub lambda: LambdaPrices,
    /// State machines.
    pub step_functions: StepFunctionsPrices,
    /// The ledger.
    pub dynamo_db: DynamoDbPrices,
    /// Keys.
    pub kms: KmsPrices,
    /// Logs.
    pub logs: LogsPrices,
    /// Queues.
    pub sqs: SqsPrices,
}

table!(
    /// Requests to S3 Standard.
    S3Prices {
        /// A thousand PUT, COPY, POST and LIST requests; parts, and the beginning and end of an upload, are such.
        writes_per_thousand: f64,
        /// A thousand GET and HEAD requests. DELETE costs nothing.
        reads_per_thousand: f64,
    }
);
table!(
    /// Transfer by GB (1,073,741,824 bytes), in steps.
    TransferPrices {
        /// To the internet, other clouds and other partitions.
        to_internet_per_gb: Vec<Step>,
        /// To another Region of the same partition.
        between_regions_per_gb: Vec<Step>,
    }
);
table!(
    /// Functions.
    LambdaPrices {
        /// A GB of memory for a second on arm64.
        arm64_per_gb_second: f64,
        /// The same on x86.
        x86_per_gb_second: f64,
        /// A million invocations.
        requests_per_million: f64,
    }
);
table!(
    /// Standard workflows.
    StepFunctionsPrices {
        /// A thousand state transitions.
        transitions_per_thousand: f64,
    }
);
table!(
    /// Tables on demand.
    DynamoDbPrices {
        /// A million writes of up to 1 KB.
        write_units_per_million: f64,
        /// A million consistent reads of up to 4 KB.
        read_units_per_million: f64,
    }
);
table!(
    /// Keys.
    KmsPrices {
        /// Ten thousand requests.
        requests_per_ten_thousand: f64,
    }
);
table!(
    /// CloudWatch Logs.
    LogsPrices {
        /// A GB taken in.
        ingested_per_gb: f64,
    }
);
table!(
    /// Standard queues.
    SqsPrices {
        /// A million requests.
        requests_per_million: f64,
    }
);

/// A step of a price that falls with the amount.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Up to so many GB in all; without end where absent.
    #[serde(default)]
    pub up_to_gb: Option<f64>,
    /// The price of one of them.
    pub dollars: f64,
}

/// Bytes of a GB, as AWS bills it.
pub const GB: f64 = 1_073_741_824.0;

/// The price of so many bytes.
pub fn stepped(steps: &[Step], bytes: u64) -> f64 {
    let gb = bytes as f64 / GB;
    let mut from = 0.0;
    let mut sum = 0.0;
    for step in steps {
        let to = step.up_to_gb.map_or(gb, |to| to.min(gb));
        sum += (to - from).max(0.0) * step.dollars;
        from = to.max(from);
    }
    sum
}

impl Default for Prices {
    /// The table of this release.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a test reads the same text")]
        Self::parse(PRICES).expect("the table of this release can be read")
    }
}

impl Prices {
    /// Reads a table. The error names the field that lacks, is unknown, or is no price.
    pub fn parse(json: &str) -> Result<Self, String> {
        let mut all: serde_json::Map<String, Value> =
            serde_json::from_str(json).map_err(|error| format!("no table of prices: {error}"))?;
        let prices = Self {
            region: taken(&mut all, "region")?,
            currency: taken(&mut all, "currency")?,
            s3: taken(&mut all, "s3")?,
            transfer: taken(&mut all, "transfer")?,
            lambda: taken(&mut all, "lambda")?,
            step_functions: taken(&mut all, "stepFunctions")?,
            dynamo_db: taken(&mut all, "dynamoDb")?,
            kms: taken(&mut all, "kms")?,
            logs: taken(&mut all, "logs")?,
            sqs: taken(&mut all, "sqs")?,
        };
        if let Some(unknown) = all.keys().next() {
            return Err(format!("prices: unknown field {unknown:?}"));
        }
        let steps = [
            ("transfer.toInternetPerGb", &prices.transfer.to_internet_per_gb),
            ("transfer.betweenRegionsPerGb", &prices.transfer.between_regions_per_gb),
        ];
        for (name, steps) in steps {
            let ends = steps.iter().map(|step| step.up_to_gb.unwrap_or(f64::INFINITY));
            if !ends.clone().is_sorted_by(|one, next| one < next) || ends.clone().next_back() != Some(f64::INFINITY) {
                return Err(format!("prices: {name}: each step ends behind the one before, the last has no upToGb"));
            }
        }
        Ok(prices)
    }
}

fn taken<T: DeserializeOwned>(all: &mut serde_json::Map<String, Value>, name: &str) -> Result<T, String> {
    let value = all.remove(name).ok_or_else(|| format!("prices: no field {name:?}"))?;
    if let Some(field) = negative(&value) {
        return Err(format!("prices: {name}{field}: a price below nothing"));
    }
    serde_json::from_value(value).map_err(|error| format!("prices: {name}: {error}"))
}

/// Where a number below zero stands.
fn negative(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| *number < 0.0).map(|_| String::new()),
        Value::Array(values) => {
            values.iter().enumerate().find_map(|(index, value)| Some(format!("[{index}]{}", negative(value)?)))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| Some(format!(".{name}{}", negative(value)?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_table_of_this_release_is_whole() {
        let prices = Prices::parse(PRICES).unwrap();
        assert_eq!(prices, Prices::default());
        assert!(prices.s3.writes_per_thousand > prices.s3.reads_per_thousand);
    }

    #[test]
    fn wrong_tables_name_the_field() {
        let wrong = |from: &str, to: &str| Prices::parse(&PRICES.replacen(from, to, 1)).unwrap_err();
        for (from, to, told) in [
            ("writesPerThousand", "writesPer1000", "s3: unknown field `writesPer1000`"),
            ("\"readsPerThousand\": 0.0004", "\"readsPerThousand\": \"0.0004\"", "s3"),
            ("\"arm64PerGbSecond\": 0", "\"arm64PerGbSecond\": -1", "lambda.arm64PerGbSecond"),
            ("\"dollars\": 0.085", "\"dollars\": -0.085", "transfer.toInternetPerGb[1].dollars"),
            ("\"upToGb\": 51200", "\"upToGb\": 5", "transfer.toInternetPerGb"),
            ("\"sqs\"", "\"sns\"", "no field \"sqs\""),
            ("\"region\"", "\"more\": 1, \"region\"", "unknown field \"more\""),
        ] {
            let error = wrong(from, to);
            assert!(error.contains(told), "{error}");
        }
        assert!(Prices::parse("[]").unwrap_err().contains("no table"));
    }

    #[test]
    fn steps_fall_where_they_end() {
        let steps = &Prices::default().transfer.to_internet_per_gb;
        let gb = |count: u64| stepped(steps, count << 30);
        assert!((gb(10) - 0.9).abs() < 1e-9);
        assert!((gb(10_240 + 100) - (921.6 + 8.5)).abs() < 1e-6);
        assert!((gb(1_000_000) - (921.6 + 3_481.6 + 7_168.0 + 42_320.0)).abs() < 1e-3);
        assert_eq!(stepped(&[], 1 << 40), 0.0);
    }
}
