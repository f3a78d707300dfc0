//! Two endpoints as two accounts, and everything a step needs between them.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials as Keyring, SharedCredentialsProvider};
use longhaul::in_process::{Around, Ended, Live, Local, Runner};
use longhaul_aws::clients::{Clients, Io, Sides};
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::error::StepError;
use longhaul_aws::ledger::EmbeddedLedger;
use longhaul_aws::outbox::Outbox;
use longhaul_aws::outcomes::ledger_key;
use longhaul_core::config::{Config, Options, Route, ServerSideCopy, Side};
use longhaul_core::job::JobRecord;
use longhaul_core::request::{ObjectRef, Request};
use longhaul_core::tally::Tally;
use longhaul_testing::{Keys, Served, Store, TestS3, http_client_for, serve};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) const MIB: u64 = 1024 * 1024;
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Somebody listens to the whole process before the product first logs. A line that is first met while nobody does, and
/// while a test begins to, may be taken for one that nobody ever wants: <https://github.com/tokio-rs/tracing/issues/3611>
fn hear() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::registry().with(LevelFilter::INFO).init());
}

/// Remembers what was sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) failed: Mutex<Vec<String>>,
    pub(crate) unreadable: Mutex<Vec<(String, String)>>,
    pub(crate) started: Mutex<BTreeMap<String, Request>>,
    /// Starts of these executions are refused.
    pub(crate) refused: Mutex<Vec<String>>,
    /// Executions that have not ended.
    pub(crate) running: Mutex<Vec<String>>,
    /// Subjects and texts.
    pub(crate) notified: Mutex<Vec<(String, String)>>,
}

#[async_trait::async_trait]
impl Outbox for Sent {
    async fn start(&self, name: &str, request: &Request) -> Result<(), StepError> {
        if self.refused.lock().unwrap().iter().any(|refused| refused == name) {
            return Err(StepError::new(longhaul_core::error::ErrorName::Throttled, "no room"));
        }
        self.started.lock().unwrap().entry(name.to_owned()).or_insert_with(|| request.clone());
        Ok(())
    }

    async fn send_failed(&self, body: &str) -> Result<(), StepError> {
        self.failed.lock().unwrap().push(body.to_owned());
        Ok(())
    }

    async fn send_unreadable(&self, body: &str, reason: &str) -> Result<(), StepError> {
        self.unreadable.lock().unwrap().push((body.to_owned(), reason.to_owned()));
        Ok(())
    }

    async fn input_of(&self, execution: &str) -> Result<String, StepError> {
        Err(StepError::rejected(format!("{execution} is not known")))
    }

    async fn is_running(&self, execution: &str) -> Result<bool, StepError> {
        Ok(self.running.lock().unwrap().iter().any(|running| running == execution))
    }

    async fn notify(&self, subject: &str, text: &str) -> Result<(), StepError> {
        self.notified.lock().unwrap().push((subject.to_owned(), text.to_owned()));
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) here: TestS3,
    pub(crate) there: TestS3,
    pub(crate) clients: Arc<Clients>,
    pub(crate) sent: Arc<Sent>,
    pub(crate) route: Route,
    runner: Runner,
    _served: Vec<Served>,
}

/// How the steps reach the two endpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Loopback sockets, in the clear: nothing can trail an unsigned body.
    Http,
    /// As over TLS, without sockets: trailing checksums are to be had.
    Tls,
}

impl World {
    /// Buckets `from` here and `to` there.
    pub(crate) async fn new() -> Self {
        Self::with(Keys::default(), Wire::Http).await
    }

    /// The same, as over TLS.
    pub(crate) async fn over_tls() -> Self {
        Self::with(Keys::default(), Wire::Tls).await
    }

    /// Both buckets in one store, on a route that lets it copy by itself. Requests have to name the route.
    pub(crate) async fn in_one_store(wire: Wire) -> Self {
        let one = TestS3::default();
        let mut world = Self::between(one.clone(), one, wire).await;
        world.route.destination.endpoint = world.route.source.endpoint.clone();
        world.route.options.server_side_copy = ServerSideCopy::Auto;
        world
    }

    /// As over TLS, with something around every step of an execution.
    pub(crate) async fn around(around: Arc<dyn Around>) -> Self {
        Self::made(TestS3::default(), TestS3::default(), Wire::Tls, Some(around), Keys::default()).await
    }

    /// The destination admits only these keys.
    pub(crate) async fn with(keys: Keys, wire: Wire) -> Self {
        Self::between(TestS3::default(), TestS3::new(Store::default(), keys), wire).await
    }

    async fn between(here: TestS3, there: TestS3, wire: Wire) -> Self {
        Self::made(here, there, wire, None, Keys::default()).await
    }

