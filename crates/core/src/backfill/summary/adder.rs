//! Adds up what the executions of a run recorded, in bounded memory, whatever their order.

use super::throughput::Throughput;
use crate::contract::{Exception, ExecutionOutcome};
use crate::names::{short_execution, successor_name};
use crate::outcome::{Outcome, SkipReason};
use crate::tally::Tally;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most objects of [`Adder::slowest`].
pub const SLOWEST_KEPT: usize = 20;
/// Most objects of [`Failures::first`].
pub const FAILURES_KEPT: usize = 50;
/// Most names of [`Unfinished::first`].
pub const UNFINISHED_KEPT: usize = 20;

/// What was added up. It is parked as JSON between two rounds of a long report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adder {
    /// What became of the objects.
    pub tally: Tally,
    /// What executions did whose manifest was carried out again later: the later one is what counts.
    pub superseded: Tally,
    /// Manifests of the run.
    pub manifests: u64,
    /// Outcome objects, the superseded ones included.
    pub executions: u64,
    /// When the last of them was written, milliseconds since 1970.
    pub ended_ms: u64,
    /// Manifests without an outcome for each of their objects.
    pub unfinished: Unfinished,
    /// Bytes of migrated objects over time, the superseded ones included.
    pub throughput: Throughput,
    /// The slowest objects, the slowest first.
    pub slowest: Vec<SlowObject>,
    /// The failed objects.
    pub failures: Failures,
    /// Skipped objects by reason.
    pub skipped: BTreeMap<String, u64>,
}

/// Manifests without an outcome for each of their objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfinished {
    /// How many.
    pub manifests: u64,
    /// Their objects that have no outcome.
    pub objects: u64,
    /// Names of some of them, at most [`UNFINISHED_KEPT`].
    pub first: Vec<String>,
}

/// An object that took long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowObject {
    /// Its key at the source.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Milliseconds from its beginning to its outcome.
    pub ms: u64,
    /// Its bytes a second.
    pub bytes_per_second: u64,
}

/// Failed objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// How many, by the name of the error.
    pub by_name: BTreeMap<String, u64>,
    /// The first of them in the order of their keys, at most [`FAILURES_KEPT`].
    pub first: BTreeSet<FailedObject>,
}

/// A failed object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedObject {
    /// Its key at the source.
    pub key: String,
    /// Its bucket.
    pub bucket: String,
    /// Its size in bytes, where it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The error's name.
    pub name: String,
    /// What happened.
    pub message: String,
}

impl Adder {
    /// Nothing yet, of a run that began at this time.
    pub fn new(started_ms: u64) -> Self {
        Self {
            tally: Tally::default(),
            superseded: Tally::default(),
            manifests: 0,
            executions: 0,
            ended_ms: 0,
            unfinished: Unfinished::default(),
            throughput: Throughput::from(started_ms),
            slowest: Vec::new(),
            failures: Failures::default(),
            skipped: BTreeMap::new(),
        }
    }

    /// Adds the outcome of one execution.
    pub fn add(&mut self, outcome: &ExecutionOutcome) {
        self.add_chain(&[outcome]);
    }

    /// Adds an execution with its successors. Its bytes are spread over the time of all of them: a large object counts
    /// for the one that completed it, but each of them moved some of it.
    pub fn add_chain(&mut self, chain: &[&ExecutionOutcome]) {
        let tally = self.count(chain);
        self.tally += tally;
        for outcome in chain {
            for slow in &outcome.slowest {
                let bytes_per_second = slow.bytes.saturating_mul(1_000) / slow.ms.max(1);
                self.slowest.push(SlowObject {
                    key: slow.key.clone(),
                    bytes: slow.bytes,
                    ms: slow.ms,
                    bytes_per_second,
                });
            }
            for exception in &outcome.exceptions {
                self.except(exception);
            }
        }
        self.slowest.sort_unstable_by(|one, other| {
            other.ms.cmp(&one.ms).then_with(|| (&one.key, one.bytes).cmp(&(&other.key, other.bytes)))
        });
        self.slowest.truncate(SLOWEST_KEPT);
    }

