//! The body of an upload: what a GET brings, forwarded at once, counted and hashed as it passes.

use super::PROGRESS_TIMEOUT;
use crate::error::StepError;
use crate::source::Source;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use longhaul_core::error::ErrorName;
use longhaul_core::etag::Md5Digest;
use longhaul_core::hedge;
use longhaul_core::job::SourceIdentity;
use longhaul_core::tally::Tally;
use longhaul_lanes::Md5Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Times that one body is read on from where it stopped.
const RESUMES_MAX: u32 = 4;
/// How often a body under way is looked at.
const WATCH: Duration = Duration::from_secs(5);
/// Bytes that a kernel may hold back, and the slowest rate at which they are still worth waiting for.
const KERNEL_BYTES: u64 = 16 * 1024 * 1024;
const SLOWEST_RATE: u64 = 64 * 1024;

/// Which bytes of which version a body brings.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) source: Source,
    pub(crate) key: String,
    pub(crate) identity: SourceIdentity,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Span {
    /// The bytes from `skip` on; `SourceChanged` if the version is not current any more.
    pub(crate) async fn open(&self, skip: u64) -> Result<ByteStream, StepError> {
        self.source.get_range(&self.key, &self.identity, self.offset + skip, self.length - skip).await
    }
}

/// One body under way, as seen from outside.
#[derive(Debug)]
pub(crate) struct Flow {
    length: u64,
    moved: AtomicU64,
    total: Arc<AtomicU64>,
    begun: Instant,
    seen: Mutex<Seen>,
    looks: Mutex<VecDeque<(Instant, u64)>>,
}

/// Looks that a rate is taken over.
const LOOKS: usize = 5;

#[derive(Debug, Default)]
struct Seen {
    md5: Option<Md5Stream>,
    faults: Tally,
    failure: Option<StepError>,
}

impl Flow {
    /// A body of `length` bytes, hashed where `md5` is given. What it moves is added to `total` as well.
    pub(crate) fn new(length: u64, md5: Option<Md5Stream>, total: &Arc<AtomicU64>) -> Arc<Self> {
        let seen = Mutex::new(Seen { md5, ..Seen::default() });
        let (begun, looks) = (Instant::now(), Mutex::default());
        Arc::new(Self { length, moved: AtomicU64::new(0), total: total.clone(), begun, seen, looks })
    }

    /// Bytes that passed so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Time since it was begun.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How far it has come, and how fast it has been since the last few looks.
    pub(crate) fn look(&self) -> hedge::Copy {
        let (now, moved) = (Instant::now(), self.moved());
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = looks.front().copied().unwrap_or((self.begun, 0));
        let handed_over = looks.iter().find(|(_, moved)| *moved == self.length).map(|(at, _)| *at);
        // Looks after the end would forget when it came.
        if handed_over.is_none() {
            looks.push_back((now, moved));
            if looks.len() > LOOKS {
                looks.pop_front();
            }
        }
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        hedge::Copy {
            moved,
            age_ms: ms(now - self.begun),
            rate: (moved - before) as f64 / ms(now - since).max(1) as f64,
            handed_over_ms: handed_over.map_or(0, |at| ms(now - at)),
        }
    }

    /// The MD5 of what passed, where it was taken and the body came to its end.
    pub(crate) fn digest(&self) -> Option<Md5Digest> {
        let md5 = self.seen().md5.take()?;
        (self.moved() == self.length).then(|| Md5Digest::from_bytes(md5.finish()))
    }

    /// What went wrong and was mended, and how many bytes came down.
    pub(crate) fn tally(&self) -> Tally {
        Tally { bytes_down: self.moved(), ..self.seen().faults }
    }

    /// Why the body failed, where it did.
    pub(crate) fn failure(&self) -> Option<StepError> {
        self.seen().failure.take()
    }

