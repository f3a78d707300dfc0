use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use crate::context::{Context, Execution, Item};
use crate::definition::{Given, Kind, Machine, PassState, Scope, State, TaskState, Then, Work};
use crate::error::{self, ExecutionError};
use crate::history::{History, Limits, Stats, Totals};
use crate::path::Path;
use crate::retry::{Catcher, Retries};
use crate::seams::{Sleep, Tasks};
use crate::template::Template;

/// What `StartExecution` and the service would say about an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// `$$.Execution.Id`.
    pub id: String,
    /// `$$.Execution.Name`.
    pub name: String,
    /// `$$.StateMachine.Id`.
    pub state_machine_id: String,
    /// `$$.Execution.StartTime`, in RFC 3339; passed on as it stands.
    pub start_time: String,
    /// The quotas that hold.
    pub limits: Limits,
    /// What the jitter of retries is drawn from.
    pub seed: u64,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its output, or why it failed.
    pub result: Result<Value, ExecutionError>,
    /// What it cost.
    pub stats: Stats,
}

impl Machine {
    /// Runs one execution to its end.
    ///
    /// Iterations of a Map run at the same time within this future; nothing is spawned. Dropping
    /// the future drops every call in flight.
    pub async fn run(&self, options: &RunOptions, input: Value, tasks: &dyn Tasks, sleep: &dyn Sleep) -> Outcome {
        let rng = Mutex::new(StdRng::seed_from_u64(options.seed));
        let totals = Totals::default();
        let run = Run {
            execution: Execution {
                id: options.id.clone(),
                name: options.name.clone(),
                state_machine_id: options.state_machine_id.clone(),
                start_time: options.start_time.clone(),
                input,
            },
            history: History::new(&options.limits),
            limits: options.limits,
            totals: &totals,
            tasks,
            sleep,
            rng: &rng,
        };
        let result = run.execute(&self.scope, self.timeout_seconds).await;
        Outcome { result, stats: totals.stats(run.history.events()) }
    }
}

/// One execution under way: the one asked for, or a child of a distributed Map.
pub(crate) struct Run<'a> {
    pub(crate) execution: Execution,
    pub(crate) history: History,
    pub(crate) limits: Limits,
    pub(crate) totals: &'a Totals,
    pub(crate) tasks: &'a dyn Tasks,
    pub(crate) sleep: &'a dyn Sleep,
    pub(crate) rng: &'a Mutex<StdRng>,
}

/// What a state hands on, and to which state; to none at the end.
struct Step<'d> {
    output: Value,
    next: Option<&'d str>,
}

impl<'d> Step<'d> {
    fn then(output: Value, then: &'d Then) -> Self {
        let next = match then {
            Then::Next(next) => Some(next.as_str()),
            Then::End => None,
        };
        Self { output, next }
    }
}

