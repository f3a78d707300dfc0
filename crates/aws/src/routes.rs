//! The configuration: fixed in one process, an SSM parameter in the functions.

use crate::error::{Place, StepError, from_sdk};
use longhaul_core::config::Config;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a configuration is believed before the parameter is read again.
pub const CONFIG_TTL: Duration = Duration::from_secs(60);

/// Where the configuration comes from.
#[derive(Debug)]
pub enum Routes {
    /// Given.
    Fixed(Arc<Config>),
    /// An SSM parameter.
    Parameter(Parameter),
}

/// An SSM parameter, read again after [`CONFIG_TTL`].
#[derive(Debug)]
pub struct Parameter {
    client: aws_sdk_ssm::Client,
    name: String,
    read: Mutex<Option<(Instant, Arc<Config>)>>,
}

impl Routes {
    /// A configuration that never changes.
    pub fn fixed(config: Config) -> Self {
        Self::Fixed(Arc::new(config))
    }

    /// The parameter `name`.
    pub fn parameter(client: aws_sdk_ssm::Client, name: String) -> Self {
        Self::Parameter(Parameter { client, name, read: Mutex::default() })
    }

    /// The configuration, at most [`CONFIG_TTL`] old.
    pub async fn config(&self) -> Result<Arc<Config>, StepError> {
        match self {
            Self::Fixed(config) => Ok(config.clone()),
            Self::Parameter(parameter) => parameter.config().await,
        }
    }
}

impl Parameter {
    async fn config(&self) -> Result<Arc<Config>, StepError> {
        let mut read = self.read.lock().await;
        if let Some((when, config)) = read.as_ref()
            && when.elapsed() < CONFIG_TTL
        {
            return Ok(config.clone());
        }
        let answer = self
            .client
            .get_parameter()
            .name(&self.name)
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, &format!("reading parameter {}", self.name), &error))?;
        let value = answer.parameter.and_then(|parameter| parameter.value).unwrap_or_default();
        let config =
            Config::parse(&value).map_err(|error| StepError::rejected(format!("parameter {}: {error}", self.name)))?;
        let config = Arc::new(config);
        *read = Some((Instant::now(), config.clone()));
        Ok(config)
    }
}