    /// Ends, with the reason, when nothing has moved for too long: the body into the connection, or an answer back.
    pub(crate) async fn stalled(&self) -> StepError {
        let answer = PROGRESS_TIMEOUT * 2 + Duration::from_secs(self.length.min(KERNEL_BYTES) / SLOWEST_RATE);
        let (mut moved, mut since) = (self.moved(), Instant::now());
        loop {
            sleep(WATCH).await;
            let now = self.moved();
            if now != moved {
                (moved, since) = (now, Instant::now());
                continue;
            }
            // A body that waits for the source mends itself first.
            let (limit, what) = if moved == self.length {
                (answer, "the destination did not answer")
            } else {
                (PROGRESS_TIMEOUT + WATCH * 2, "nothing moved")
            };
            if since.elapsed() >= limit {
                return StepError::stalled(format!(
                    "{what} for {} s, {moved} of {} bytes",
                    limit.as_secs(),
                    self.length
                ));
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a [`Span`] as a request's body. One that is cut or stands still is read on from where it stopped.
pub(crate) struct SpanBody {
    span: Span,
    flow: Arc<Flow>,
    inner: SdkBody,
    done: u64,
    // In a Mutex only because the SDK wants bodies to be Sync.
    reopening: Option<Mutex<BoxFuture<'static, Result<ByteStream, StepError>>>>,
    resumes: u32,
    last: Instant,
    patience: Option<Pin<Box<Sleep>>>,
}

impl SpanBody {
    /// The body of `span`, of which `first` is already open.
    pub(crate) fn new(span: Span, flow: Arc<Flow>, first: ByteStream) -> Self {
        Self {
            span,
            flow,
            inner: first.into_inner(),
            done: 0,
            reopening: None,
            resumes: 0,
            last: Instant::now(),
            patience: None,
        }
    }

    /// As the body of a request that the SDK cannot send twice.
    pub(crate) fn into_stream(self) -> ByteStream {
        ByteStream::new(SdkBody::from_body_1_x(self))
    }

    /// Begins to read on, or ends as `error`.
    fn resume(&mut self, error: StepError, fault: Tally) -> Result<(), StepError> {
        self.flow.seen().faults += fault;
        if !error.name.is_retryable() || self.resumes == RESUMES_MAX {
            return Err(error);
        }
        self.resumes += 1;
        tracing::debug!(key = self.span.key, done = self.done, %error, "a body is read on");
        self.flow.seen().faults += Tally { resumed: 1, ..Tally::default() };
        let (span, done, wait) = (self.span.clone(), self.done, Duration::from_millis(100 << self.resumes));
        self.inner = SdkBody::empty();
        self.reopening = Some(Mutex::new(Box::pin(async move {
            sleep(wait).await;
            span.open(done).await
        })));
        Ok(())
    }

    fn lost(&mut self, what: &str) -> Result<(), StepError> {
        let told = format!("the source's body {what} after {} of {} bytes", self.done, self.span.length);
        self.resume(StepError::new(ErrorName::Transient, told), Tally { resets: 1, ..Tally::default() })
    }

    /// True when the source has been silent for too long.
    fn poll_silence(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            let left = PROGRESS_TIMEOUT.saturating_sub(self.last.elapsed());
            if left.is_zero() {
                self.patience = None;
                return Poll::Ready(());
            }
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(left)));
            ready!(patience.as_mut().poll(cx));
            self.patience = None;
        }
    }

    fn poll_data(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Bytes, StepError>>> {
        loop {
            if self.done == self.span.length {
                return Poll::Ready(None);
            }
            if let Some(reopening) = &mut self.reopening {
                let reopening = reopening.get_mut().unwrap_or_else(PoisonError::into_inner);
                let opened = ready!(reopening.as_mut().poll(cx));
                self.reopening = None;
                self.last = Instant::now();
                match opened {
                    Ok(body) => self.inner = body.into_inner(),
                    Err(error) => {
                        let fault = fault_of(&error);
                        self.resume(error, fault)?;
                        continue;
                    }
                }
            }
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => {
                    ready!(self.poll_silence(cx));
                    let told = format!("the source brought nothing for {} s", PROGRESS_TIMEOUT.as_secs());
                    self.resume(StepError::stalled(told), Tally { stalls: 1, ..Tally::default() })?;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.last = Instant::now();
                    if data.is_empty() {
                        continue;
                    }
                    let length = data.len() as u64;
                    if length > self.span.length - self.done {
                        let told = format!("the source brought more than the {} bytes asked for", self.span.length);
                        return Poll::Ready(Some(Err(StepError::rejected(told))));
                    }
                    if let Some(md5) = &mut self.flow.seen().md5 {
                        md5.update(&data);
                    }
                    self.done += length;
                    self.flow.moved.fetch_add(length, Ordering::Relaxed);
                    self.flow.total.fetch_add(length, Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(error))) => self.lost(&format!("broke ({error})"))?,
                Poll::Ready(None) => self.lost("ended")?,
            }
        }
    }
}

/// Under which cause a fault counts.
pub(crate) fn fault_of(error: &StepError) -> Tally {
    let mut fault = Tally::default();
    let counter = match error.name {
        ErrorName::Throttled => &mut fault.throttles,
        ErrorName::ChecksumMismatch => &mut fault.mismatches,
        name if !name.is_retryable() => return fault,
        _ if error.stalled => &mut fault.stalls,
        _ if error.status.is_some_and(|status| status >= 500) => &mut fault.server_errors,
        _ => &mut fault.resets,
    };
    *counter = 1;
    fault
}

impl Body for SpanBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.poll_data(cx)) {
            None => None,
            Some(Ok(data)) => Some(Ok(Frame::data(data))),
            Some(Err(error)) => {
                let told = error.to_string();
                // The request fails by a connection that broke; the reason is kept here.
                this.flow.seen().failure = Some(error);
                Some(Err(told.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.done == self.span.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.span.length - self.done)
    }
}
