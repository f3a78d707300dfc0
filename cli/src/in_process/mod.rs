//! Runs the state machines in this process: the same machines, the same steps, no service in between.

mod backfill;

pub use backfill::BACKFILL;

use futures::future::BoxFuture;
use longhaul_asl::{DefinitionError, ExecutionError, Limits, Machine, RunOptions, Stats, TaskError, Tasks, TokioSleep};
use longhaul_aws::clients::{Clients, Sides};
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::engine::Engine;
use longhaul_aws::error::StepError;
use longhaul_aws::events::settle_event;
use longhaul_aws::ledger::Ledger;
use longhaul_aws::outbox::Outbox;
use longhaul_aws::routes::Routes;
use longhaul_aws::steps::{
    Ended as LostExecution, complete, copy_objects, copy_parts, plan, report, scan, settle_ended,
};
use longhaul_aws::work::{MemoryWork, Work};
use longhaul_core::config::Config;
use longhaul_core::contract::{Exception, ExecutionOutcome, ItemState, PlanInput, PlanOutput, SettleOutput};
use longhaul_core::names::{PLANS_PREFIX, exception_prefix, outcome_key, plan_prefix};
use longhaul_core::request::{ManifestRef, Request};
use longhaul_core::tally::Tally;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The state machine of one request, as it is deployed.
pub const MIGRATE: &str = include_str!("../../../statemachine/migrate.asl.json");

/// What a step may take, as in Lambda:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const STEP_TIME: Duration = Duration::from_secs(900);
/// `$$.StateMachine.Id` of `migrate`, which names itself for its successors.
const MIGRATE_ID: &str = "migrate";
/// What `backfill` calls it by.
const MIGRATE_ARN: &str = "${MigrateStateMachineArn}";
/// How an execution ends whose failures are all recorded.
const OBJECTS_FAILED: &str = "ObjectsFailed";

/// What an execution is doing, while it runs: what a progress bar shows.
#[derive(Debug, Default)]
pub struct Live {
    tally: Arc<Mutex<Tally>>,
    held_bytes: AtomicU64,
}

impl Live {
    /// What the steps counted so far, work of repeated steps included.
    pub fn tally(&self) -> Tally {
        *locked(&self.tally)
    }

    /// Bytes of parts that the destination held when their uploads were planned.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Relaxed)
    }
}

/// How an execution, with its successors, ended.
#[derive(Debug)]
pub struct Ended {
    /// What the state machine returned, or how it failed. Failed objects fail it.
    pub result: Result<Value, ExecutionError>,
    /// The outcomes, counted once each.
    pub tally: Tally,
    /// Every object that is neither migrated nor unchanged.
    pub exceptions: Vec<Exception>,
    /// Why some objects may have no recorded outcome, where that is so. They count as `unsettled`.
    pub unsettled: Option<String>,
    /// What the first execution cost.
    pub stats: Stats,
}

/// One step that is about to be called. Each call of it makes the same step anew, with the same input.
pub type Step = Arc<dyn Fn() -> BoxFuture<'static, Result<Value, TaskError>> + Send + Sync>;

/// Stands around every step, as the service does that runs functions: it may call a step twice, or give it up half way.
#[async_trait::async_trait]
pub trait Around: Send + Sync {
    /// Answers for a step: `resource` as it stands in the definition, and the step's input.
    async fn call(&self, resource: &str, input: Value, step: Step) -> Result<Value, TaskError>;

    /// What the steps are given as the work bucket.
    fn work(&self, work: Arc<MemoryWork>) -> Arc<dyn Work> {
        work
    }

    /// How long a step may take.
    fn step_time(&self) -> Duration {
        STEP_TIME
    }
}

/// Runs executions of `migrate`. Dropping a run stops everything it does.
#[derive(Debug)]
pub struct Runner {
    shared: Arc<Shared>,
}

struct Shared {
    clients: Arc<Clients>,
    work: Arc<MemoryWork>,
    migrate: Machine,
    backfill: Machine,
    clock: Clock,
    seed: u64,
    drawn: AtomicU64,
    around: Option<Arc<dyn Around>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// What a runner is made of. What the steps write for each other stays in memory.
#[derive(Debug)]
pub struct Local {
    /// S3 at the two sides.
    pub sides: Sides,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Where the messages of failed objects go.
    pub outbox: Arc<dyn Outbox>,
    /// Routes for requests without one.
    pub config: Config,
    /// Limits of what is in flight at once, over all executions.
    pub engine: Engine,
}

impl Runner {
    /// A runner over these clients. `clock` and `seed` decide all time and chance.
    ///
    /// Fails if the state machine is not one that can be run here.
    pub fn new(local: Local, clock: Clock, seed: u64) -> Result<Self, DefinitionError> {
        Self::with_around(local, clock, seed, None)
    }