impl Run<'_> {
    pub(crate) async fn execute(&self, scope: &Scope, timeout: Option<u64>) -> Result<Value, ExecutionError> {
        let body = async {
            self.history.record(1)?;
            self.measure("the input of the execution", &self.execution.input)?;
            self.run_scope(scope, self.execution.input.clone(), None).await
        };
        let result = self.within(timeout, body).await.unwrap_or_else(|seconds| {
            Err(ExecutionError::new(error::TIMEOUT, format!("the execution ran longer than {seconds} s")))
        });
        self.history.end();
        result
    }

    /// The output of `future`, or the seconds it did not end in.
    async fn within<T>(&self, seconds: Option<u64>, future: impl Future<Output = T> + Send) -> Result<T, u64> {
        let Some(seconds) = seconds else { return Ok(future.await) };
        let timer = self.sleep.sleep(Duration::from_secs(seconds));
        match select(Box::pin(future), timer).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(((), _)) => Err(seconds),
        }
    }

    /// Runs the states of a scope to their end. Boxed, since a Map runs scopes inside a scope.
    pub(crate) fn run_scope<'r>(
        &'r self,
        scope: &'r Scope,
        input: Value,
        item: Option<&'r Item>,
    ) -> BoxFuture<'r, Result<Value, ExecutionError>> {
        Box::pin(async move {
            let mut name = scope.start_at.as_str();
            let mut value = input;
            loop {
                let Some(state) = scope.state(name) else {
                    return Err(ExecutionError::runtime(format!("there is no state {name:?}")));
                };
                let step = self.step(state, value, item).await?;
                match step.next {
                    Some(next) => (name, value) = (next, step.output),
                    None => return Ok(step.output),
                }
            }
        })
    }

    async fn step<'d>(&self, state: &'d State, raw: Value, item: Option<&Item>) -> Result<Step<'d>, ExecutionError> {
        self.history.record(1)?;
        let context = Context { execution: &self.execution, state: &state.name, retry_count: 0, item };
        let step = match &state.kind {
            Kind::Task(TaskState { work, .. }) => {
                let unfinished = self.history.begin();
                let step = self.work(state, work, raw, context).await;
                unfinished.finish();
                step?
            }
            Kind::Map(map) => {
                let unfinished = self.history.begin();
                let step = self.work(state, &map.work, raw, context).await;
                unfinished.finish();
                step?
            }
            Kind::Choice { rules, default } => {
                let input = input_of(state, &raw, &context)?;
                let mut next = None;
                for rule in rules {
                    if rule.condition.holds(&input, &context)? {
                        next = Some(rule.next.as_str());
                        break;
                    }
                }
                let Some(next) = next.or(default.as_deref()) else {
                    return Err(ExecutionError::new(
                        error::NO_CHOICE,
                        format!("state {:?}: no rule matches, and there is no Default", state.name),
                    ));
                };
                Step { output: self.output_of(state, input.into_owned(), &context)?, next: Some(next) }
            }
            Kind::Pass(pass) => Step::then(self.pass(state, pass, raw, &context)?, &pass.then),
            Kind::Wait { duration, then } => {
                let unfinished = self.history.begin();
                let step = self.wait(state, duration, &raw, &context).await;
                unfinished.finish();
                Step::then(step?, then)
            }
            Kind::Succeed => {
                let input = input_of(state, &raw, &context)?.into_owned();
                Step { output: self.output_of(state, input, &context)?, next: None }
            }
            Kind::Fail { error, cause } => {
                return Err(ExecutionError {
                    error: text_of("ErrorPath", error.as_ref(), &raw, &context)?,
                    cause: text_of("CausePath", cause.as_ref(), &raw, &context)?,
                });
            }
        };
        self.history.record(1)?;
        Ok(step)
    }

    /// A Task or a Map: attempts until one succeeds, the retriers are spent and a catcher or
    /// nobody takes the error.
    async fn work<'d>(
        &self,
        state: &'d State,
        work: &'d Work,
        raw: Value,
        mut context: Context<'_>,
    ) -> Result<Step<'d>, ExecutionError> {
        let mut retries = Retries::new(&work.retry);
        loop {
            let failure = match self.attempt(state, work, &raw, &context).await {
                Ok(output) => return Ok(Step::then(output, &work.then)),
                Err(failure) => failure,
            };
            let delay = retries.next(&failure.error, &mut *self.rng());
            if let Some(delay) = delay {
                self.totals.retries.fetch_add(1, Relaxed);
                context.retry_count = context.retry_count.saturating_add(1);
                self.sleep.sleep(delay).await;
                continue;
            }
            let Some(catcher) = Catcher::of(&work.catch, &failure.error) else { return Err(failure) };
            let told = json!({"Error": failure.error, "Cause": failure.cause});
            let output = put(&context, catcher.result_path.as_ref(), raw, told)?;
            self.measure(&format!("the caught error of state {:?}", state.name), &output)?;
            return Ok(Step { output, next: Some(&catcher.next) });
        }
    }

    async fn attempt(
        &self,
        state: &State,
        work: &Work,
        raw: &Value,
        context: &Context<'_>,
    ) -> Result<Value, ExecutionError> {
        let input = input_of(state, raw, context)?;
        let result = match &state.kind {
            Kind::Map(map) => self.map(map, &input, context).await?,
            Kind::Task(task) => self.task(task, &input, context).await?,
            _ => return Err(ExecutionError::runtime(format!("state {:?} does no work", state.name))),
        };
        let result = match &work.result_selector {
            Some(selector) => selector.render(&result, context)?,
            None => result,
        };
        let output = put(context, work.result_path.as_ref(), raw.clone(), result)?;
        self.output_of(state, output, context)
    }

    async fn task(&self, task: &TaskState, input: &Value, context: &Context<'_>) -> Result<Value, ExecutionError> {
        let payload = render_or(task.work.template.as_ref(), input, context)?;
        self.measure(&format!("the input of state {:?}", context.state), &payload)?;
        self.history.record(if is_submitted(&task.resource) { 3 } else { 2 })?;
        self.totals.task_calls.fetch_add(1, Relaxed);
        let call = self.tasks.call(&task.resource, payload);
        let called = self.within(task.timeout_seconds, call).await;
        self.history.record(1)?;
        let result = called.map_err(|seconds| {
            let cause = format!("state {:?}: the task ran longer than {seconds} s", context.state);
            ExecutionError::new(error::TIMEOUT, cause)
        })??;
        self.measure(&format!("the result of state {:?}", context.state), &result)?;
        Ok(result)
    }

    fn pass(
        &self,
        state: &State,
        pass: &PassState,
        raw: Value,
        context: &Context<'_>,
    ) -> Result<Value, ExecutionError> {
        let input = input_of(state, &raw, context)?;
        let result = match &pass.result {
            Some(result) => result.clone(),
            None => render_or(pass.parameters.as_ref(), &input, context)?,
        };
        let output = put(context, pass.result_path.as_ref(), raw, result)?;
        self.output_of(state, output, context)
    }

    async fn wait(
        &self,
        state: &State,
        duration: &Given<u64>,
        raw: &Value,
        context: &Context<'_>,
    ) -> Result<Value, ExecutionError> {
        let input = input_of(state, raw, context)?;
        let seconds = integer_of("SecondsPath", duration, &input, context)?;
        self.sleep.sleep(Duration::from_secs(seconds)).await;
        self.output_of(state, input.into_owned(), context)
    }

    fn output_of(&self, state: &State, output: Value, context: &Context<'_>) -> Result<Value, ExecutionError> {
        let output = match &state.output_path {
            None => Value::Object(Map::new()),
            Some(path) if is_root(path) => output,
            Some(path) => context.must_find("OutputPath", path, &output)?.into_owned(),
        };
        self.measure(&format!("the output of state {:?}", state.name), &output)?;
        Ok(output)
    }

    pub(crate) fn measure(&self, what: &str, payload: &Value) -> Result<(), ExecutionError> {
        self.totals.measure(&self.limits, what, payload)
    }

    fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_root(path: &Path) -> bool {
    !path.is_context() && path.segments().is_empty()
}

