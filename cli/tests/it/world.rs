//! Two endpoints with keys of their own, and the command between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Output, Stdio};
use std::time::Duration;

use longhaul_testing::{Keys, Served, Store, TestS3, serve};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) struct World {
    pub(crate) source: TestS3,
    pub(crate) destination: TestS3,
    pub(crate) at: [SocketAddr; 2],
    pub(crate) home: TempDir,
    _served: [Served; 2],
}

/// What the command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Exit 1, and one line on standard error, besides those of progress, that says all of this.
    pub(crate) fn refused(&self, said: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let lines = self.stderr.lines().filter(|line| !line.contains(" objects, "));
        assert_eq!(lines.collect::<Vec<_>>().len(), 1, "{self:?}");
        for part in said {
            assert!(self.stderr.contains(part), "{part:?} in {self:?}");
        }
        assert!(!self.stderr.contains("secret-of") && !self.stderr.contains("panicked"), "{self:?}");
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn keys(name: &str) -> Keys {
    Keys { access_key: format!("id-of-{name}"), secret_key: format!("secret-of-{name}") }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(Store::default(), Store::default()).await
    }

    pub(crate) async fn over(source: Store, destination: Store) -> Self {
        source.bucket("from");
        destination.bucket("into");
        let source = TestS3::new(source, keys("source"));
        let destination = TestS3::new(destination, keys("destination"));
        let (source_at, source_served) = serve(&source, ANY).await.unwrap();
        let (destination_at, destination_served) = serve(&destination, ANY).await.unwrap();
        let home = TempDir::new().unwrap();
        let profile = |name: &str, id: &str, secret: &str| {
            format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
        };
        let profiles = [
            profile("source", "id-of-source", "secret-of-source"),
            profile("destination", "id-of-destination", "secret-of-destination"),
            profile("stranger", "id-of-stranger", "secret-of-stranger"),
            profile("liar", "id-of-destination", "secret-of-stranger"),
        ];
        std::fs::write(home.path().join("credentials"), profiles.concat()).unwrap();
        Self {
            source,
            destination,
            at: [source_at, destination_at],
            home,
            _served: [source_served, destination_served],
        }
    }

    /// `longhaul` in an environment whose own keys open neither side.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.home.path().join("credentials"))
            .env("AWS_CONFIG_FILE", self.home.path().join("config"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "id-of-nobody")
            .env("AWS_SECRET_ACCESS_KEY", "secret-of-nobody")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// `longhaul copy` between the two endpoints with the right keys, unless `more` says otherwise.
    pub(crate) fn copy(&self, source: &str, destination: &str, more: &[&str]) -> Command {
        self.between("copy", source, destination, more)
    }

    /// A command of two ends, as [`Self::copy`].
    pub(crate) fn between(&self, what: &str, source: &str, destination: &str, more: &[&str]) -> Command {
        let [from, to] = self.at.map(|at| format!("http://{at}"));
        let mut command = self.command(&[what, source, destination]);
        command.args(["--source-endpoint-url", &from, "--source-force-path-style"]);
        command.args(["--destination-endpoint-url", &to, "--destination-force-path-style"]);
        for (option, profile) in [("--source-profile", "source"), ("--destination-profile", "destination")] {
            if !more.contains(&option) {
                command.args([option, profile]);
            }
        }
        command.args(more);
        command
    }

    pub(crate) async fn run(&self, source: &str, destination: &str, more: &[&str]) -> Ran {
        self.copy(source, destination, more).output().await.unwrap().into()
    }

    pub(crate) async fn look(&self, what: &str, more: &[&str]) -> Ran {
        self.between(what, "s3://from", "s3://into", more).output().await.unwrap().into()
    }

    pub(crate) fn start(&self, source: &str, destination: &str, more: &[&str]) -> Child {
        self.copy(source, destination, more).spawn().unwrap()
    }

    /// Requests that write at the destination.
    pub(crate) fn writes(&self) -> usize {
        const WRITES: [&str; 4] = ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"];
        self.destination.log().count_if(|entry| WRITES.contains(&entry.call.operation.as_str()))
    }

    /// Every object under `from` stands under `to`, byte for byte, and nothing else does.
    pub(crate) fn assert_equal(&self, from: &str, to: &str) {
        let (source, destination) = (self.source.store(), self.destination.store());
        let taken: Vec<String> =
            source.keys("from").into_iter().filter_map(|key| Some(key.strip_prefix(from)?.to_owned())).collect();
        let put: Vec<String> =
            destination.keys("into").into_iter().filter_map(|key| Some(key.strip_prefix(to)?.to_owned())).collect();
        assert_eq!(taken, put);
        for rest in taken {
            let (a, b) =
                (source.object("from", &format!("{from}{rest}")), destination.object("into", &format!("{to}{rest}")));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(a.body.len(), b.body.len(), "{rest}");
            let held = b.body.bytes().unwrap();
            let mut rest_of = held.as_ref();
            let same = a.body.pieces(0..a.body.len()).all(|piece| {
                let (next, left) = rest_of.split_at(piece.len());
                rest_of = left;
                next == piece
            });
            assert!(same, "{rest} differs");
        }
    }
}

/// Waits until this holds; a minute is far more than it takes.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it never came so far");
}