    /// The same, with something around every step.
    ///
    /// Fails as [`Self::new`] does.
    pub fn with_around(
        local: Local,
        clock: Clock,
        seed: u64,
        around: Option<Arc<dyn Around>>,
    ) -> Result<Self, DefinitionError> {
        let work = Arc::new(MemoryWork::default());
        let seen: Arc<dyn Work> = match &around {
            Some(around) => around.work(work.clone()),
            None => work.clone(),
        };
        let clients = Arc::new(Clients {
            sides: Arc::new(local.sides),
            ledger: local.ledger,
            outbox: local.outbox,
            work: seen,
            routes: Arc::new(Routes::fixed(local.config)),
            engine: Arc::new(local.engine),
            copy_functions: None,
        });
        let (migrate, backfill) = (Machine::parse(MIGRATE)?, Machine::parse(BACKFILL)?);
        let shared = Shared { clients, work, migrate, backfill, clock, seed, drawn: AtomicU64::new(0), around };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The clients that the steps are given.
    pub fn clients(&self) -> &Clients {
        &self.shared.clients
    }

    /// The same, to be kept.
    pub fn shared_clients(&self) -> Arc<Clients> {
        self.shared.clients.clone()
    }

    /// Runs one execution and its successors to their end. Every object of the request gets an outcome, or is counted
    /// as unsettled.
    ///
    /// The ledger takes an outcome that the same `execution` recorded as final, so ids must not repeat.
    pub async fn run_migrate(&self, execution: &str, request: &Request, live: Arc<Live>) -> Ended {
        let started_ms = self.shared.clock.now_ms();
        let input = match serde_json::to_value(request) {
            Ok(input) => input,
            Err(error) => Value::String(error.to_string()),
        };
        let functions = Functions::new(self.shared.clone(), live);
        let outcome = functions.execute(execution, input.clone()).await;
        let executions = std::mem::take(&mut *locked(&functions.executions));
        let mut ended = Ended {
            result: outcome.result,
            tally: Tally::default(),
            exceptions: Vec::new(),
            unsettled: None,
            stats: outcome.stats,
        };
        self.read_outcomes(&executions, &mut ended);
        ended.tally.unsettled += functions.unsettled.load(Relaxed);
        // What the rule on executions that ended badly does on AWS.
        let broken = ended.result.as_ref().is_err_and(|error| error.error != OBJECTS_FAILED);
        if broken || ended.tally.unsettled > 0 {
            self.settle(execution, started_ms, &input, &mut ended).await;
        }
        for execution in &executions {
            self.shared.work.take(&exception_prefix(execution));
            self.shared.work.take(&plan_prefix(execution));
        }
        ended
    }

    /// Adds the outcome objects of these executions up.
    fn read_outcomes(&self, executions: &[String], ended: &mut Ended) {
        for execution in executions {
            for (_, body) in self.shared.work.take(&outcome_key(execution)) {
                match serde_json::from_slice::<ExecutionOutcome>(&body) {
                    Ok(outcome) => {
                        ended.tally += outcome.tally;
                        ended.exceptions.extend(outcome.exceptions);
                    }
                    Err(error) => {
                        ended.tally.unsettled += 1;
                        ended.unsettled = Some(format!("the outcome of {execution} cannot be read: {error}"));
                    }
                }
            }
        }
    }

    /// Settles what has no outcome after an execution that ended badly. Its counts replace those of the execution.
    async fn settle(&self, execution: &str, started_ms: u64, input: &Value, ended: &mut Ended) {
        let told = match &ended.result {
            Ok(_) => "items could not be settled".to_owned(),
            Err(error) => error.to_string(),
        };
        let lost = LostExecution {
            execution: execution.to_owned(),
            started_ms,
            status: "FAILED".into(),
            input: Some(input.to_string()),
            reason: Some(told.clone()),
        };
        let context = self.shared.context(None);
        // The answer to an ended execution is always its counts.
        match settle_ended(&self.shared.clients, &context, lost).await {
            Ok(SettleOutput::Settled(settled)) => {
                ended.tally = Tally { unsettled: 0, ..settled.tally };
                for (_, body) in self.shared.work.take(&outcome_key(execution)) {
                    let outcome = serde_json::from_slice::<ExecutionOutcome>(&body);
                    for exception in outcome.map(|outcome| outcome.exceptions).unwrap_or_default() {
                        if !ended.exceptions.iter().any(|known| known.object == exception.object) {
                            ended.exceptions.push(exception);
                        }
                    }
                }
            }
            Ok(_) => ended.unsettled = Some(told),
            Err(error) => {
                ended.tally.unsettled = ended.tally.unsettled.max(1);
                ended.unsettled = Some(format!("{told}; settling failed: {error}"));
            }
        }
    }
}

impl Shared {
    /// Fresh surroundings of one step.
    fn context(&self, live: Option<&Live>) -> Context {
        let time = self.around.as_ref().map_or(STEP_TIME, |around| around.step_time());
        let context = Context::new(self.clock, time, 1, self.seed());
        match live {
            Some(live) => context.counting_into(live.tally.clone()),
            None => context,
        }
    }

