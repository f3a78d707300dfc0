//! The clients that the steps use. One function makes every S3 client.

use crate::credentials::{SecretCredentials, Secrets};
use crate::engine::Engine;
use crate::error::StepError;
use crate::ledger::Ledger;
use crate::outbox::Outbox;
use crate::routes::Routes;
use crate::transport::http_client;
use crate::work::Work;
use aws_config::SdkConfig;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::{
    Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedAsyncSleep,
    SharedHttpClient,
};
use aws_smithy_async::time::SharedTimeSource;
use longhaul_core::config::{Credentials, Side};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Everything a step talks to.
#[derive(Clone, Debug)]
pub struct Clients {
    /// S3 at the two sides.
    pub sides: Arc<Sides>,
    /// One record for each destination object.
    pub ledger: Arc<dyn Ledger>,
    /// Executions and queues.
    pub outbox: Arc<dyn Outbox>,
    /// Manifests and outcomes.
    pub work: Arc<dyn Work>,
    /// The configuration.
    pub routes: Arc<Routes>,
    /// Limits of what is in flight at once.
    pub engine: Arc<Engine>,
    /// Most functions of each copying kind at once, where the deployment limits them: more ranges of an object would
    /// only wait.
    pub copy_functions: Option<u32>,
}

/// What lies below every S3 client: replaced as a whole in a simulation.
#[derive(Clone, Debug)]
pub struct Io {
    /// Connections; the SDK's own client where absent, without what [`Io::system`] sets.
    pub http: Option<SharedHttpClient>,
    /// Time for signatures and expiry.
    pub time: SharedTimeSource,
    /// Waits between the SDK's retries.
    pub sleep: SharedAsyncSleep,
}

impl Io {
    /// Real connections and real time.
    ///
    /// The error says why TLS cannot be had.
    pub fn system() -> Result<Self, String> {
        Self::over(Vec::new())
    }

    /// As [`Self::system`], trusting the authorities of `pem` besides those of the machine.
    ///
    /// The error says why the text holds no certificate.
    pub fn trusting(pem: &[u8]) -> Result<Self, String> {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| error.to_string())?;
        if certificates.is_empty() {
            return Err("it holds no certificate in PEM form".into());
        }
        Self::over(certificates)
    }

    fn over(authorities: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        Ok(Self {
            http: Some(http_client(authorities)?),
            time: SharedTimeSource::new(aws_smithy_async::time::SystemTimeSource::new()),
            sleep: SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()),
        })
    }
}

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a request without a long body. Writes of data and completions set their own.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes an S3 client for one side. Every S3 client of Longhaul is made here.
///
/// `answer` is the longest wait for an answer, where the client sets it. Checksums of the SDK's own and its stalled-stream protection are off: the engine proves and times what it moves.
pub fn s3_client(
    io: &Io,
    side: &Side,
    region: Option<Region>,
    credentials: Option<SharedCredentialsProvider>,
    answer: Option<Duration>,
) -> aws_sdk_s3::Client {
    let mut config = Builder::new()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(region)
        .force_path_style(side.path_style)
        .time_source(io.time.clone())
        .sleep_impl(io.sleep.clone())
        // Secrets say when they expire; what never expires is kept for an hour.
        .identity_cache(IdentityCache::lazy().default_expiration(Duration::from_secs(3_600)).build())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(request_timeout(answer))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    config = match credentials {
        Some(provider) => config.credentials_provider(provider),
        None => config.allow_no_auth(),
    };
    if let Some(http) = &io.http {
        config = config.http_client(http.clone());
    }
    if let Some(endpoint) = &side.endpoint {
        config = config.endpoint_url(endpoint);
    }
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Timeouts of a request whose answer may take `longest`.
pub fn request_timeout(longest: Option<Duration>) -> TimeoutConfig {
    let mut timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT);
    timeouts.set_operation_attempt_timeout(longest);
    timeouts.build()
}

