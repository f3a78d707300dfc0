//! What every function needs around its step: logs, clients, the deadline, error names.

use crate::clients::{Clients, Io, Sides, own_side};
use crate::context::{Clock, Context};
use crate::credentials::Secrets;
use crate::engine::Engine;
use crate::error::StepError;
use crate::ledger::DynamoLedger;
use crate::outbox::AwsOutbox;
use crate::routes::Routes;
use crate::work::S3Work;
use futures::FutureExt as _;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use longhaul_core::config::Config;
use longhaul_core::tally::Tally;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// Most transfers in flight at once in one function; memory bounds them further. Each has two connections, the
/// slowest ones in the end three times as many, and a function may have 1,024 files open:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const IN_FLIGHT: usize = 160;
/// Share of the function's memory for bodies in flight: what is left is for the program, TLS and buffers of the kernel.
const MEMORY_SHARE: u64 = 2;

/// Starts the structured log. `RUST_LOG` sets the level, `info` where absent.
pub fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,aws_config=warn".into());
    structured(filter, std::io::stdout).init();
}

/// A log that writes each event as one JSON object with its fields beside its level; CloudWatch adds the time.
pub fn structured<W>(filter: EnvFilter, writer: W) -> impl SubscriberInitExt
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_env_filter(filter)
        .without_time()
        .with_writer(writer)
        .finish()
}

/// Connects the clients of a function from its environment. An error names the variable.
pub async fn connect() -> Result<Clients, StepError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let needed = |name: &str| {
        variable(name).ok_or_else(|| StepError::rejected(format!("environment variable {name} is not set")))
    };
    let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let memory_mib: u64 = variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|text| text.parse().ok()).unwrap_or(512);
    let sides = Sides::new(
        Io::system().map_err(StepError::rejected)?,
        shared.clone(),
        Secrets::new(aws_sdk_secretsmanager::Client::new(&shared)),
    );
    let work = S3Work::new(sides.client(&own_side(&shared)).await?, needed("LONGHAUL_WORK_BUCKET")?);
    let routes = match variable("LONGHAUL_CONFIG_PARAMETER") {
        Some(name) => Routes::parameter(aws_sdk_ssm::Client::new(&shared), name),
        None => Routes::fixed(Config::default()),
    };
    let table = variable("LONGHAUL_LEDGER_TABLE").unwrap_or_default();
    Ok(Clients {
        ledger: Arc::new(DynamoLedger::new(aws_sdk_dynamodb::Client::new(&shared), table)),
        outbox: Arc::new(AwsOutbox {
            sfn: aws_sdk_sfn::Client::new(&shared),
            sqs: aws_sdk_sqs::Client::new(&shared),
            state_machine: variable("LONGHAUL_STATE_MACHINE_ARN"),
            failed_queue: variable("LONGHAUL_FAILED_QUEUE_URL"),
            dead_letter_queue: variable("LONGHAUL_DEAD_LETTER_QUEUE_URL"),
            sns: aws_sdk_sns::Client::new(&shared),
            topic: variable("LONGHAUL_TOPIC_ARN"),
        }),
        work: Arc::new(work),
        routes: Arc::new(routes),
        engine: Arc::new(Engine::new(IN_FLIGHT, memory_mib * 1024 * 1024 / MEMORY_SHARE)),
        // 0 leaves it to the account.
        copy_functions: variable("LONGHAUL_COPY_CONCURRENCY")
            .and_then(|text| text.parse().ok())
            .filter(|count| *count > 0),
        sides: Arc::new(sides),
    })
}

/// Runs `step` on each event until the environment is shut down.
///
/// The input is read here, so that a bad one fails as `Rejected` and not under a name that nothing matches. A step that
/// met refused keys runs once more with secrets read anew. What the step counted is printed as one line of embedded
/// metrics.
pub async fn serve<I, O, F>(
    clients: Clients,
    step: impl Fn(Arc<Clients>, Arc<Context>, I) -> F,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned + Clone,
    O: Serialize,
    F: Future<Output = Result<O, StepError>>,
{
    let clients = Arc::new(clients);
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let (clients, step, function) = (clients.clone(), &step, function.as_str());
        async move {
            let input: I = serde_json::from_value(event.payload)
                .map_err(|error| Diagnostic::from(StepError::rejected(format!("the input cannot be read: {error}"))))?;
            let seed = seed(&event.context.request_id);
            let context = || Arc::new(Context::new(Clock::system(), left(event.context.deadline()), 1, seed));
            let mut surroundings = context();
            let mut result = caught(step(clients.clone(), surroundings.clone(), input.clone())).await;
            if result.as_ref().is_err_and(|error| error.keys_refused) {
                tracing::warn!("keys were refused: secrets are read again");
                clients.sides.forget().await;
                surroundings = context();
                result = caught(step(clients.clone(), surroundings.clone(), input)).await;
            }
            print_metrics(function, surroundings.clock.now_ms(), surroundings.counted());
            result.map_err(|error| {
                tracing::error!(error = error.name.as_str(), reason = error.message, "step failed");
                Diagnostic::from(error)
            })
        }
    }))
    .await
}

/// A panic becomes `Bug`, a name that nothing retries.
async fn caught<O>(step: impl Future<Output = Result<O, StepError>>) -> Result<O, StepError> {
    AssertUnwindSafe(step).catch_unwind().await.unwrap_or_else(|panic| {
        let told = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(StepError::bug(format!("a panic: {}", told.unwrap_or("no message"))))
    })
}

fn left(deadline: SystemTime) -> Duration {
    deadline.duration_since(SystemTime::now()).unwrap_or_default()
}

/// A seed for the jitter of one invocation.
fn seed(request_id: &str) -> u64 {
    // FNV-1a: spreads ids that differ in a few characters.
    request_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Prints what an invocation counted as one line that CloudWatch reads as metrics:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
#[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from standard output")]
fn print_metrics(function: &str, now_ms: u64, tally: Tally) {
    if tally == Tally::default() {
        return;
    }
    println!("{}", metrics(function, now_ms, tally));
}

fn unit(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("bytes") => "Bytes",
        _ if name.ends_with("_ms") => "Milliseconds",
        _ => "Count",
    }
}

fn metrics(function: &str, now_ms: u64, tally: Tally) -> Value {
    let fields: Vec<_> = tally.fields().into_iter().filter(|(_, value)| *value > 0).collect();
    let names: Vec<Value> = fields.iter().map(|(name, _)| json!({"Name": name, "Unit": unit(name)})).collect();
    let mut line = json!({
        "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [
            {"Namespace": "Longhaul", "Dimensions": [["function"]], "Metrics": names}]},
        "function": function,
    });
    for (name, value) in fields {
        line[name] = value.into();
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_bug() {
        let error = caught::<()>(async { panic!("off by one") }).await.unwrap_err();
        assert_eq!((error.name, error.message.as_str()), (longhaul_core::error::ErrorName::Bug, "a panic: off by one"));
    }

    #[test]
    fn metrics_name_what_was_counted_and_nothing_else() {
        let line = metrics("copy-parts", 5, Tally { parts: 2, bytes_up: 9, ..Tally::default() });
        assert_eq!(line["parts"], 2);
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().map(Vec::len), Some(2));
        assert_eq!(line.get("migrated"), None);
    }
}
