//! Runs `backfill` in this process, over the same steps as on AWS.

use super::{Functions, Live, OBJECTS_FAILED, Runner, failure};
use longhaul_asl::{Outcome, TaskError};
use longhaul_aws::error::StepError;
use longhaul_aws::steps::{Ended as LostExecution, settle_ended};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The state machine, as it is deployed.
pub const BACKFILL: &str = include_str!("../../../statemachine/backfill.asl.json");

/// What an ItemReader that lists a bucket is given.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListObjects {
    prefix: String,
}

/// What a ResultWriter is given, as far as it matters here.
#[derive(Deserialize)]
struct PutObject {
    parameters: ResultsPlace,
}

/// Where results go.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultsPlace {
    bucket: String,
    prefix: String,
}

impl Runner {
    /// Runs one execution of `backfill`, and whatever it starts, to its end.
    ///
    /// What the run writes stays in the runner's work bucket, so that it can be resumed and looked at.
    pub async fn run_backfill(&self, execution: &str, request: Value, live: Arc<Live>) -> Outcome {
        let functions = Functions::new(self.shared.clone(), live);
        functions.execute_on(&self.shared.backfill, execution, request).await
    }
}

impl Functions {
    /// The keys under a prefix of the work bucket, as the distributed Map takes them.
    pub(super) async fn list_objects(&self, input: Value) -> Result<Value, TaskError> {
        let ListObjects { prefix } =
            serde_json::from_value(input).map_err(|error| failure(&StepError::bug(format!("no listing: {error}"))))?;
        let work = &self.shared.clients.work;
        let (mut items, mut after) = (Vec::new(), None);
        loop {
            let page = work.page(&prefix, after.as_deref()).await.map_err(|error| failure(&error))?;
            after = page.objects.last().map(|(key, _)| key.clone());
            items.extend(page.objects.into_iter().map(|(key, size)| json!({"Key": key, "Size": size})));
            if page.last {
                return Ok(Value::Array(items));
            }
        }
    }

    /// Drops the results of a distributed Map: the outcome objects say the same. Answers as the service does.
    pub(super) fn put_object(input: Value) -> Result<Value, TaskError> {
        let PutObject { parameters: ResultsPlace { bucket, prefix } } = serde_json::from_value(input)
            .map_err(|error| failure(&StepError::bug(format!("no results to write: {error}"))))?;
        Ok(json!({"ResultWriterDetails": {"Bucket": bucket, "Key": format!("{prefix}/manifest.json")}}))
    }

    /// Settles what an execution of `migrate` left that ended badly, as the rule on such executions does on AWS.
    pub(super) async fn settle_broken(&self, execution: &str, started_ms: u64, input: &Value, outcome: &Outcome) {
        let Err(error) = &outcome.result else { return };
        if error.error == OBJECTS_FAILED {
            return;
        }
        let lost = LostExecution {
            execution: execution.to_owned(),
            started_ms,
            status: "FAILED".into(),
            input: Some(input.to_string()),
            reason: Some(error.to_string()),
        };
        let context = self.shared.context(None);
        if let Err(error) = settle_ended(&self.shared.clients, &context, lost).await {
            tracing::error!(execution, %error, "not settled");
            self.unsettled.fetch_add(1, Relaxed);
        }
    }
}
