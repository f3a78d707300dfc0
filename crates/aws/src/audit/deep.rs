//! Reads two objects side by side.

use crate::error::StepError;
use crate::source::Source;
use bytes::Bytes;
use longhaul_core::error::ErrorName;
use longhaul_core::job::SourceIdentity;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Bytes that are read by one request: a fault repeats no more.
const SPAN: u64 = 64 * 1024 * 1024;
/// Tries of a span.
const TRIES: u32 = 4;
/// A body that brings nothing for so long counts as lost.
const SILENCE: Duration = Duration::from_secs(30);

/// `None` if both objects hold the same bytes; else where the first span begins that differs.
///
/// Each is read as the version that was looked at: `SourceChanged` if one of them is another by now.
pub(super) async fn same_bytes(
    sides: [&Source; 2],
    keys: &[String; 2],
    identities: [&SourceIdentity; 2],
) -> Result<Option<u64>, StepError> {
    // Reading by version id may not be allowed: the ETag pins the version as well (SEMANTICS.md, rule 4).
    let pinned = identities.map(|identity| SourceIdentity { version_id: None, ..identity.clone() });
    let identities = [&pinned[0], &pinned[1]];
    let size = identities[0].size;
    if size != identities[1].size {
        return Ok(Some(size.min(identities[1].size)));
    }
    let mut at = 0;
    while at < size {
        let length = SPAN.min(size - at);
        let mut tries = 1;
        let same = loop {
            match same_span(sides, keys, identities, at, length).await {
                Err(error) if error.name.is_retryable() && tries < TRIES => {
                    sleep(Duration::from_secs(1 << tries)).await;
                    tries += 1;
                }
                other => break other?,
            }
        };
        if !same {
            return Ok(Some(at));
        }
        at += length;
    }
    Ok(None)
}

async fn same_span(
    sides: [&Source; 2],
    keys: &[String; 2],
    identities: [&SourceIdentity; 2],
    at: u64,
    length: u64,
) -> Result<bool, StepError> {
    let open = |side: usize| sides[side].get_range(&keys[side], identities[side], at, length);
    let (one, other) = futures::future::try_join(open(0), open(1)).await?;
    let mut bodies = [one, other];
    let mut held = [Bytes::new(), Bytes::new()];
    let mut left = length;
    while left > 0 {
        for side in 0..2 {
            if held[side].is_empty() {
                let lost =
                    |told: &str| StepError::new(ErrorName::Transient, format!("reading {:?}: {told}", keys[side]));
                held[side] = match timeout(SILENCE, bodies[side].next()).await {
                    Ok(Some(Ok(bytes))) => bytes,
                    Ok(Some(Err(error))) => return Err(lost(&error.to_string())),
                    Ok(None) => return Err(lost("the body ended early")),
                    Err(_) => return Err(lost("the body stood still")),
                };
            }
        }
        let both = held[0].len().min(held[1].len());
        if held[0].split_to(both) != held[1].split_to(both) {
            return Ok(false);
        }
        left = left.saturating_sub(both as u64);
    }
    Ok(true)
}
