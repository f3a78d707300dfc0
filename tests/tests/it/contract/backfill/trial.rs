//! Runs the definition over functions that read their input as the real ones do and answer by a script.

use super::super::samples::{WORK_BUCKET, copy_all, delete_all, report_input, run, run_end, shard};
use super::super::trial::When;
use async_trait::async_trait;
use longhaul_asl::{Limits, Machine, RunOptions, Stats, TaskError, Tasks, TokioSleep};
use longhaul_core::backfill::manifest::manifest_key;
use longhaul_core::backfill::states::{
    Begun, Gather, Gathered, ReportInput, Reported, ScanInput, ScanTag, ShardEnd, ShardState,
};
use longhaul_core::request::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub(super) const EXECUTION: &str = "arn:of:the:backfill";
/// The error name of a run in which something failed.
pub(super) const RUN_FAILED: &str = "RunFailed";

/// What a function answers where it does not answer as usual.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A shard's state.
    Shard(ShardState),
    /// `report` ran out of time.
    ReportsOn,
    /// A tag that nothing routes.
    Unheard,
    /// An error of this name.
    Fails(&'static str),
    /// An error of this name, with this cause.
    Told(&'static str, String),
}

/// What the run finds, and how functions depart from the usual.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) shards: u32,
    /// Manifests to carry out. With none, there is nothing to copy.
    pub(super) manifests: u32,
    pub(super) deletes: bool,
    /// The share of failed children that the user tolerates, in percent.
    pub(super) tolerated: f64,
    /// The first that fits is the answer.
    pub(super) told: Vec<(String, When, Answer)>,
}

/// How an execution went.
#[derive(Debug)]
pub(super) struct Trial {
    /// The Tasks and integrations that were called, in order.
    pub(super) calls: Vec<String>,
    /// Every state that was entered.
    pub(super) entered: BTreeSet<String>,
    /// Inputs that could not be read: the state, and why.
    pub(super) unread: Vec<(String, String)>,
    /// Error and cause of a failed execution.
    pub(super) failed: Option<(String, String)>,
    /// The output of a good one.
    pub(super) output: Option<Value>,
    pub(super) stats: Stats,
}

/// Runs one execution of an instrumented machine to its end, on a clock that does not wait.
pub(super) fn execute(machine: &Machine, script: &Script) -> Trial {
    let options = RunOptions {
        id: EXECUTION.into(),
        name: "run-1".into(),
        state_machine_id: "arn:of:the:backfill:machine".into(),
        start_time: "2026-11-22T00:00:00Z".into(),
        limits: Limits::default(),
        seed: 1,
    };
    let world = World::of(script);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(machine.run(&options, json!({"dryRun": false}), &world, &TokioSleep));
    let (output, failed) = match outcome.result {
        Ok(output) => (Some(output), None),
        Err(error) => (None, Some((error.error, error.cause))),
    };
    Trial {
        calls: world.calls.into_inner().unwrap(),
        entered: world.entered.into_inner().unwrap(),
        unread: world.unread.into_inner().unwrap(),
        failed,
        output,
        stats: outcome.stats,
    }
}

struct World<'s> {
    script: &'s Script,
    calls: Mutex<Vec<String>>,
    entered: Mutex<BTreeSet<String>>,
    unread: Mutex<Vec<(String, String)>>,
    /// Executions of `migrate` by their names, with their inputs.
    started: Mutex<BTreeMap<String, Value>>,
    failed: AtomicU32,
}

impl<'s> World<'s> {
    fn of(script: &'s Script) -> Self {
        Self {
            script,
            calls: Mutex::default(),
            entered: Mutex::default(),
            unread: Mutex::default(),
            started: Mutex::default(),
            failed: AtomicU32::new(0),
        }
    }
}

#[async_trait]
impl Tasks for World<'_> {
    async fn call(&self, resource: &str, input: Value) -> Result<Value, TaskError> {
        match resource.split_once(' ').unwrap() {
            ("enter", state) => {
                self.entered.lock().unwrap().insert(state.to_owned());
                Ok(Value::Null)
            }
            (state, function) => self.answer(state, function, input),
        }
    }
}

