//! A deployment, found by the ARN of its backfill state machine.

use crate::args::remote::DeploymentArgs;
use aws_config::BehaviorVersion;
use aws_sdk_s3::config::Region;
use aws_sdk_sfn::error::DisplayErrorContext;
use bytes::Bytes;
use longhaul_aws::clients::{Io, Sides, own_side};
use longhaul_aws::credentials::Secrets;
use longhaul_aws::work::{S3Work, Work};
use longhaul_core::backfill::run::{Control, ControlObject, Run, control_key, run_key};
use serde_json::Value;
use std::sync::Arc;

/// No run.json is larger: 40 shards whose bounds are keys of 1,024 bytes, and the routes.
const RUN_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// More than any control object.
const CONTROL_MAX_BYTES: u64 = 4 * 1024;

/// A deployment's state machine, work bucket and queues.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Step Functions of its account and Region.
    pub sfn: aws_sdk_sfn::Client,
    /// ARN of its backfill state machine.
    pub state_machine: String,
    /// Its work bucket.
    pub work: Arc<dyn Work>,
    /// SQS of its account and Region.
    pub sqs: aws_sdk_sqs::Client,
    /// URLs of its queue and of its failed queue; absent where an older release was deployed.
    pub queues: Option<(String, String)>,
}

/// An execution that carries out an attempt at a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `ABORTED`, `TIMED_OUT`.
    pub status: String,
    /// Error and cause of one that failed.
    pub cause: Option<String>,
    /// What it returned.
    pub output: Option<String>,
}

impl Execution {
    /// True if it has not ended.
    pub fn is_running(&self) -> bool {
        matches!(self.status.as_str(), "RUNNING" | "PENDING_REDRIVE")
    }
}

impl Deployment {
    /// Connects, in the Region that the ARN names. The error is one line.
    pub async fn connect(args: &DeploymentArgs) -> Result<Self, String> {
        let arn = &args.state_machine;
        let region = arn.split(':').nth(3).filter(|region| !region.is_empty() && arn.contains(":stateMachine:"));
        let region = region.ok_or_else(|| format!("{arn:?} is no ARN of a state machine"))?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
        if let Some(profile) = &args.profile {
            loader = loader.profile_name(profile);
        }
        let shared = loader.load().await;
        let sfn = aws_sdk_sfn::Client::new(&shared);
        let described = sfn.describe_state_machine().state_machine_arn(arn).send().await;
        let definition = described.map_err(|error| told("describing the state machine", &error))?.definition;
        let bucket = named(&definition, "bucket")
            .ok_or("this state machine is no backfill of Longhaul: its Begin state names no work bucket")?;
        let queues = named(&definition, "queue").zip(named(&definition, "failedQueue"));
        let sqs = aws_sdk_sqs::Client::new(&shared);
        let sides = Sides::new(Io::system()?, shared.clone(), Secrets::none());
        let client = sides.client(&own_side(&shared)).await.map_err(|error| error.message)?;
        let work: Arc<dyn Work> = Arc::new(S3Work::new(client, bucket));
        Ok(Self { sfn, state_machine: arn.clone(), work, sqs, queues })
    }

    /// The ARN of the execution of this name.
    pub fn execution_arn(&self, name: &str) -> String {
        format!("{}:{name}", self.state_machine.replacen(":stateMachine:", ":execution:", 1))
    }

    /// Starts an execution; its ARN.
    pub async fn start(&self, name: &str, input: &str) -> Result<String, String> {
        let request = self.sfn.start_execution().state_machine_arn(&self.state_machine).name(name).input(input);
        let started = request.send().await.map_err(|error| told("starting the execution", &error))?;
        Ok(started.execution_arn)
    }

    /// How an execution is doing.
    pub async fn execution(&self, arn: &str) -> Result<Execution, String> {
        let answer = self.sfn.describe_execution().execution_arn(arn).send().await;
        let answer = answer.map_err(|error| told("looking at the execution", &error))?;
        let cause = match (&answer.error, &answer.cause) {
            (None, None) => None,
            (error, cause) => {
                let both = [error.as_deref(), cause.as_deref()];
                Some(both.into_iter().flatten().collect::<Vec<_>>().join(": "))
            }
        };
        let status = answer.status.as_str().to_owned();
        Ok(Execution { arn: answer.execution_arn, status, cause, output: answer.output })
    }

    /// What was fixed when a run began; `None` before it has begun, or if there is none.
    pub async fn run(&self, name: &str) -> Result<Option<Run>, String> {
        let found = self.work.find(&run_key(name), RUN_MAX_BYTES).await.map_err(|error| error.message)?;
        let read = |body: &[u8]| serde_json::from_slice(body).map_err(|error| format!("{}: {error}", run_key(name)));
        found.map(|found| read(&found.body)).transpose()
    }

    /// As [`Self::run`]; its absence is an error.
    pub async fn known_run(&self, name: &str) -> Result<Run, String> {
        self.run(name).await?.ok_or_else(|| format!("there is no run {name:?}: `longhaul status` lists them"))
    }

    /// What the user wants of a run, and the ETag of the object that says so, where there is one.
    pub async fn wanted(&self, name: &str) -> Result<(Option<Control>, Option<String>), String> {
        let key = control_key(name);
        let Some(found) = self.work.find(&key, CONTROL_MAX_BYTES).await.map_err(|error| error.message)? else {
            return Ok((None, None));
        };
        let object: ControlObject = serde_json::from_slice(&found.body).map_err(|error| format!("{key}: {error}"))?;
        Ok((object.control, Some(found.etag)))
    }

    /// Tells a run what the user wants of it. A run that was stopped stays so.
    pub async fn control(&self, name: &str, control: Control) -> Result<(), String> {
        const TRIES: u32 = 5;
        let body = serde_json::to_vec(&ControlObject { control: Some(control) }).map_err(|error| error.to_string())?;
        let body = Bytes::from(body);
        for _ in 0..TRIES {
            let (wanted, etag) = self.wanted(name).await?;
            if wanted == Some(Control::Stopped) {
                return Err(format!("run {name} was stopped, and that is for good"));
            }
            let key = control_key(name);
            let written = match etag {
                Some(etag) => self.work.replace(&key, body.clone(), &etag).await,
                None => self.work.put_new(&key, body.clone()).await,
            };
            if written.map_err(|error| error.message)? {
                return Ok(());
            }
        }
        Err(format!("run {name} is told too much at once: try again"))
    }
}

/// An error of a service in one line.
pub fn told<E>(what: &str, error: &aws_sdk_sfn::error::SdkError<E>) -> String
where
    E: std::error::Error + aws_sdk_sfn::error::ProvideErrorMetadata + 'static,
{
    use aws_sdk_sfn::error::ProvideErrorMetadata as _;
    let text = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => DisplayErrorContext(error).to_string(),
    };
    format!("{what}: {}", text.replace(['\n', '\r'], " "))
}

/// The template puts the names of the work bucket and the queues into the definition, so that the ARN alone leads to
/// everything.
fn named(definition: &str, what: &str) -> Option<String> {
    let definition: Value = serde_json::from_str(definition).ok()?;
    definition.pointer("/States/Begin/Parameters")?.get(what)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_names_the_work_bucket_and_the_queues() {
        let definition = include_str!("../../../statemachine/backfill.asl.json");
        let names = [("bucket", "${WorkBucket}"), ("queue", "${QueueUrl}"), ("failedQueue", "${FailedQueueUrl}")];
        for (what, expected) in names {
            assert_eq!(named(definition, what).as_deref(), Some(expected));
        }
        assert_eq!(named("{}", "bucket"), None);
    }
}