fn input_of<'v>(state: &State, raw: &'v Value, context: &Context<'v>) -> Result<Cow<'v, Value>, ExecutionError> {
    match &state.input_path {
        None => Ok(Cow::Owned(Value::Object(Map::new()))),
        Some(path) => context.must_find("InputPath", path, raw),
    }
}

pub(crate) fn render_or(
    template: Option<&Template>,
    input: &Value,
    context: &Context<'_>,
) -> Result<Value, ExecutionError> {
    match template {
        Some(template) => template.render(input, context),
        None => Ok(input.clone()),
    }
}

fn put(context: &Context<'_>, path: Option<&Path>, raw: Value, result: Value) -> Result<Value, ExecutionError> {
    let Some(path) = path else { return Ok(raw) };
    path.put(raw, result).ok_or_else(|| {
        ExecutionError::new(
            error::RESULT_PATH,
            format!("state {:?}: the ResultPath {path} does not fit the state's input", context.state),
        )
    })
}

fn text_of(
    field: &str,
    given: Option<&Given<String>>,
    input: &Value,
    context: &Context<'_>,
) -> Result<String, ExecutionError> {
    match given {
        None => Ok(String::new()),
        Some(Given::Here(text)) => Ok(text.clone()),
        Some(Given::At(path)) => {
            let found = context.must_find(field, path, input)?;
            found.as_str().map(str::to_owned).ok_or_else(|| wrong(field, path, "a string", context))
        }
    }
}

pub(crate) fn integer_of(
    field: &str,
    given: &Given<u64>,
    input: &Value,
    context: &Context<'_>,
) -> Result<u64, ExecutionError> {
    match given {
        Given::Here(number) => Ok(*number),
        Given::At(path) => {
            let found = context.must_find(field, path, input)?;
            found.as_u64().ok_or_else(|| wrong(field, path, "a non-negative integer", context))
        }
    }
}

pub(crate) fn wrong(field: &str, path: &Path, want: &str, context: &Context<'_>) -> ExecutionError {
    ExecutionError::runtime(format!("state {:?}: the {field} {path} must lead to {want}", context.state))
}

/// Whether Step Functions would wait for what it submits (`.sync`), which writes one more event.
/// Where a placeholder stands in place of the integration, its name ends in `Sync`.
fn is_submitted(resource: &str) -> bool {
    resource.ends_with(".sync") || resource.contains(".sync:") || resource.ends_with("Sync}")
}