impl World<'_> {
    fn answer(&self, state: &str, function: &str, input: Value) -> Result<Value, TaskError> {
        let number = self.begin(state);
        let usual = self.usual(function, input).map_err(|reason| {
            self.unread.lock().unwrap().push((state.to_owned(), reason.clone()));
            TaskError::new("Bug", reason)
        })?;
        let fits = |when: When| match when {
            When::Call(wanted) => wanted == number,
            When::Always => true,
        };
        let answer = self.script.told.iter().find(|(name, when, _)| name == state && fits(*when));
        let answer = answer.map_or(Ok(usual), |(_, _, answer)| told(answer));
        if function == "StartExecutionSync" && answer.is_err() {
            self.failed.fetch_add(1, Relaxed);
        }
        answer
    }

    /// How often the state called before.
    fn begin(&self, state: &str) -> usize {
        let mut calls = self.calls.lock().unwrap();
        let number = calls.iter().filter(|call| *call == state).count();
        calls.push(state.to_owned());
        number
    }

    /// What the real function returns if all goes well.
    fn usual(&self, function: &str, input: Value) -> Result<Value, String> {
        match function {
            "ScanFunctionArn" => read(input).and_then(|input| self.scan(input)),
            "ReportFunctionArn" => read(input).map(|input| value(self.report(input))),
            "ListObjects" => self.list(&input),
            "PutObject" => written(&input),
            "StartExecutionSync" => self.start(&input),
            _ => Err(format!("no function is known as {function}")),
        }
    }

    fn scan(&self, input: ScanInput) -> Result<Value, String> {
        match input {
            ScanInput::Begin(begin) if begin.execution != EXECUTION => Err("another execution begins".into()),
            ScanInput::Begin(begin) if begin.request != json!({"dryRun": false}) => Err("another request".into()),
            ScanInput::Begin(_) => Ok(value(Begun {
                next: ScanTag::Scan,
                run: run(),
                shards: (0..self.script.shards).map(|number| ShardState::Scan(shard(number))).collect(),
                max_concurrency: 4,
            })),
            ScanInput::Scan(_) | ScanInput::Delete(_) => Ok(value(ShardState::Done(ShardEnd::default()))),
            ScanInput::Gather(gather) if !gather.copied && gather.results.len() != self.script.shards as usize => {
                Err("results of shards are missing".into())
            }
            ScanInput::Gather(gather) => Ok(value(self.gather(gather))),
        }
    }

    fn gather(&self, gather: Gather) -> Gathered {
        let failed = gather.results.into_iter().find_map(|end| end.error).or(gather.error);
        let report = ReportInput { failure: failed.map(|error| error.failure()), ..report_input() };
        match self.script {
            _ if report.failure.is_some() => Gathered::Report(report),
            script if !gather.copied && script.manifests > 0 => Gathered::Copy(copy_all(script.tolerated)),
            script if script.deletes => Gathered::Delete(delete_all(script.shards)),
            _ => Gathered::Report(report),
        }
    }

    fn report(&self, input: ReportInput) -> Reported {
        let stopped = input.stopped_by();
        let caught = input.results.into_iter().find_map(|end| end.error);
        match stopped.or(caught.map(|error| error.failure())) {
            Some(failure) => Reported::Failed(run_end(RUN_FAILED, &failure.name)),
            None if self.failed.load(Relaxed) > 0 => Reported::Failed(run_end(RUN_FAILED, "objects failed")),
            None => Reported::Succeeded(run_end("", "all is well")),
        }
    }

    fn list(&self, input: &Value) -> Result<Value, String> {
        let wanted = copy_all(self.script.tolerated);
        if *input != json!({"Bucket": wanted.bucket, "Prefix": wanted.prefix}) {
            return Err(format!("the wrong manifests are listed: {input}"));
        }
        let object = |number| json!({"Key": manifest_key(&run().name, 0, number), "Size": 1, "Etag": "\"e\""});
        Ok((0..self.script.manifests).map(object).collect())
    }

    /// An execution of `migrate` has a name that no other has, and one manifest of this attempt at this run.
    fn start(&self, input: &Value) -> Result<Value, String> {
        if input["StateMachineArn"] != "${MigrateStateMachineArn}" {
            return Err("StateMachineArn is not migrate".into());
        }
        let request = Request::from_value(&input["Input"]).map_err(|error| error.to_string())?;
        let item = request.run.ok_or("the request names no run")?;
        let [manifest] = request.manifests.as_slice() else { return Err("not one manifest".into()) };
        if (item.name, item.attempt) != (run().name, run().attempt) {
            return Err("another run".into());
        }
        if item.manifest != manifest.key || manifest.bucket != WORK_BUCKET {
            return Err("another manifest".into());
        }
        let name = input["Name"].as_str().ok_or("no Name")?.to_owned();
        let before = self.started.lock().unwrap().insert(name.clone(), input["Input"].clone());
        if before.is_some_and(|before| before != input["Input"]) {
            return Err(format!("another execution is called {name:?}"));
        }
        Ok(json!({"Status": "SUCCEEDED", "Input": "x".repeat(2_000)}))
    }
}

/// How each child ended is written apart from the manifests, so that a resumed run does not list it.
fn written(input: &Value) -> Result<Value, String> {
    let wanted = copy_all(100.0);
    if input["parameters"] != json!({"Bucket": wanted.bucket, "Prefix": wanted.results_prefix}) {
        return Err(format!("the results go elsewhere: {}", input["parameters"]));
    }
    let outputs = input["results"].as_array().into_iter().flatten().filter_map(|child| child["Output"].as_str());
    match outputs.map(str::len).find(|length| *length > 1_000) {
        Some(length) => Err(format!("a child's output has {length} bytes")),
        None => Ok(json!({"MapRunArn": "m", "ResultWriterDetails": {"Bucket": WORK_BUCKET, "Key": "manifest.json"}})),
    }
}

fn told(answer: &Answer) -> Result<Value, TaskError> {
    match answer {
        Answer::Shard(state) => Ok(value(state)),
        Answer::ReportsOn => Ok(value(Reported::Report(ReportInput { rounds: 1, ..report_input() }))),
        Answer::Unheard => Ok(json!({"next": "unheard"})),
        Answer::Fails(name) => Err(TaskError::new(*name, "because")),
        Answer::Told(name, cause) => Err(TaskError::new(*name, cause)),
    }
}

fn value(output: impl serde::Serialize) -> Value {
    serde_json::to_value(output).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(input: Value) -> Result<T, String> {
    serde_json::from_value(input).map_err(|error| error.to_string())
}