/// The side of this deployment's own bucket. An endpoint set for all services is a local AWS, where a bucket's name
/// resolves only as part of the path.
pub fn own_side(shared: &SdkConfig) -> Side {
    let endpoint = shared.endpoint_url().map(str::to_owned);
    Side { path_style: endpoint.is_some(), endpoint, ..Side::default() }
}

/// The S3 clients of all sides in use, made when first needed.
#[derive(Debug)]
pub struct Sides {
    io: Io,
    shared: SdkConfig,
    secrets: Secrets,
    // One entry a side; a handful at most.
    made: Mutex<BTreeMap<Side, Pair>>,
}

/// The two clients of a side. Settings of a single request would be merged anew for each, which costs a fifth of a small
/// object's time; so what differs for all writes of data is a client of its own.
#[derive(Clone, Debug)]
pub struct Pair {
    /// For everything whose answer comes soon.
    pub client: aws_sdk_s3::Client,
    /// For writes of data, whose time depends on their length: the caller sets the limit.
    pub writer: aws_sdk_s3::Client,
}

impl Sides {
    /// Clients over `io`; `shared` gives the function's own Region and credentials.
    pub fn new(io: Io, shared: SdkConfig, secrets: Secrets) -> Self {
        Self { io, shared, secrets, made: Mutex::default() }
    }

    /// The client of `side`.
    ///
    /// Fails as `Rejected` where its secret or profile cannot be read.
    pub async fn client(&self, side: &Side) -> Result<aws_sdk_s3::Client, StepError> {
        Ok(self.pair(side).await?.client)
    }

    /// Both clients of `side`; errors as for [`Self::client`].
    pub async fn pair(&self, side: &Side) -> Result<Pair, StepError> {
        // What a client depends on; prefix and owner travel with the requests.
        let identity = Side { prefix: String::new(), owner: None, requester_pays: false, ..side.clone() };
        let mut made = self.made.lock().await;
        if let Some(pair) = made.get(&identity) {
            return Ok(pair.clone());
        }
        let pair = self.make(&identity).await?;
        made.insert(identity, pair.clone());
        Ok(pair)
    }

    /// Forgets all clients and secrets, so that keys are read again.
    pub async fn forget(&self) {
        self.secrets.forget().await;
        self.made.lock().await.clear();
    }

    async fn make(&self, side: &Side) -> Result<Pair, StepError> {
        let mut region = side.region.clone().map(Region::new);
        let credentials = match &side.credentials {
            Credentials::Role => self.shared.credentials_provider(),
            Credentials::Anonymous => None,
            Credentials::Secret { secret } => {
                let keys = self.secrets.read(secret).await?;
                region = region.or_else(|| keys.region.clone().map(Region::new));
                Some(SharedCredentialsProvider::new(SecretCredentials::new(self.secrets.clone(), secret)))
            }
            Credentials::AssumeRole { role_arn } => {
                let provider = aws_config::sts::AssumeRoleProvider::builder(role_arn)
                    .session_name("longhaul")
                    .configure(&self.shared)
                    .build()
                    .await;
                Some(SharedCredentialsProvider::new(provider))
            }
            Credentials::Profile { profile } => {
                // Not by the default chain: keys and a Region in the environment would win over the named profile.
                if region.is_none() {
                    region = ProfileFileRegionProvider::builder().profile_name(profile).build().region().await;
                }
                let config = ProviderConfig::without_region().with_region(region.clone());
                let provider =
                    ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&config).build();
                Some(SharedCredentialsProvider::new(provider))
            }
        };
        let region = region.or_else(|| self.shared.region().cloned());
        let unnamed = region.is_none() && side.endpoint.is_none();
        if unnamed {
            return Err(StepError::rejected(format!("no Region is known for bucket {}", side.bucket)));
        }
        // A store behind an endpoint seldom cares, but a signature names some Region.
        let region = region.or_else(|| Some(Region::new("us-east-1")));
        let client = |answer| s3_client(&self.io, side, region.clone(), credentials.clone(), answer);
        Ok(Pair { client: client(Some(REQUEST_TIMEOUT)), writer: client(None) })
    }
}
