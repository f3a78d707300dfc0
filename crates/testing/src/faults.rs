//! Which requests go wrong, and how.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::store::Store;

/// One way to go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fault {
    /// Answers with this status and error code, and does nothing else.
    Status {
        /// HTTP status.
        status: u16,
        /// The usual error code of the status if absent.
        #[serde(default)]
        code: Option<String>,
    },
    /// Answers 200 with an error inside, and does nothing else, as `CompleteMultipartUpload` may.
    ErrorInBody {
        /// The error code inside.
        code: String,
    },
    /// Closes the connection before the request has any effect.
    ResetBeforeRequest,
    /// Closes the connection after the request has had its effect.
    LoseReply,
    /// Closes the connection after this many bytes of the reply's body.
    CutBody {
        /// Bytes that still arrive. Over sockets these are the most: what is under way can be lost.
        after: u64,
    },
    /// Pauses the reply's body.
    StallBody {
        /// Bytes that arrive before the pause.
        after: u64,
        /// Milliseconds.
        for_ms: u64,
    },
    /// Inverts the lowest bit of one byte of the reply's body. Does nothing past its end.
    FlipResponse {
        /// Offset of the byte.
        at: u64,
    },
    /// Takes a header out of the reply, as a store does that does not know it.
    DropHeader {
        /// Its name, in small letters.
        name: String,
    },
    /// Inverts the lowest bit of one byte of the request's body as it is on the wire, which for
    /// chunked encodings contains headers and trailers. Does nothing past its end.
    FlipRequest {
        /// Offset of the byte.
        at: u64,
    },
    /// Waits before the request has any effect.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Waits after the request has had its effect.
    DelayReply {
        /// Milliseconds.
        ms: u64,
    },
}

impl Fault {
    /// The name under which it is counted and logged.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Status { .. } => "status",
            Fault::ErrorInBody { .. } => "errorInBody",
            Fault::ResetBeforeRequest => "resetBeforeRequest",
            Fault::LoseReply => "loseReply",
            Fault::CutBody { .. } => "cutBody",
            Fault::StallBody { .. } => "stallBody",
            Fault::FlipResponse { .. } => "flipResponse",
            Fault::DropHeader { .. } => "dropHeader",
            Fault::FlipRequest { .. } => "flipRequest",
            Fault::Delay { .. } => "delay",
            Fault::DelayReply { .. } => "delayReply",
        }
    }
}

/// Which requests, and how often. Absent conditions match everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rule {
    /// The operation's name in the S3 API, such as `UploadPart`.
    pub operation: Option<String>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The whole key.
    pub key: Option<String>,
    /// The beginning of the key.
    pub key_prefix: Option<String>,
    /// The part number.
    pub part_number: Option<u32>,
    /// The first matching request that goes wrong, from 1.
    pub nth: u64,
    /// From there on, every how-many-eth matching request.
    pub every: u64,
    /// How many go wrong in all; 0 for no end.
    pub times: u64,
    /// What goes wrong. Nothing only for a rule that runs code.
    pub what: Option<Fault>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            operation: None,
            bucket: None,
            key: None,
            key_prefix: None,
            part_number: None,
            nth: 1,
            every: 1,
            times: 1,
            what: None,
        }
    }
}

impl Rule {
    /// The first request of this operation.
    pub fn on(operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::default() }
    }

    /// Only this key.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Only this part number.
    pub fn part(mut self, number: u32) -> Self {
        self.part_number = Some(number);
        self
    }

    /// From the `n`th matching request on, counted from 1.
    pub fn nth(mut self, n: u64) -> Self {
        self.nth = n;
        self
    }

    /// Only every `n`th matching request.
    pub fn every(mut self, n: u64) -> Self {
        self.every = n;
        self
    }

    /// At most so many; 0 for no end.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// What goes wrong.
    pub fn fails(mut self, what: Fault) -> Self {
        self.what = Some(what);
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let key = call.key.as_deref().unwrap_or_default();
        self.operation.as_ref().is_none_or(|o| *o == call.operation)
            && self.bucket.as_ref().is_none_or(|b| *b == call.bucket)
            && self.key.as_ref().is_none_or(|k| k == key)
            && self.key_prefix.as_ref().is_none_or(|p| key.starts_with(p.as_str()))
            && self.part_number.is_none_or(|n| Some(n) == call.part_number)
    }
}

/// Faults at random, in a sequence that the seed decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Random {
    /// Seed of the sequence.
    pub seed: u64,
    /// Operation -> probability from 0 to 1; `*` stands for operations not named.
    pub probability: BTreeMap<String, f64>,
    /// One of these is chosen.
    pub what: Vec<Fault>,
    /// How many go wrong in all; 0 for no end.
    #[serde(default)]
    pub limit: u64,
}

