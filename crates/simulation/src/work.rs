//! A work bucket that throttles and loses replies, and at which functions die.

use crate::steps::Invocation;
use crate::weather::Weather;
use bytes::Bytes;
use longhaul_aws::error::StepError;
use longhaul_aws::work::{Found, MemoryWork, Page, Work};
use longhaul_core::error::ErrorName;
use std::fmt;
use std::sync::Arc;

/// See the module.
pub(crate) struct FaultyWork {
    pub(crate) weather: Arc<Weather>,
    pub(crate) inner: Arc<MemoryWork>,
}

impl fmt::Debug for FaultyWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyWork")
    }
}

/// How a write goes wrong after it took effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The reply is lost, and every repeat of the request with it.
    Lost,
    /// The reply is lost, and the client's repeat of the request is answered: the condition does not hold any more.
    Repeated,
}

impl FaultyWork {
    async fn death(&self, what: &str) {
        let weather = &self.weather;
        if weather.strikes(weather.scenario.rates.kill)
            && let Some(invocation) = Invocation::current()
        {
            weather.say(Some(invocation.number), format!("work {what}: the function dies here"));
            invocation.die(weather).await;
        }
    }

    /// What goes wrong before a request takes effect. A function that dies here dies.
    async fn before(&self, what: &str, key: &str) -> Result<(), StepError> {
        let weather = &self.weather;
        self.death(what).await;
        if !weather.strikes(weather.scenario.rates.work) {
            return Ok(());
        }
        let name = *weather.dice.one(&[ErrorName::Throttled, ErrorName::Transient]);
        weather.say(Invocation::number(), format!("work {what} {key:?}: {name}"));
        Err(StepError::new(name, "simulated"))
    }

    /// What goes wrong after a write took effect. A function that dies here dies.
    async fn after(&self, what: &str, key: &str) -> Option<After> {
        let weather = &self.weather;
        self.death(what).await;
        if !weather.strikes(weather.scenario.rates.work) {
            return None;
        }
        weather.say(Invocation::number(), format!("work {what} {key:?}: the reply is lost"));
        Some(*weather.dice.one(&[After::Lost, After::Repeated]))
    }

    fn lost() -> StepError {
        StepError::new(ErrorName::Transient, "the reply was lost")
    }
}

#[async_trait::async_trait]
impl Work for FaultyWork {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StepError> {
        self.before("put", key).await?;
        self.inner.put(key, body).await?;
        match self.after("put", key).await {
            Some(After::Lost) => Err(Self::lost()),
            Some(After::Repeated) | None => Ok(()),
        }
    }

    async fn get(&self, bucket: &str, key: &str, from: u64, end: Option<u64>) -> Result<Bytes, StepError> {
        self.before("get", key).await?;
        self.inner.get(bucket, key, from, end).await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, StepError> {
        self.before("put new", key).await?;
        let written = self.inner.put_new(key, body).await?;
        match self.after("put new", key).await {
            Some(After::Lost) => Err(Self::lost()),
            Some(After::Repeated) => Ok(false),
            None => Ok(written),
        }
    }

    async fn replace(&self, key: &str, body: Bytes, etag: &str) -> Result<bool, StepError> {
        self.before("replace", key).await?;
        let written = self.inner.replace(key, body, etag).await?;
        match self.after("replace", key).await {
            Some(After::Lost) => Err(Self::lost()),
            Some(After::Repeated) => Ok(false),
            None => Ok(written),
        }
    }

    async fn find(&self, key: &str, most: u64) -> Result<Option<Found>, StepError> {
        self.before("find", key).await?;
        self.inner.find(key, most).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StepError> {
        self.before("list", prefix).await?;
        self.inner.list(prefix).await
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StepError> {
        self.before("page", prefix).await?;
        self.inner.page(prefix, after).await
    }
}
