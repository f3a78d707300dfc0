//! Takes requests to what answers them, and counts.

use crate::call::{Call, Operation};
use crate::pattern::Pattern;
use crate::reply::{Answer, document, empty, error, text, with};
use crate::store::{Bucket, State, offered, verdict};
use crate::{cpu, data, listing, objects, uploads};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the server behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Waited before each answer.
    pub(crate) latency: Duration,
    /// Objects are encrypted under KMS: their ETags are no MD5s.
    pub(crate) kms: bool,
    /// HEAD and GET of a part tell the number of parts.
    pub(crate) part_counts: bool,
    /// HEAD and GET tell a whole object's CRC64NVME where they are asked to.
    pub(crate) checksums: bool,
}

/// The server.
pub(crate) struct Server {
    pub(crate) pattern: Arc<Pattern>,
    /// What the source offers; it never changes.
    pub(crate) offered: BTreeMap<String, Bucket>,
    pub(crate) options: Options,
    state: Mutex<State>,
    /// CPU seconds up to the last reset, of user and system.
    spent: Mutex<(f64, f64)>,
}

impl Server {
    /// A server that offers the objects of these cases.
    pub(crate) fn new(cases: &[String], options: Options) -> Self {
        let pattern = Pattern::new();
        let offered = cases.iter().map(|case| {
            let objects = data::offers(case);
            let objects = objects.into_iter().map(|offer| (offer.key.clone(), offered(&pattern, &offer)));
            (case.clone(), objects.collect())
        });
        Self {
            offered: offered.collect(),
            pattern: Arc::new(pattern),
            options,
            state: Mutex::default(),
            spent: Mutex::new(cpu::seconds()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer with the encryption that the server has.
    pub(crate) fn sealed(&self, answer: Answer) -> Answer {
        match self.options.kms {
            true => with(answer, "x-amz-server-side-encryption", "aws:kms"),
            false => answer,
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let call = Call::new(parts);
        let operation = call.operation();
        match operation {
            Operation::Stats => return self.stats(),
            Operation::Reset => return self.reset(),
            Operation::Verify => return self.verify(&call),
            _ => self.count(&call, operation),
        }
        let _under_way = UnderWay(&self);
        if !self.options.latency.is_zero() {
            tokio::time::sleep(self.options.latency).await;
        }
        self.act(operation, &call, body).await
    }

    async fn act(self: &Arc<Self>, operation: Operation, call: &Call, body: Incoming) -> Answer {
        match operation {
            Operation::ListBuckets => document("ListAllMyBucketsResult", "<Buckets></Buckets>"),
            Operation::GetBucketLocation => document("LocationConstraint", ""),
            Operation::GetBucketVersioning => document("VersioningConfiguration", ""),
            Operation::GetObjectTagging => document("Tagging", "<TagSet></TagSet>"),
            Operation::HeadBucket | Operation::CreateBucket => empty(StatusCode::OK),
            Operation::ListObjects => listing::list(self, call),
            Operation::GetObject | Operation::HeadObject => objects::read(self, call),
            Operation::PutObject => objects::put(self, call, body).await,
            Operation::DeleteObject => objects::delete(self, call),
            Operation::CreateMultipartUpload => uploads::create(self, call),
            Operation::UploadPart => uploads::part(self, call, body).await,
            Operation::ListParts => uploads::list(self, call),
            Operation::ListMultipartUploads => uploads::list_uploads(self, call),
            Operation::CompleteMultipartUpload => uploads::complete(self, call, body).await,
            Operation::AbortMultipartUpload => uploads::abort(self, call),
            Operation::Stats | Operation::Reset | Operation::Verify | Operation::Unknown => {
                eprintln!("not known: {} /{}/{} {:?}", call.method, call.bucket, call.key, call.query);
                error(StatusCode::NOT_IMPLEMENTED, "NotImplemented")
            }
        }
    }

    /// Counts the request, and the proofs that come with it under a name with `~`.
    fn count(&self, call: &Call, operation: Operation) {
        let mut state = self.state();
        state.in_flight += 1;
        state.in_flight_peak = state.in_flight_peak.max(state.in_flight);
        *state.counts.entry(format!("{operation:?}")).or_default() += 1;
        let proofs = ["content-md5", "x-amz-trailer", "x-amz-checksum-crc64nvme", "x-amz-checksum-crc32", "if-match"];
        for proof in proofs {
            if let Some(value) = call.header(proof) {
                let value = if proof == "x-amz-trailer" { value } else { "" };
                *state.counts.entry(format!("~{operation:?} {proof} {value}").trim_end().to_owned()).or_default() += 1;
            }
        }
    }

    fn stats(&self) -> Answer {
        let spent = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, system) = cpu::seconds();
        let state = self.state();
        let requests: u64 = state.counts.iter().filter(|(name, _)| !name.starts_with('~')).map(|(_, n)| n).sum();
        let stats = json!({
            "requests": requests,
            "connections": state.connections,
            "in_flight_peak": state.in_flight_peak,
            "bytes_in": state.bytes_in,
            "bytes_out": state.bytes_out,
            "uploads_open": state.uploads.len(),
            "cpu_user": user - spent.0,
            "cpu_system": system - spent.1,
            "operations": state.counts,
        });
        text(StatusCode::OK, format!("{stats}\n"))
    }

    /// Forgets everything received and counted.
    fn reset(&self) -> Answer {
        let mut state = self.state();
        let (in_flight, uploads_begun) = (state.in_flight, state.uploads_begun);
        *state = State { in_flight, in_flight_peak: in_flight, uploads_begun, ..State::default() };
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) = cpu::seconds();
        empty(StatusCode::OK)
    }

    fn verify(&self, call: &Call) -> Answer {
        let state = self.state();
        let verdict = verdict(&self.pattern, state.buckets.get(call.asked("bucket")), call.asked("case"));
        let verdict = json!({
            "equal": verdict.equal, "missing": verdict.missing, "wrong": verdict.wrong, "foreign": verdict.foreign
        });
        text(StatusCode::OK, format!("{verdict}\n"))
    }
}

/// A request that is being answered, until the client has gone away.
struct UnderWay<'a>(&'a Server);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
    }
}