/// All that shall go wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FaultPlan {
    /// Every rule that matches a request applies to it.
    pub rules: Vec<Rule>,
    /// Applies where no rule does.
    pub random: Option<Random>,
}

type Hook = Arc<dyn Fn(&Store, &Call) + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Action {
    Fault(Fault),
    Run(Hook),
}

struct Counted {
    rule: Rule,
    action: Action,
    seen: u64,
    fired: u64,
}

impl Counted {
    fn fires(&mut self, call: &Call) -> bool {
        if !self.rule.matches(call) {
            return false;
        }
        self.seen += 1;
        let due = self.seen >= self.rule.nth.max(1)
            && (self.seen - self.rule.nth.max(1)).is_multiple_of(self.rule.every.max(1))
            && (self.rule.times == 0 || self.fired < self.rule.times);
        self.fired += u64::from(due);
        due
    }
}

#[derive(Default)]
struct Inner {
    rules: Vec<Counted>,
    random: Option<(Random, StdRng, u64)>,
    counts: BTreeMap<String, u64>,
}

/// The faults of one endpoint, and how many were injected. Clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Inner>>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces everything planned before. The counts of injected faults stay.
    pub fn plan(&self, plan: FaultPlan) {
        let mut inner = self.lock();
        inner.rules.clear();
        inner.random = plan.random.map(|r| {
            let rng = StdRng::seed_from_u64(r.seed);
            (r, rng, 0)
        });
        drop(inner);
        plan.rules.into_iter().for_each(|rule| self.add(rule));
    }

    /// Adds a rule. One without a fault does nothing.
    pub fn add(&self, rule: Rule) {
        if let Some(fault) = rule.what.clone() {
            let action = Action::Fault(fault);
            self.lock().rules.push(Counted { rule, action, seen: 0, fired: 0 });
        }
    }

    /// Runs `hook` before a matching request takes effect, as another writer would that comes in
    /// between.
    pub fn before(&self, rule: Rule, hook: impl Fn(&Store, &Call) + Send + Sync + 'static) {
        let action = Action::Run(Arc::new(hook));
        self.lock().rules.push(Counted { rule, action, seen: 0, fired: 0 });
    }

    /// Forgets everything planned. The counts stay.
    pub fn clear(&self) {
        self.plan(FaultPlan::default());
    }

    /// How many faults were injected, by name.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    /// How many faults were injected in all.
    pub fn total(&self) -> u64 {
        self.lock().counts.values().sum()
    }

    pub(crate) fn decide(&self, call: &Call) -> Vec<Action> {
        let mut inner = self.lock();
        let mut actions = Vec::new();
        for counted in &mut inner.rules {
            if counted.fires(call) {
                actions.push(counted.action.clone());
            }
        }
        if actions.is_empty()
            && let Some((random, rng, fired)) = &mut inner.random
            && (random.limit == 0 || *fired < random.limit)
            && !random.what.is_empty()
        {
            let named = random.probability.get(&call.operation);
            let p = named.or_else(|| random.probability.get("*")).copied().unwrap_or_default();
            if p > 0.0 && rng.random_bool(p.min(1.0)) {
                let fault = random.what[rng.random_range(0..random.what.len())].clone();
                *fired += 1;
                actions.push(Action::Fault(fault));
            }
        }
        for action in &actions {
            if let Action::Fault(fault) = action {
                *inner.counts.entry(fault.name().to_owned()).or_default() += 1;
            }
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn call(operation: &str) -> Call {
        Call { operation: operation.to_owned(), ..Call::default() }
    }

    #[test]
    fn a_rule_fires_when_it_is_due() {
        let faults = Faults::default();
        faults.add(Rule::on("PutObject").nth(2).every(2).times(2).fails(Fault::LoseReply));
        let fired: Vec<usize> = (1..10)
            .filter(|_| faults.decide(&call("GetObject")).is_empty())
            .filter(|_| !faults.decide(&call("PutObject")).is_empty())
            .collect();
        assert_eq!(fired, [2, 4]);
        assert_eq!(faults.total(), 2);
    }

    #[test]
    fn a_plan_is_json_and_its_chances_repeat() {
        let text = r#"{"rules":[{"operation":"UploadPart","keyPrefix":"a/","nth":3,
            "what":{"status":{"status":503}}},{"what":"loseReply"}],
            "random":{"seed":7,"probability":{"*":0.5},"what":[{"cutBody":{"after":9}}],"limit":20}}"#;
        let plan: FaultPlan = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::from_value::<FaultPlan>(serde_json::to_value(&plan).unwrap()).unwrap(), plan);
        let draw = || {
            let faults = Faults::default();
            faults.plan(plan.clone());
            (0..100).map(|_| faults.decide(&call("GetObject")).len()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert_eq!(draw().iter().sum::<usize>(), 21);
    }
}