    /// Both endpoints admit these keys, and the steps have them.
    pub(crate) async fn under(keys: Keys) -> Self {
        let side = || TestS3::new(Store::default(), keys.clone());
        Self::made(side(), side(), Wire::Http, None, keys.clone()).await
    }

    async fn made(here: TestS3, there: TestS3, wire: Wire, around: Option<Arc<dyn Around>>, keys: Keys) -> Self {
        hear();
        here.store().bucket("departures");
        there.store().bucket("arrivals");
        let mut served = Vec::new();
        let mut endpoints = Vec::new();
        let mut io = Io::system().unwrap();
        match wire {
            Wire::Http => {
                for endpoint in [&here, &there] {
                    let (address, running) = serve(endpoint, ANY_PORT).await.unwrap();
                    endpoints.push(format!("http://{address}"));
                    served.push(running);
                }
            }
            Wire::Tls => {
                let hosts = [("here.invalid".to_owned(), here.clone()), ("there.invalid".to_owned(), there.clone())];
                endpoints.extend(hosts.iter().map(|(host, _)| format!("https://{host}")));
                io.http = Some(http_client_for(hosts));
            }
        }
        let side = |bucket: &str, endpoint: &str| Side {
            bucket: bucket.into(),
            region: Some("us-east-1".into()),
            endpoint: Some(endpoint.into()),
            path_style: true,
            ..Side::default()
        };
        let route = Route {
            name: "test".into(),
            source: side("departures", &endpoints[0]),
            destination: side("arrivals", &endpoints[1]),
            options: Options::default(),
        };
        let keyring = Keyring::new(keys.access_key, keys.secret_key, None, None, "test");
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(keyring))
            .build();
        let sent = Arc::new(Sent::default());
        let local = Local {
            sides: Sides::new(io, shared, Secrets::none()),
            ledger: Arc::new(EmbeddedLedger::in_memory().unwrap()),
            outbox: sent.clone(),
            config: Config { routes: vec![route.clone()] },
            engine: Engine::new(16, 256 * MIB),
        };
        let runner = Runner::with_around(local, Clock::system(), 7, around).unwrap();
        let clients = Arc::new(runner.clients().clone());
        Self { here, there, clients, sent, route, runner, _served: served }
    }

    pub(crate) fn context(&self) -> Context {
        self.context_for(Duration::from_secs(300))
    }

    pub(crate) fn context_for(&self, time: Duration) -> Context {
        Context::new(Clock::system(), time, 1, 7)
    }

    /// An object of the source as an event offers it.
    pub(crate) fn offer(&self, key: &str) -> ObjectRef {
        let size = self.here.store().object("departures", key).map(|object| object.body.len());
        ObjectRef { bucket: "departures".into(), key: key.into(), size, ..ObjectRef::default() }
    }

    pub(crate) fn request(&self, keys: &[&str]) -> Request {
        Request { objects: keys.iter().map(|key| self.offer(key)).collect(), ..Request::default() }
    }

    /// Runs one execution of the real state machine, its successors included.
    pub(crate) async fn migrate(&self, execution: &str, request: &Request) -> Ended {
        self.runner.run_migrate(execution, request, Arc::default()).await
    }

    /// Runs one execution of the real state machine for backfills, and whatever it starts.
    pub(crate) async fn backfill(&self, execution: &str, request: serde_json::Value) -> longhaul_asl::Outcome {
        self.runner.run_backfill(execution, request, Arc::default()).await
    }

    /// The same, with everything that the steps counted.
    pub(crate) async fn migrate_counted(&self, execution: &str, request: &Request) -> (Ended, Tally) {
        let live = Arc::<Live>::default();
        let ended = self.runner.run_migrate(execution, request, live.clone()).await;
        (ended, live.tally())
    }

    pub(crate) async fn record(&self, key: &str) -> Option<JobRecord> {
        self.clients.ledger.get(&ledger_key(&self.route, key).unwrap()).await.unwrap()
    }

    /// Fails unless both sides hold the same bytes.
    pub(crate) fn assert_equal(&self, key: &str) {
        let (here, there) = (self.here.store().get("departures", key), self.there.store().get("arrivals", key));
        assert!(here.is_some(), "nothing at the source under {key:?}");
        assert!(here == there, "{key:?} differs, or is missing");
    }

    /// Bytes that differ from key to key.
    pub(crate) fn bytes(seed: u64, size: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(size as usize + 8);
        while (bytes.len() as u64) < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(size as usize);
        bytes
    }

    pub(crate) fn put(&self, key: &str, seed: u64, size: u64) {
        self.here.store().put("departures", key, Self::bytes(seed, size));
    }
}
