use std::time::Duration;

use rand::Rng;

use crate::error::{self, DefinitionError};
use crate::fields::Fields;
use crate::json::Json;
use crate::path::Path;

/// The largest number that a retrier's integers may have.
///
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>
const MOST: u64 = 99_999_999;
/// `MaxDelaySeconds` is less than this many seconds, a leap year (same source).
const LEAP_YEAR: u64 = 31_622_400;

/// How long and how often a state is tried again after some errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrier {
    /// The error names; never empty.
    pub error_equals: Vec<String>,
    /// Seconds before the first retry; 1 if not given.
    pub interval_seconds: u64,
    /// What each delay is multiplied by; 2.0 if not given.
    pub backoff_rate: f64,
    /// The longest delay, in seconds.
    pub max_delay_seconds: Option<u64>,
    /// How many retries; 3 if not given.
    pub max_attempts: u64,
    /// Whether delays are spread; `None` if not given.
    pub jitter: Jitter,
}

/// `JitterStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// A delay is drawn uniformly between nothing and the computed one.
    Full,
    /// The computed delay.
    None,
}

/// Where some errors lead, once the retries are spent.
#[derive(Clone, Debug, PartialEq)]
pub struct Catcher {
    /// The error names; never empty.
    pub error_equals: Vec<String>,
    /// Where `{"Error", "Cause"}` is put in the state's input; `None` (`null`) drops it.
    pub result_path: Option<Path>,
    /// The state that follows.
    pub next: String,
}

impl Retrier {
    pub(crate) fn parse_all(state: &Fields<'_>) -> Result<Vec<Self>, DefinitionError> {
        let all = state.objects("Retry")?;
        let last = all.len().saturating_sub(1);
        all.iter().enumerate().map(|(index, fields)| Self::parse(fields, index == last)).collect()
    }

    fn parse(fields: &Fields<'_>, last: bool) -> Result<Self, DefinitionError> {
        fields.only(&[
            "Comment",
            "ErrorEquals",
            "IntervalSeconds",
            "BackoffRate",
            "MaxDelaySeconds",
            "MaxAttempts",
            "JitterStrategy",
        ])?;
        fields.text("Comment")?;
        let backoff_rate = fields.number("BackoffRate")?.unwrap_or(2.0);
        if backoff_rate.is_nan() || backoff_rate < 1.0 {
            return Err(fields.error("BackoffRate", "must be at least 1.0"));
        }
        let interval_seconds = fields.integer("IntervalSeconds", 1, MOST)?.unwrap_or(1);
        let max_delay_seconds = fields.integer("MaxDelaySeconds", 1, LEAP_YEAR - 1)?;
        if max_delay_seconds.is_some_and(|most| most <= interval_seconds) {
            return Err(fields.error("MaxDelaySeconds", "must exceed IntervalSeconds"));
        }
        let jitter = match fields.text("JitterStrategy")?.as_deref() {
            None | Some("NONE") => Jitter::None,
            Some("FULL") => Jitter::Full,
            Some(_) => return Err(fields.error("JitterStrategy", "is FULL or NONE")),
        };
        Ok(Self {
            error_equals: error_equals(fields, last)?,
            interval_seconds,
            backoff_rate,
            max_delay_seconds,
            max_attempts: fields.integer("MaxAttempts", 0, MOST)?.unwrap_or(3),
            jitter,
        })
    }

    /// The delay before the retry that follows `spent` earlier ones of this retrier.
    fn delay(&self, spent: u64, rng: &mut impl Rng) -> Duration {
        let exponent = i32::try_from(spent).unwrap_or(i32::MAX);
        #[allow(clippy::cast_precision_loss)] // both stay far below 2^53
        let (interval, most) = (self.interval_seconds as f64, self.max_delay_seconds.unwrap_or(MOST) as f64);
        let computed = (interval * self.backoff_rate.powi(exponent)).min(most);
        match self.jitter {
            Jitter::None => Duration::from_secs_f64(computed),
            Jitter::Full => Duration::from_secs_f64(rng.random_range(0.0..=computed)),
        }
    }
}

impl Catcher {
    pub(crate) fn parse_all(state: &Fields<'_>) -> Result<Vec<Self>, DefinitionError> {
        let all = state.objects("Catch")?;
        let last = all.len().saturating_sub(1);
        all.iter().enumerate().map(|(index, fields)| Self::parse(fields, index == last)).collect()
    }