    /// Adds an execution with its successors whose manifest was carried out again: only its time and its bytes tell
    /// anything.
    pub fn add_superseded(&mut self, chain: &[&ExecutionOutcome]) {
        let tally = self.count(chain);
        self.superseded += tally;
    }

    /// Adds a manifest `objects` of whose objects have no outcome.
    pub fn add_unfinished(&mut self, name: &str, objects: u64) {
        self.unfinished.manifests += 1;
        self.unfinished.objects += objects;
        let first = &mut self.unfinished.first;
        let place = first.partition_point(|other| other.as_str() < name);
        first.insert(place, name.to_owned());
        first.truncate(UNFINISHED_KEPT);
    }

    fn count(&mut self, chain: &[&ExecutionOutcome]) -> Tally {
        self.executions += chain.len() as u64;
        let tally: Tally = chain.iter().map(|outcome| outcome.tally).sum();
        let told = chain.iter().map(|outcome| outcome.started_ms).filter(|ms| *ms > 0);
        let ended = chain.iter().map(|outcome| outcome.ended_ms).max().unwrap_or_default();
        self.ended_ms = self.ended_ms.max(ended);
        self.throughput.add(tally.bytes, told.min().unwrap_or_default(), ended);
        tally
    }

    fn except(&mut self, exception: &Exception) {
        match &exception.outcome {
            Outcome::Failed { failure } => {
                *self.failures.by_name.entry(failure.name.clone()).or_default() += 1;
                self.failures.first.insert(FailedObject {
                    key: exception.object.key.clone(),
                    bucket: exception.object.bucket.clone(),
                    size: exception.object.size,
                    name: failure.name.clone(),
                    message: failure.message.clone(),
                });
                if self.failures.first.len() > FAILURES_KEPT {
                    self.failures.first.pop_last();
                }
            }
            Outcome::Skipped { reason } => *self.skipped.entry(skip_name(*reason).to_owned()).or_default() += 1,
            Outcome::Migrated { .. } | Outcome::Unchanged { .. } => {}
        }
    }
}

/// A reason to skip, as the reports name it.
pub fn skip_name(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::SourceGone => "sourceGone",
        SkipReason::Superseded => "superseded",
        SkipReason::Exists => "exists",
    }
}

/// An execution with its successors, in their order.
pub type Chain<'a> = Vec<&'a ExecutionOutcome>;

