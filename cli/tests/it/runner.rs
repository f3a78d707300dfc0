//! The runner without a terminal, a disk or a socket.

use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use longhaul::in_process::{Live, Local, Runner};
use longhaul::outbox::LocalOutbox;
use longhaul_aws::clients::{Io, Sides};
use longhaul_aws::context::Clock;
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::ledger::EmbeddedLedger;
use longhaul_core::config::{Config, Route, Side};
use longhaul_core::outcome::Outcome;
use longhaul_core::request::{ObjectRef, Request};
use longhaul_core::tally::Tally;
use longhaul_testing::{TestS3, http_client};

fn runner(s3: &TestS3) -> (Runner, Arc<LocalOutbox>) {
    let keys = s3.keys();
    let credentials = Credentials::new(&keys.access_key, &keys.secret_key, None, None, "test");
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let io = Io { http: Some(http_client(s3)), ..Io::system().unwrap() };
    let side = |bucket: &str| Side {
        bucket: bucket.into(),
        endpoint: Some("https://s3.invalid".into()),
        path_style: true,
        ..Side::default()
    };
    let route =
        Route { name: "r".into(), source: side("from"), destination: side("into"), options: Default::default() };
    let outbox = Arc::new(LocalOutbox::default());
    let local = Local {
        sides: Sides::new(io, shared, Secrets::none()),
        ledger: Arc::new(EmbeddedLedger::in_memory().unwrap()),
        outbox: outbox.clone(),
        config: Config { routes: vec![route] },
        engine: Engine::new(8, 64 << 20),
    };
    (Runner::new(local, Clock::system(), 7).unwrap(), outbox)
}

fn request(bucket: &str, keys: impl IntoIterator<Item = String>) -> Request {
    let object = |key| ObjectRef { bucket: bucket.into(), key, ..ObjectRef::default() };
    Request { objects: keys.into_iter().map(object).collect(), ..Request::default() }
}

async fn left_over(runner: &Runner) -> Vec<String> {
    runner.clients().work.list("").await.unwrap()
}

#[tokio::test]
async fn successors_belong_to_their_execution() {
    let s3 = TestS3::default();
    s3.store().bucket("into");
    let keys: Vec<String> = (0..2_300).map(|number| format!("k{number}")).collect();
    for key in &keys {
        s3.store().put("from", key, key.clone());
    }
    let (runner, outbox) = runner(&s3);
    let live = Arc::new(Live::default());
    let ended = runner.run_migrate("e-1", &request("from", keys), live.clone()).await;
    assert!(ended.result.is_ok(), "{ended:?}");
    assert_eq!((ended.tally.migrated, ended.tally.failed, ended.unsettled), (2_300, 0, None));
    assert_eq!(live.tally().migrated, 2_300);
    assert_eq!(s3.store().keys("into").len(), 2_300);
    assert!(outbox.failed().is_empty());
    assert_eq!(left_over(&runner).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_object_has_one_outcome() {
    let s3 = TestS3::default();
    s3.store().bucket("into");
    s3.store().put("from", "here", "x");
    let (runner, outbox) = runner(&s3);
    let mut request = request("from", ["here", "gone"].map(str::to_owned));
    request.objects.push(ObjectRef { bucket: "other".into(), key: "k".into(), ..ObjectRef::default() });
    let ended = runner.run_migrate("e-1", &request, Arc::default()).await;
    assert_eq!(ended.result.unwrap_err().error, "ObjectsFailed");
    let Tally { migrated, skipped, failed, unsettled, .. } = ended.tally;
    assert_eq!((migrated, skipped, failed, unsettled), (1, 1, 1, 0));
    assert_eq!(ended.exceptions.len(), 2);
    assert!(
        ended
            .exceptions
            .iter()
            .any(|e| matches!(&e.outcome, Outcome::Failed { failure } if failure.name == "Rejected"))
    );
    assert_eq!(outbox.failed().len(), 1);
    assert_eq!(left_over(&runner).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_execution_that_breaks_is_settled() {
    let s3 = TestS3::default();
    s3.store().bucket("into");
    let (runner, outbox) = runner(&s3);
    // More than an execution may be given.
    let ended =
        runner.run_migrate("e-1", &request("from", (0..300).map(|n| format!("{n:01000}"))), Arc::default()).await;
    assert_eq!(ended.result.unwrap_err().error, "States.DataLimitExceeded");
    assert_eq!((ended.tally.failed, ended.exceptions.len(), ended.unsettled), (300, 300, None));
    assert_eq!(outbox.failed().len(), 300);
    assert_eq!(left_over(&runner).await, Vec::<String>::new());
}
