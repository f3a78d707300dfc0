//! Keys of another account or partition, from Secrets Manager.

use crate::error::{Place, StepError, from_sdk};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a secret is believed before it is read again.
pub const SECRET_TTL: Duration = Duration::from_secs(300);

/// The keys in a secret. Never printed.
#[derive(Clone, Deserialize)]
pub struct Keys {
    aws_access_key_id: String,
    aws_secret_access_key: String,
    #[serde(default)]
    aws_session_token: Option<String>,
    /// The Region of the side, where the secret says.
    #[serde(default)]
    pub region: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Reads the JSON of a secret. The error names what is missing, never a value.
    fn parse(name: &str, json: &str) -> Result<Self, StepError> {
        // serde's own messages may quote a value, so only their kind is told.
        let keys: Self = serde_json::from_str(json).map_err(|_| {
            StepError::rejected(format!(
                "secret {name} is not {{\"aws_access_key_id\", \"aws_secret_access_key\", \"region\"}}"
            ))
        })?;
        if keys.aws_access_key_id.is_empty() || keys.aws_secret_access_key.is_empty() {
            return Err(StepError::rejected(format!("secret {name} has an empty key")));
        }
        Ok(keys)
    }
}

/// Secrets that were read, each for [`SECRET_TTL`].
#[derive(Clone, Debug)]
pub struct Secrets {
    client: Option<aws_sdk_secretsmanager::Client>,
    read: Arc<Mutex<BTreeMap<String, (Instant, Keys)>>>,
}

impl Secrets {
    /// Secrets of this account.
    pub fn new(client: aws_sdk_secretsmanager::Client) -> Self {
        Self { client: Some(client), read: Arc::default() }
    }

    /// No secrets: one process takes its keys from the environment and from profiles.
    pub fn none() -> Self {
        Self { client: None, read: Arc::default() }
    }

    /// The keys in secret `name`, at most [`SECRET_TTL`] old.
    pub async fn read(&self, name: &str) -> Result<Keys, StepError> {
        let mut read = self.read.lock().await;
        if let Some((when, keys)) = read.get(name)
            && when.elapsed() < SECRET_TTL
        {
            return Ok(keys.clone());
        }
        let Some(client) = &self.client else {
            return Err(StepError::rejected(format!("secret {name} cannot be read in one process; use a profile")));
        };
        let answer = client
            .get_secret_value()
            .secret_id(name)
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, &format!("reading secret {name}"), &error))?;
        let keys = Keys::parse(name, answer.secret_string().unwrap_or_default())?;
        read.insert(name.to_owned(), (Instant::now(), keys.clone()));
        Ok(keys)
    }

    /// Forgets what was read.
    pub async fn forget(&self) {
        self.read.lock().await.clear();
    }
}

/// Provides the keys of one secret to a client; they expire with the secret's time.
#[derive(Debug)]
pub struct SecretCredentials {
    secrets: Secrets,
    name: String,
}

impl SecretCredentials {
    /// For the secret of this name or ARN.
    pub fn new(secrets: Secrets, name: &str) -> Self {
        Self { secrets, name: name.to_owned() }
    }

    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let keys = self.secrets.read(&self.name).await.map_err(CredentialsError::provider_error)?;
        Ok(Credentials::new(
            keys.aws_access_key_id,
            keys.aws_secret_access_key,
            keys.aws_session_token.filter(|token| !token.is_empty()),
            Some(SystemTime::now() + SECRET_TTL),
            "LonghaulSecret",
        ))
    }
}

impl ProvideCredentials for SecretCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bad_secret_is_told_without_its_values() {
        for json in [
            "",
            "{}",
            r#"{"aws_access_key_id":"AKIAVISIBLE"}"#,
            r#"{"aws_access_key_id":"AKIAVISIBLE","aws_secret_access_key":7}"#,
        ] {
            let error = Keys::parse("other-account", json).unwrap_err();
            assert!(error.message.contains("other-account") && !error.message.contains("AKIAVISIBLE"), "{error}");
        }
        let json = r#"{"aws_access_key_id":"AKIAVISIBLE","aws_secret_access_key":"s","region":"cn-north-1"}"#;
        let keys = Keys::parse("x", json).unwrap();
        assert_eq!(keys.region.as_deref(), Some("cn-north-1"));
        assert!(!format!("{keys:?}").contains("AKIAVISIBLE"));
    }
}
