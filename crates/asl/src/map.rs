use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};

use crate::context::{Context, Execution, Item};
use crate::definition::{Given, Integration, Items, MapState, Mode};
use crate::error::{self, ExecutionError};
use crate::history::History;
use crate::run::{Run, integer_of, render_or, wrong};

/// Children of a distributed Map that run at once at most.
///
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
const MOST_CHILDREN: usize = 10_000;

/// How one child of a distributed Map ended.
struct Child {
    index: usize,
    input: Value,
    execution: Execution,
    result: Result<Value, ExecutionError>,
}

impl Child {
    /// As Step Functions reports it: payloads are JSON inside strings.
    fn report(&self) -> Value {
        let mut report = json!({
            "ExecutionArn": self.execution.id,
            "Input": self.input.to_string(),
            "Name": self.execution.name,
            "StateMachineArn": self.execution.state_machine_id,
        });
        match &self.result {
            Ok(output) => {
                report["Status"] = "SUCCEEDED".into();
                report["Output"] = output.to_string().into();
            }
            Err(failure) => {
                report["Status"] = "FAILED".into();
                report["Error"] = failure.error.as_str().into();
                report["Cause"] = failure.cause.as_str().into();
            }
        }
        report
    }
}

impl Run<'_> {
    /// One attempt at a Map.
    ///
    /// Step Functions itself runs at most about 40 inline iterations at once; here only
    /// `MaxConcurrency` binds, since the tasks share one process and find their own pace.
    pub(crate) async fn map(
        &self,
        map: &MapState,
        input: &Value,
        context: &Context<'_>,
    ) -> Result<Value, ExecutionError> {
        let concurrency = integer_of("MaxConcurrencyPath", &map.max_concurrency, input, context)?;
        let concurrency = match usize::try_from(concurrency) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(most) => most,
        };
        self.history.record(1)?;
        let result = match map.mode {
            Mode::Inline => self.inline(map, input, context, concurrency).await,
            Mode::Distributed => {
                self.history.record(1)?;
                let result = self.distributed(map, input, context, concurrency.min(MOST_CHILDREN)).await;
                self.history.record(1)?;
                result
            }
        };
        self.history.record(1)?;
        result
    }

    async fn inline(
        &self,
        map: &MapState,
        input: &Value,
        context: &Context<'_>,
        concurrency: usize,
    ) -> Result<Value, ExecutionError> {
        let items = self.items(map, input, context).await?;
        let mut outputs = vec![Value::Null; items.len()];
        let mut waiting = items.into_iter().enumerate();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < concurrency {
                let Some((index, value)) = waiting.next() else { break };
                running.push(self.iteration(map, input, context, Item { index, value }));
            }
            // An error leaves at once: dropping `running` cuts the siblings off.
            let Some((index, output)) = running.next().await.transpose()? else { break };
            if let Some(place) = outputs.get_mut(index) {
                *place = output;
            }
        }
        Ok(Value::Array(outputs))
    }

    async fn iteration(
        &self,
        map: &MapState,
        input: &Value,
        context: &Context<'_>,
        item: Item,
    ) -> Result<(usize, Value), ExecutionError> {
        self.history.record(1)?;
        let unfinished = self.history.begin();
        let result = async {
            let payload = self.item_input(map, input, context, &item)?;
            self.run_scope(&map.scope, payload, Some(&item)).await
        }
        .await;
        unfinished.finish();
        self.history.record(1)?;
        result.map(|output| (item.index, output))
    }

    async fn distributed(
        &self,
        map: &MapState,
        input: &Value,
        context: &Context<'_>,
        concurrency: usize,
    ) -> Result<Value, ExecutionError> {
        let tolerated = self.tolerated(map, input, context)?;
        let items = self.items(map, input, context).await?;
        let total = items.len();
        let mut failed = 0_usize;
        let mut children: Vec<Option<Child>> = (0..total).map(|_| None).collect();
        let mut waiting = items.into_iter().enumerate();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < concurrency {
                let Some((index, value)) = waiting.next() else { break };
                running.push(self.child(map, input, context, Item { index, value }));
            }
            let Some(child) = running.next().await.transpose()? else { break };
            if let Err(failure) = &child.result {
                failed += 1;
                if exceeds(failed, total, tolerated) {
                    return Err(ExecutionError::new(
                        error::TOLERANCE,
                        format!(
                            "state {:?}: {failed} of {total} items failed, more than {tolerated} percent; the last: {failure}",
                            context.state
                        ),
                    ));
                }
            }
            let index = child.index;
            if let Some(place) = children.get_mut(index) {
                *place = Some(child);
            }
        }
        let children = children.into_iter().flatten();
        let Some(writer) = &map.result_writer else {
            // A failed child stands among the outputs as its report.
            return Ok(children
                .map(|child| match child {
                    Child { result: Ok(output), .. } => output,
                    failed => failed.report(),
                })
                .collect());
        };
        let results: Value = children.map(|child| child.report()).collect();
        let parameters = self.parameters(writer, input, context)?;
        let written = json!({"parameters": parameters, "results": results});
        self.tasks.call(&writer.resource, written).await.map_err(|failure| {
            ExecutionError::new(error::RESULT_WRITER, format!("{}: {}", failure.error, failure.cause))
        })
    }

    /// Runs one item in an execution of its own. An error here fails the Map, not the child.
    async fn child(
        &self,
        map: &MapState,
        input: &Value,
        context: &Context<'_>,
        item: Item,
    ) -> Result<Child, ExecutionError> {
        let payload = self.item_input(map, input, context, &item)?;
        let label = map.label.as_deref().unwrap_or(context.state);
        let child = Run {
            execution: Execution {
                id: format!("{}/{label}:{}", self.execution.id, item.index),
                // Unique beyond this execution, as on Step Functions: a child may start another under its own name.
                name: format!("{}-{}", self.execution.name, item.index),
                state_machine_id: format!("{}/{label}", self.execution.state_machine_id),
                start_time: self.execution.start_time.clone(),
                input: payload.clone(),
            },
            history: History::new(&self.limits),
            limits: self.limits,
            totals: self.totals,
            tasks: self.tasks,
            sleep: self.sleep,
            rng: self.rng,
        };
        let result = child.execute(&map.scope, None).await;
        self.totals.add_child(child.history.events());
        Ok(Child { index: item.index, input: payload, execution: child.execution, result })
    }

    fn item_input(
        &self,
        map: &MapState,
        input: &Value,
        context: &Context<'_>,
        item: &Item,
    ) -> Result<Value, ExecutionError> {
        let payload = match &map.work.template {
            Some(selector) => selector.render(input, &Context { item: Some(item), ..*context })?,
            None => item.value.clone(),
        };
        self.measure(&format!("item {} of state {:?}", item.index, context.state), &payload)?;
        Ok(payload)
    }

    async fn items(&self, map: &MapState, input: &Value, context: &Context<'_>) -> Result<Vec<Value>, ExecutionError> {
        match &map.items {
            Items::At(path) => match context.must_find("ItemsPath", path, input)?.into_owned() {
                Value::Array(items) => Ok(items),
                _ => Err(wrong("ItemsPath", path, "an array", context)),
            },
            Items::Read(reader) => {
                let refuse = |cause: String| ExecutionError::new(error::ITEM_READER, cause);
                let parameters = self.parameters(reader, input, context)?;
                match self.tasks.call(&reader.resource, parameters).await {
                    Ok(Value::Array(items)) => Ok(items),
                    Ok(_) => Err(refuse(format!("{} returned no array", reader.resource))),
                    Err(failure) => Err(refuse(format!("{}: {}", failure.error, failure.cause))),
                }
            }
        }
    }

    fn parameters(&self, from: &Integration, input: &Value, context: &Context<'_>) -> Result<Value, ExecutionError> {
        match &from.parameters {
            Some(template) => render_or(Some(template), input, context),
            None => Ok(json!({})),
        }
    }

    fn tolerated(&self, map: &MapState, input: &Value, context: &Context<'_>) -> Result<f64, ExecutionError> {
        match &map.tolerated_percentage {
            Given::Here(percentage) => Ok(*percentage),
            Given::At(path) => {
                let field = "ToleratedFailurePercentagePath";
                let found = context.must_find(field, path, input)?.as_f64();
                found
                    .filter(|percentage| (0.0..=100.0).contains(percentage))
                    .ok_or_else(|| wrong(field, path, "a number from 0 to 100", context))
            }
        }
    }
}

#[allow(clippy::cast_precision_loss)] // far fewer items than 2^53
fn exceeds(failed: usize, total: usize, percentage: f64) -> bool {
    failed as f64 * 100.0 > percentage * total as f64
}
