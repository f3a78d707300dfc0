//! The listing of one side, a page ahead of its reader.

use super::page::{Found, Page};
use crate::clients::{Clients, REQUEST_TIMEOUT};
use crate::denial::payer;
use crate::error::{Place, StepError, from_sdk};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_s3::types::EncodingType;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use longhaul_core::backfill::merge::Ordered;
use longhaul_core::config::{KEY_MAX_BYTES, Side};
use longhaul_core::error::ErrorName;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Tries of one page, each with the SDK's own retries inside.
const TRIES: u32 = 4;

/// What a listing asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// What the keys begin with.
    pub(crate) prefix: String,
    /// What sums keys up.
    pub(crate) delimiter: Option<String>,
    /// Keys behind this one.
    pub(crate) after: Option<String>,
    /// Goes on behind a page.
    pub(crate) token: Option<String>,
    /// Most keys of a page; the store's own limit where absent.
    pub(crate) most: Option<i32>,
}

/// The bucket of a side, to be listed.
#[derive(Clone, Debug)]
pub(crate) struct Lister {
    client: aws_sdk_s3::Client,
    side: Side,
    place: Place,
}

impl Lister {
    pub(crate) async fn connect(clients: &Clients, side: &Side, place: Place) -> Result<Self, StepError> {
        Ok(Self { client: clients.sides.client(side).await?, side: side.clone(), place })
    }

    /// The name of a place in messages.
    pub(crate) fn what(&self) -> String {
        let side = if self.place == Place::Source { "source" } else { "destination" };
        format!("listing s3://{}/{} at the {side}", self.side.bucket, self.side.prefix)
    }

    /// One page. What is worth a repetition is repeated.
    pub(crate) async fn page(&self, asked: &Asked) -> Result<Page, StepError> {
        let mut tries = 1;
        loop {
            match self.page_once(asked).await {
                Err(error) if error.name.is_retryable() && tries < TRIES => {
                    tracing::info!(%error, tries, "page asked for again");
                    sleep(Duration::from_millis(250 << tries)).await;
                    tries += 1;
                }
                // Names that speak of one object do not fit a bucket.
                Err(error) if !error.name.is_retryable() && error.name != ErrorName::Bug => {
                    return Err(StepError { name: ErrorName::Rejected, ..error });
                }
                other => return other,
            }
        }
    }

    async fn page_once(&self, asked: &Asked) -> Result<Page, StepError> {
        let body = TakenBody::default();
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.side.bucket)
            .prefix(&asked.prefix)
            .encoding_type(EncodingType::Url)
            .set_delimiter(asked.delimiter.clone())
            .set_max_keys(asked.most)
            .set_start_after(asked.after.clone().filter(|_| asked.token.is_none()))
            .set_continuation_token(asked.token.clone())
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side));
        let answer = request.customize().interceptor(body.clone()).send().await;
        answer.map_err(|error| from_sdk(self.place, &self.what(), &error))?;
        let broken = |told: String| StepError::new(ErrorName::Transient, format!("{}: {told}", self.what()));
        let body = body.take().ok_or_else(|| StepError::bug(format!("{}: no body was taken", self.what())))?;
        // The SDK's timeout ends with the headers.
        let body = match timeout(REQUEST_TIMEOUT, body.collect()).await {
            Ok(body) => body.map_err(|error| broken(format!("the body ended: {error}")))?.to_bytes(),
            Err(_) => return Err(StepError::stalled(format!("{}: the body did not end", self.what()))),
        };
        parsed(&body).map_err(broken)
    }
}

fn parsed(body: &Bytes) -> Result<Page, String> {
    let page = Page::parse(body)?;
    if page.truncated && page.token.is_none() && page.len() == 0 {
        return Err("more follows, but the page does not say where".to_owned());
    }
    Ok(page)
}

/// Takes the body of a good answer before the SDK reads it.
#[derive(Clone, Debug, Default)]
struct TakenBody(Arc<Mutex<Option<SdkBody>>>);

impl TakenBody {
    fn take(&self) -> Option<SdkBody> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[dyn_dispatch_hint]
impl Intercept for TakenBody {
    fn name(&self) -> &'static str {
        "TakenBody"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            let body = std::mem::replace(response.body_mut(), SdkBody::from("<ListBucketResult/>"));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
        Ok(())
    }
}

/// The keys of one side behind a prefix, ascending, from behind one key through another.
#[derive(Debug)]
pub(crate) struct Listing {
    lister: Lister,
    prefix: String,
    through: Option<String>,
    /// Keys up to here are passed over: only where the store could not be asked to begin behind it.
    after: Option<String>,
    ordered: Ordered,
    page: Page,
    next: usize,
    /// The page that comes next, under way.
    ahead: JoinSet<(Asked, Result<Page, StepError>)>,
    /// Pages that arrived.
    pages: u64,
}