    fn parse(fields: &Fields<'_>, last: bool) -> Result<Self, DefinitionError> {
        fields.only(&["Comment", "ErrorEquals", "ResultPath", "Next"])?;
        fields.text("Comment")?;
        Ok(Self {
            error_equals: error_equals(fields, last)?,
            result_path: fields.result_path()?,
            next: fields.require_text("Next")?,
        })
    }

    /// The first of `catchers` that catches `error`.
    pub(crate) fn of<'c>(catchers: &'c [Self], error: &str) -> Option<&'c Self> {
        catchers.iter().find(|catcher| matches(&catcher.error_equals, error))
    }
}

fn error_equals(fields: &Fields<'_>, last: bool) -> Result<Vec<String>, DefinitionError> {
    let refuse = |message: String| fields.error("ErrorEquals", message);
    let Json::Array(items) = fields.require("ErrorEquals")? else {
        return Err(refuse("must be an array".to_owned()));
    };
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let name = item.as_str().ok_or_else(|| refuse("must hold strings".to_owned()))?;
        if name.is_empty() {
            return Err(refuse("holds an empty name".to_owned()));
        }
        if name.starts_with("States.") && !error::RESERVED.contains(&name) {
            return Err(refuse(format!("{name} is no name that Step Functions knows")));
        }
        names.push(name.to_owned());
    }
    if names.is_empty() {
        return Err(refuse("must not be empty".to_owned()));
    }
    if names.iter().any(|name| name == error::ALL) && (names.len() > 1 || !last) {
        return Err(refuse("States.ALL stands alone, and last".to_owned()));
    }
    Ok(names)
}

/// Whether `ErrorEquals` matches an error.
///
/// `States.Runtime` always ends the execution. `States.DataLimitExceeded` is matched by its own
/// name only. Neither wildcard knows a prefix: every other name is exact.
pub(crate) fn matches(error_equals: &[String], error: &str) -> bool {
    if error == error::RUNTIME {
        return false;
    }
    error_equals.iter().any(|name| {
        name == error
            || (name == error::ALL && error != error::DATA_LIMIT)
            || (name == error::TASK_FAILED && error != error::DATA_LIMIT && error != error::TIMEOUT)
    })
}

/// What one visit to a state has spent of its retriers.
#[derive(Debug)]
pub(crate) struct Retries<'d> {
    retriers: &'d [Retrier],
    spent: Vec<u64>,
}

impl<'d> Retries<'d> {
    pub(crate) fn new(retriers: &'d [Retrier]) -> Self {
        Self { retriers, spent: vec![0; retriers.len()] }
    }