/// Sorts the outcomes of one attempt at one manifest into chains: each an execution with its successors.
///
/// There is more than one where the manifest was begun twice, after a lost reply. The one that counts comes last: one
/// that came to its end before one that did not, then the one that ended later.
pub fn chains<'a>(outcomes: &'a [ExecutionOutcome]) -> Vec<Chain<'a>> {
    let next: BTreeMap<String, &'a ExecutionOutcome> =
        outcomes.iter().map(|outcome| (short_execution(&outcome.execution).to_owned(), outcome)).collect();
    let successors: BTreeSet<String> = outcomes.iter().map(|outcome| successor_name(&outcome.execution)).collect();
    let firsts = outcomes.iter().filter(|outcome| !successors.contains(short_execution(&outcome.execution)));
    let mut chains: Vec<Chain> = firsts
        .map(|first| {
            // No name is the hash of itself or of what follows from it, so this comes to an end.
            // What was settled from outside answers for its successor's objects too.
            let follow = |last: &&'a ExecutionOutcome| next.get(&successor_name(&last.execution)).copied();
            std::iter::successors(Some(first), |last| follow(last).filter(|_| last.continued)).collect()
        })
        .collect();
    chains.sort_by_key(|chain| {
        let last = chain.last();
        (last.is_some_and(|last| !last.continued), last.map(|last| (last.ended_ms, last.execution.clone())))
    });
    chains
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Slowest;
    use crate::error::Failure;
    use crate::request::ObjectRef;
    use proptest::prelude::*;

    fn outcome(execution: &str, migrated: u64, continued: bool, ended_ms: u64) -> ExecutionOutcome {
        let tally = Tally { migrated, bytes: migrated * 100, ..Tally::default() };
        ExecutionOutcome {
            execution: execution.into(),
            tally,
            continued,
            started_ms: ended_ms.saturating_sub(1_000),
            ended_ms,
            slowest: Vec::new(),
            exceptions: Vec::new(),
        }
    }

    fn arn(name: &str) -> String {
        format!("arn:aws:states:eu-west-1:1:execution:m:{name}")
    }

    #[test]
    fn successors_follow_their_execution() {
        let first = arn("first");
        let second = arn(&successor_name(&first));
        let third = arn(&successor_name(&second));
        let (late, lone) = (arn("late"), arn("lone"));
        let outcomes = [
            outcome(&late, 1, true, 9_000),
            outcome(&third, 3, false, 5_000),
            outcome(&lone, 6, false, 4_000),
            outcome(&first, 1, true, 1_000),
            outcome(&second, 2, true, 3_000),
        ];
        let chains = chains(&outcomes);
        let names: Vec<Vec<&str>> =
            chains.iter().map(|chain| chain.iter().map(|outcome| outcome.execution.as_str()).collect()).collect();
        assert_eq!(names, [vec![late.as_str()], vec![lone.as_str()], vec![&first, &second, &third]]);
        let mut adder = Adder::new(0);
        adder.add_chain(&chains[2]);
        adder.add_superseded(&chains[1]);
        assert_eq!((adder.tally.migrated, adder.superseded.migrated, adder.executions), (6, 6, 4));
        assert_eq!(adder.throughput.total(), 1_200);
    }

    fn any_outcome() -> impl Strategy<Value = ExecutionOutcome> {
        let exception = ("[a-f]{1,2}", 0..3_u8).prop_map(|(key, kind)| Exception {
            object: ObjectRef { bucket: "b".into(), key, ..ObjectRef::default() },
            outcome: match kind {
                0 => Outcome::Skipped { reason: SkipReason::SourceGone },
                1 => Outcome::Failed { failure: Failure::new("TooSlow", "it was") },
                _ => Outcome::Failed { failure: Failure::new("Rejected", "no") },
            },
        });
        let slow = ("[a-c]", 0..9_u64, 0..9_u64).prop_map(|(key, bytes, ms)| Slowest { key, bytes, ms });
        (0..100_u64, 1..500_000_u64, prop::collection::vec(exception, 0..40), prop::collection::vec(slow, 0..5))
            .prop_map(|(migrated, ended_ms, exceptions, slowest)| {
                let mut outcome = outcome("e", migrated, false, ended_ms);
                outcome.tally.failed =
                    exceptions.iter().filter(|e| matches!(e.outcome, Outcome::Failed { .. })).count() as u64;
                outcome.tally.skipped = exceptions.len() as u64 - outcome.tally.failed;
                ExecutionOutcome { exceptions, slowest, ..outcome }
            })
    }

    proptest! {
        #[test]
        fn order_is_of_no_matter_and_sums_are_equal(mut outcomes in prop::collection::vec(any_outcome(), 0..20), turn in 0..20_usize) {
            let add = |outcomes: &[ExecutionOutcome]| {
                let mut adder = Adder::new(1);
                for (number, outcome) in outcomes.iter().enumerate() {
                    adder.add(outcome);
                    if number % 3 == 0 {
                        // As between two rounds.
                        let parked = serde_json::to_vec(&adder).unwrap_or_default();
                        adder = serde_json::from_slice(&parked).unwrap_or(Adder::new(0));
                    }
                }
                adder
            };
            let one = add(&outcomes);
            let turn = turn % outcomes.len().max(1);
            outcomes.rotate_left(turn);
            outcomes.reverse();
            let other = add(&outcomes);
            prop_assert_eq!(&one, &other);
            let sum: Tally = outcomes.iter().map(|outcome| outcome.tally).sum();
            prop_assert_eq!(one.tally, sum);
            prop_assert_eq!(one.throughput.total(), sum.bytes);
            prop_assert_eq!(one.failures.by_name.values().sum::<u64>(), sum.failed);
            prop_assert_eq!(one.skipped.values().sum::<u64>(), sum.skipped);
            prop_assert!(one.failures.first.len() <= FAILURES_KEPT && one.slowest.len() <= SLOWEST_KEPT);
        }
    }
}