impl Listing {
    /// Begins: the first page is asked for at once. `after` (exclusive) and `through` (inclusive) are given behind the
    /// side's prefix; `most` is the size of a page, where it is not the store's own.
    pub(crate) fn new(lister: Lister, after: Option<&str>, through: Option<&str>, most: Option<i32>) -> Self {
        let prefix = lister.side.prefix.clone();
        let asked = after.map(|after| within_limit(format!("{prefix}{after}")));
        let mut listing = Self {
            through: through.map(str::to_owned),
            after: after.map(str::to_owned),
            ordered: Ordered::behind(asked.as_deref()),
            ..Self::none(lister)
        };
        listing.ask(Asked { prefix, after: asked, most, ..Asked::default() });
        listing
    }

    /// A listing of nothing.
    pub(crate) fn none(lister: Lister) -> Self {
        Self {
            prefix: lister.side.prefix.clone(),
            lister,
            through: None,
            after: None,
            ordered: Ordered::default(),
            page: Page::default(),
            next: 0,
            ahead: JoinSet::new(),
            pages: 0,
        }
    }

    fn ask(&mut self, asked: Asked) {
        let lister = self.lister.clone();
        self.ahead.spawn(async move {
            let page = lister.page(&asked).await;
            (asked, page)
        });
    }

    /// True if [`Self::turn_page`] has to be called before [`Self::peek`] can tell.
    pub(crate) fn needs_page(&self) -> bool {
        self.next >= self.page.len() && !self.ahead.is_empty()
    }

    /// The next object, its key behind the prefix; `None` at the end of the page.
    pub(crate) fn peek(&self) -> Option<Found<'_>> {
        let found = self.page.get(self.next)?;
        // Every key of a page was seen to begin with the prefix.
        Some(Found { key: found.key.get(self.prefix.len()..)?, ..found })
    }

    /// Steps over the next object.
    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }

    /// Pages that arrived.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Waits for the next page. May be dropped and called again.
    pub(crate) async fn turn_page(&mut self) -> Result<(), StepError> {
        let Some(arrived) = self.ahead.join_next().await else { return Ok(()) };
        let (asked, page) = arrived.map_err(|error| StepError::bug(format!("{}: {error}", self.lister.what())))?;
        let mut page = page.map_err(|error| self.placed(error))?;
        self.pages += 1;
        let ordered = self.ordered.check(page.keys());
        ordered.map_err(|disorder| StepError::rejected(format!("{}: {disorder}", self.lister.what())))?;
        if let Some(foreign) = page.keys().find(|key| !key.starts_with(&self.prefix)) {
            return Err(StepError::rejected(format!("{}: {foreign:?} was listed", self.lister.what())));
        }
        let within = match &self.through {
            None => page.len(),
            Some(through) => first_above(&page, self.prefix.len(), through),
        };
        let reached = |last: &str| Some(&last[self.prefix.len()..]) == self.through.as_deref();
        let ends = within < page.len() || page.keys().last().is_some_and(reached);
        page.truncate(within);
        if page.truncated && !ends {
            self.follow(asked, &page)?;
        }
        self.next = self.after.as_ref().map_or(0, |after| first_above(&page, self.prefix.len(), after));
        self.page = page;
        Ok(())
    }

    /// Asks for the page behind this one.
    fn follow(&mut self, asked: Asked, page: &Page) -> Result<(), StepError> {
        if page.len() == 0 && page.token == asked.token {
            return Err(StepError::rejected(format!("{}: it does not go on behind an empty page", self.lister.what())));
        }
        let after = self.ordered.last().map(str::to_owned).or_else(|| asked.after.clone());
        self.ask(Asked { after, token: page.token.clone(), ..asked });
        Ok(())
    }

    /// The error, with the place in the listing.
    fn placed(&self, error: StepError) -> StepError {
        let number = self.pages + 1;
        let after = match self.ordered.last() {
            Some(key) => format!("behind key {key:?}"),
            None => "from its beginning".to_owned(),
        };
        // The cause comes first: a long key must not crowd it out.
        let message = format!("{}; it was page {number} of this scan, {after}", error.message);
        let message = longhaul_core::error::Failure::new("", message).message;
        StepError { message, ..error }
    }
}

/// The index of the first object of a page whose key behind the prefix is above `limit`.
fn first_above(page: &Page, prefix: usize, limit: &str) -> usize {
    let is_above =
        |index: usize| page.get(index).is_some_and(|found| found.key.as_bytes()[prefix..] > *limit.as_bytes());
    let (mut from, mut to) = (0, page.len());
    while from < to {
        let middle = from + (to - from) / 2;
        if is_above(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

/// A key that a store may be asked for: none is longer, so that none is missed behind what is left of it.
fn within_limit(mut key: String) -> String {
    let mut end = key.len().min(KEY_MAX_BYTES);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    key.truncate(end);
    key
}