    fn seed(&self) -> u64 {
        self.seed.wrapping_add(self.drawn.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// The functions of one execution and its successors.
struct Functions {
    shared: Arc<Shared>,
    live: Arc<Live>,
    /// Ids, the first execution first.
    executions: Mutex<Vec<String>>,
    /// Executions started by these that broke off and could not be settled.
    unsettled: AtomicU64,
}

/// What `startExecution.sync` is given.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartExecution {
    state_machine_arn: String,
    name: String,
    input: Value,
}

#[async_trait::async_trait]
impl Tasks for Functions {
    async fn call(&self, resource: &str, input: Value) -> Result<Value, TaskError> {
        match resource {
            "${PlanFunctionArn}" => {
                let live = self.live.clone();
                self.step(resource, input, move |clients, context, input: PlanInput| {
                    let live = live.clone();
                    async move {
                        let output = plan(&clients, &context, input).await?;
                        count_held(&live, &output);
                        Ok(output)
                    }
                })
                .await
            }
            "${CopyObjectsFunctionArn}" => {
                self.step(resource, input, |clients, context, input| async move {
                    copy_objects(&clients, &context, input).await
                })
                .await
            }
            "${CopyPartsFunctionArn}" => {
                self.step(resource, input, |clients, context, input| async move {
                    copy_parts(&clients, &context, input).await
                })
                .await
            }
            "${CompleteFunctionArn}" => {
                self.step(resource, input, |clients, context, input| async move {
                    complete(&clients, &context, input).await
                })
                .await
            }
            "${SettleFunctionArn}" => {
                self.step(resource, input, |clients, context, input| async move {
                    settle_event(&clients, &context, input).await
                })
                .await
            }
            "${ScanFunctionArn}" => {
                self.step(
                    resource,
                    input,
                    |clients, context, input| async move { scan(&clients, &context, input).await },
                )
                .await
            }
            "${ReportFunctionArn}" => {
                self.step(
                    resource,
                    input,
                    |clients, context, input| async move { report(&clients, &context, input).await },
                )
                .await
            }
            "${ListObjects}" => self.list_objects(input).await,
            "${PutObject}" => Self::put_object(input),
            "${StartExecutionSync}" => self.nested(input).await,
            other => Err(failure(&StepError::bug(format!("nothing runs {other} in one process")))),
        }
    }
}

impl Functions {
    fn new(shared: Arc<Shared>, live: Arc<Live>) -> Self {
        Self { shared, live, executions: Mutex::default(), unsettled: AtomicU64::new(0) }
    }

    async fn execute(&self, execution: &str, input: Value) -> longhaul_asl::Outcome {
        locked(&self.executions).push(execution.to_owned());
        self.execute_on(&self.shared.migrate, execution, input).await
    }

    async fn execute_on(&self, machine: &Machine, execution: &str, input: Value) -> longhaul_asl::Outcome {
        let start = i64::try_from(self.shared.clock.now_ms()).unwrap_or(i64::MAX);
        let start = aws_sdk_s3::primitives::DateTime::from_millis(start);
        let options = RunOptions {
            id: execution.to_owned(),
            name: execution.to_owned(),
            state_machine_id: MIGRATE_ID.into(),
            start_time: start.fmt(aws_sdk_s3::primitives::DateTimeFormat::DateTime).unwrap_or_default(),
            limits: Limits::default(),
            seed: self.shared.seed(),
        };
        machine.run(&options, input, self, &TokioSleep).await
    }

    /// Runs an execution of `migrate` that another execution asks for, to its end. The manifests that a successor was
    /// given are forgotten then: whatever goes on with them after it has ended too.
    async fn nested(&self, input: Value) -> Result<Value, TaskError> {
        let start: StartExecution = serde_json::from_value(input)
            .map_err(|error| failure(&StepError::bug(format!("no execution to start: {error}"))))?;
        if start.state_machine_arn == MIGRATE_ARN {
            let started_ms = self.shared.clock.now_ms();
            let outcome = self.execute_on(&self.shared.migrate, &start.name, start.input.clone()).await;
            self.settle_broken(&start.name, started_ms, &start.input, &outcome).await;
            return ended(&start.name, outcome);
        }
        let manifests = start.input.get("manifests").cloned().unwrap_or_default();
        let started_ms = self.shared.clock.now_ms();
        let outcome = self.execute(&start.name, start.input.clone()).await;
        self.settle_broken(&start.name, started_ms, &start.input, &outcome).await;
        for manifest in serde_json::from_value::<Vec<ManifestRef>>(manifests).unwrap_or_default() {
            if manifest.key.starts_with(PLANS_PREFIX) {
                self.shared.work.take(&manifest.key);
            }
        }
        ended(&start.name, outcome)
    }

    /// Runs one step as a function would: on a task of its own, so that several cores hash; a bad input is `Rejected`,
    /// a panic is `Bug`, and refused keys are read again once.
    async fn step<I, O, F>(
        &self,
        resource: &str,
        input: Value,
        step: impl Fn(Arc<Clients>, Arc<Context>, I) -> F + Clone + Send + Sync + 'static,
    ) -> Result<Value, TaskError>
    where
        I: DeserializeOwned + Clone + Send + Sync + 'static,
        O: Serialize + Send + 'static,
        F: Future<Output = Result<O, StepError>> + Send + 'static,
    {
        let read: I = serde_json::from_value(input.clone())
            .map_err(|error| failure(&StepError::rejected(format!("the input cannot be read: {error}"))))?;
        let (shared, live) = (self.shared.clone(), self.live.clone());
        let around = self.shared.around.clone();
        let once: Step = Arc::new(move || {
            let (shared, live, input, step) = (shared.clone(), live.clone(), read.clone(), step.clone());
            Box::pin(async move {
                let run = |input| step(shared.clients.clone(), Arc::new(shared.context(Some(&live))), input);
                let mut result = run(input.clone()).await;
                if result.as_ref().is_err_and(|error| error.keys_refused) {
                    shared.clients.sides.forget().await;
                    result = run(input).await;
                }
                let output = result.map_err(|error| failure(&error))?;
                serde_json::to_value(output).map_err(|error| failure(&StepError::bug(error.to_string())))
            })
        });
        let resource = resource.to_owned();
        let called = async move {
            match around {
                Some(around) => around.call(&resource, input, once).await,
                None => once().await,
            }
        };
        let mut task = AbortOnDrop(tokio::spawn(called));
        match (&mut task.0).await {
            Ok(answer) => answer,
            Err(error) => {
                let told = error
                    .try_into_panic()
                    .map_or_else(|_| "the step was stopped".to_owned(), |cause| panicked(&*cause));
                Err(failure(&StepError::bug(told)))
            }
        }
    }
}

/// What `startExecution.sync` answers.
fn ended(name: &str, outcome: longhaul_asl::Outcome) -> Result<Value, TaskError> {
    match outcome.result {
        Ok(output) => Ok(json!({"Name": name, "Status": "SUCCEEDED", "Output": output})),
        Err(error) => {
            let told = json!({"Name": name, "Status": "FAILED", "Error": error.error, "Cause": error.cause});
            Err(TaskError::new("States.TaskFailed", told.to_string()))
        }
    }
}

/// Counts the parts that the destination holds already and that no range asks for again.
fn count_held(live: &Live, output: &PlanOutput) {
    let PlanOutput::Work(work) = output else { return };
    for item in &work.work {
        if let ItemState::CopyParts(large) = item {
            let layout = &large.object.layout;
            let asked: u32 = large.ranges.iter().map(|range| range.len()).sum();
            let asked_bytes: u64 = large.ranges.iter().map(|range| layout.bytes_of(*range)).sum();
            let parts_held = u64::from(layout.count().saturating_sub(asked));
            *locked(&live.tally) += Tally { parts_held, ..Tally::default() };
            live.held_bytes.fetch_add(layout.size().saturating_sub(asked_bytes), Relaxed);
        }
    }
}

/// An error as a function's reaches Step Functions.
fn failure(error: &StepError) -> TaskError {
    let cause = json!({"errorType": error.name.as_str(), "errorMessage": error.message});
    TaskError::new(error.name.as_str(), cause.to_string())
}

fn panicked(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
    format!("the step panicked: {}", text.as_deref().unwrap_or("no message"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops a task whose caller is gone.
#[derive(Debug)]
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