    /// The delay before the next attempt, or `None` if the first retrier that matches is spent.
    pub(crate) fn next(&mut self, error: &str, rng: &mut impl Rng) -> Option<Duration> {
        let (retrier, spent) =
            self.retriers.iter().zip(&mut self.spent).find(|(retrier, _)| matches(&retrier.error_equals, error))?;
        if *spent >= retrier.max_attempts {
            return None;
        }
        let delay = retrier.delay(*spent, rng);
        *spent += 1;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::{Value, json};

    use super::*;

    fn parse(retry: &Value) -> Result<Vec<Retrier>, DefinitionError> {
        let json: Json = serde_json::from_str(&json!({"Retry": retry}).to_string()).unwrap();
        Retrier::parse_all(&Fields::of("S", false, &json)?)
    }

    #[test]
    fn defaults() {
        let all = parse(&json!([{"ErrorEquals": ["A"]}])).unwrap();
        assert_eq!(
            all,
            [Retrier {
                error_equals: vec!["A".into()],
                interval_seconds: 1,
                backoff_rate: 2.0,
                max_delay_seconds: None,
                max_attempts: 3,
                jitter: Jitter::None
            }]
        );
    }

    #[test]
    fn each_retrier_counts_for_itself_and_the_first_that_matches_decides() {
        let all = parse(&json!([
            {"ErrorEquals": ["A", "B"], "IntervalSeconds": 1, "BackoffRate": 2.0, "MaxAttempts": 2},
            {"ErrorEquals": ["C"], "IntervalSeconds": 5, "MaxDelaySeconds": 7, "MaxAttempts": 3},
            {"ErrorEquals": ["States.ALL"], "MaxAttempts": 0}
        ]))
        .unwrap();
        let mut retries = Retries::new(&all);
        let mut rng = StdRng::seed_from_u64(1);
        let mut next = |error: &str| retries.next(error, &mut rng).map(|delay| delay.as_secs());
        assert_eq!(next("A"), Some(1));
        assert_eq!(next("C"), Some(5));
        assert_eq!(next("B"), Some(2));
        assert_eq!(next("C"), Some(7));
        assert_eq!(next("B"), None);
        assert_eq!(next("C"), Some(7));
        assert_eq!(next("C"), None);
        assert_eq!(next("D"), None);
    }

    #[test]
    fn full_jitter_spreads_over_the_whole_delay() {
        let all = parse(&json!([{
            "ErrorEquals": ["A"], "IntervalSeconds": 8, "BackoffRate": 1.0, "MaxAttempts": 1000, "JitterStrategy": "FULL"
        }]))
        .unwrap();
        let draw = |seed: u64| {
            let mut retries = Retries::new(&all);
            let mut rng = StdRng::seed_from_u64(seed);
            std::iter::from_fn(|| retries.next("A", &mut rng)).collect::<Vec<_>>()
        };
        let delays = draw(7);
        assert_eq!(delays.len(), 1000);
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(8)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_secs(1)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_secs(7)));
        assert_eq!(delays, draw(7));
        assert_ne!(delays, draw(8));
    }

    #[test]
    fn an_endless_backoff_stays_finite() {
        let all = parse(&json!([{"ErrorEquals": ["A"], "BackoffRate": 1e300, "MaxAttempts": 9}])).unwrap();
        let mut retries = Retries::new(&all);
        let mut rng = StdRng::seed_from_u64(1);
        let delays: Vec<_> = std::iter::from_fn(|| retries.next("A", &mut rng)).collect();
        assert_eq!(delays.last(), Some(&Duration::from_secs(MOST)));
    }

    #[test]
    fn wildcards() {
        let on = |name: &str, error: &str| matches(&[name.to_owned()], error);
        assert!(on("Transient", "Transient"));
        assert!(!on("Transient", "Transient2"));
        assert!(!on("Lambda.ServiceException", "Lambda.Service"));
        assert!(on("States.ALL", "Anything"));
        assert!(on("States.ALL", "States.Timeout"));
        assert!(!on("States.ALL", "States.DataLimitExceeded"));
        assert!(!on("States.ALL", "States.Runtime"));
        assert!(on("States.DataLimitExceeded", "States.DataLimitExceeded"));
        assert!(!on("States.Runtime", "States.Runtime"));
        assert!(on("States.TaskFailed", "Anything"));
        assert!(!on("States.TaskFailed", "States.Timeout"));
        assert!(!on("States.TaskFailed", "States.DataLimitExceeded"));
    }

    #[test]
    fn refuses() {
        for (retry, field) in [
            (json!({}), "Retry"),
            (json!([{}]), "Retry[0].ErrorEquals"),
            (json!([{"ErrorEquals": []}]), "Retry[0].ErrorEquals"),
            (json!([{"ErrorEquals": "A"}]), "Retry[0].ErrorEquals"),
            (json!([{"ErrorEquals": [1]}]), "Retry[0].ErrorEquals"),
            (json!([{"ErrorEquals": ["States.All"]}]), "Retry[0].ErrorEquals"),
            (json!([{"ErrorEquals": ["States.ALL", "A"]}]), "Retry[0].ErrorEquals"),
            (json!([{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["A"]}]), "Retry[0].ErrorEquals"),
            (json!([{"ErrorEquals": ["A"], "IntervalSeconds": 0}]), "Retry[0].IntervalSeconds"),
            (json!([{"ErrorEquals": ["A"], "IntervalSeconds": 1.5}]), "Retry[0].IntervalSeconds"),
            (json!([{"ErrorEquals": ["A"], "BackoffRate": 0.5}]), "Retry[0].BackoffRate"),
            (json!([{"ErrorEquals": ["A"], "MaxDelaySeconds": 1}]), "Retry[0].MaxDelaySeconds"),
            (json!([{"ErrorEquals": ["A"], "MaxAttempts": -1}]), "Retry[0].MaxAttempts"),
            (json!([{"ErrorEquals": ["A"], "JitterStrategy": "HALF"}]), "Retry[0].JitterStrategy"),
            (json!([{"ErrorEquals": ["A"], "Jitter": "FULL"}]), "Retry[0].Jitter"),
        ] {
            assert_eq!(parse(&retry).unwrap_err().field, field, "{retry}");
        }
    }
}
