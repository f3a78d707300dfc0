//! Measures the scan: compares the buckets `keys-N` and `keys-N-copy` of `null-s3`, and says what it took in one line of
//! JSON.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use clap::Parser;
use longhaul_aws::clients::{Clients, Io, Sides};
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::error::StepError;
use longhaul_aws::ledger::EmbeddedLedger;
use longhaul_aws::outbox::Outbox;
use longhaul_aws::routes::Routes;
use longhaul_aws::scan::{Job, Stretch, scan_into};
use longhaul_aws::work::MemoryWork;
use longhaul_core::backfill::manifest::Progress;
use longhaul_core::backfill::request::BackfillRequest;
use longhaul_core::backfill::run::Shard;
use longhaul_core::config::{Config, Options, Route, Side};
use longhaul_core::request::Request;
use serde_json::json;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Compares `keys-N` with `keys-N-copy`.
#[derive(Debug, Parser)]
struct Args {
    /// URL of the server that lists the source.
    #[arg(long)]
    source: String,
    /// URL of the server that lists the destination.
    #[arg(long)]
    destination: String,
    /// N.
    #[arg(long)]
    keys: u64,
    /// Only lists both sides, as the SDK reads listings.
    #[arg(long)]
    sdk: bool,
}

/// Nobody is told anything.
#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl Outbox for Nobody {
    async fn start(&self, _: &str, _: &Request) -> Result<(), StepError> {
        Ok(())
    }
    async fn send_failed(&self, _: &str) -> Result<(), StepError> {
        Ok(())
    }
    async fn send_unreadable(&self, _: &str, _: &str) -> Result<(), StepError> {
        Ok(())
    }
    async fn input_of(&self, execution: &str) -> Result<String, StepError> {
        Err(StepError::rejected(format!("{execution} is not known")))
    }
    async fn is_running(&self, _: &str) -> Result<bool, StepError> {
        Ok(false)
    }
    async fn notify(&self, _: &str, _: &str) -> Result<(), StepError> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let side = |endpoint: &str, bucket: String| Side {
        bucket,
        region: Some("us-east-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        ..Side::default()
    };
    let route = Route {
        name: "bench".to_owned(),
        source: side(&args.source, format!("keys-{}", args.keys)),
        destination: side(&args.destination, format!("keys-{}-copy", args.keys)),
        options: Options::default(),
    };
    let keys = SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "bench"));
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(keys)
        .build();
    let clients = Clients {
        sides: Arc::new(Sides::new(Io::system()?, shared, Secrets::none())),
        ledger: Arc::new(EmbeddedLedger::in_memory().map_err(|error| error.to_string())?),
        outbox: Arc::new(Nobody),
        work: Arc::new(MemoryWork::default()),
        routes: Arc::new(Routes::fixed(Config { routes: vec![route.clone()] })),
        engine: Arc::new(Engine::new(16, 64 << 20)),
        copy_functions: None,
    };
    let begun = Instant::now();
    let listed = if args.sdk {
        let (one, other) =
            tokio::try_join!(listed_by_sdk(&clients, &route.source), listed_by_sdk(&clients, &route.destination))?;
        json!({"source": one, "destination": other})
    } else {
        let progress = scanned(&clients, &route).await?;
        serde_json::to_value(progress.counts)?
    };
    let wall = begun.elapsed().as_secs_f64();
    let (user, system) = seconds();
    let cpu = user + system;
    let told = json!({
        "keys": args.keys, "wall": wall, "user": user, "system": system,
        "keys_per_cpu_second": args.keys as f64 / cpu, "peak_rss_mib": peak_mib(), "counts": listed,
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

async fn scanned(clients: &Clients, route: &Route) -> Result<Progress, StepError> {
    let context = Context::new(Clock::system(), Duration::from_secs(86_400), 1, 7);
    let (request, shard) = (BackfillRequest::default(), Shard::default());
    let job = Job { route, shard: &shard, request: &request, started_ms: 0 };
    let (sink, mut stretches) = mpsc::channel::<Stretch>(2);
    let drain = async {
        let mut last = Progress::default();
        while let Some(stretch) = stretches.recv().await {
            last = stretch.progress;
        }
        last
    };
    let (ended, last) = tokio::join!(scan_into(clients, &context, job, sink), drain);
    ended?;
    Ok(last)
}

async fn listed_by_sdk(clients: &Clients, side: &Side) -> Result<u64, StepError> {
    let client = clients.sides.client(side).await?;
    let (mut count, mut token) = (0, None);
    loop {
        let request = client.list_objects_v2().bucket(&side.bucket).set_continuation_token(token);
        let page = request.send().await.map_err(|error| StepError::rejected(format!("{error:?}")))?;
        count += page.contents().len() as u64;
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(count);
        }
    }
}

/// CPU seconds of this process, of user and system.
fn seconds() -> (f64, f64) {
    /// The kernel's unit in `/proc`, the same on every Linux: `sysconf(_SC_CLK_TCK)`.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let mut fields = fields.split_whitespace().skip(11).filter_map(|field| field.parse::<f64>().ok());
    let mut next = || fields.next().unwrap_or_default() / TICKS;
    (next(), next())
}

/// Most memory that was ever resident, in MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
