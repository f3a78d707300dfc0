//! Reads the objects of a request or a batch, and says which of them this execution has ended.

use crate::clients::Clients;
use crate::error::StepError;
use crate::outcomes::ledger_key;
use longhaul_core::config::Route;
use longhaul_core::contract::{BatchObjects, Rest};
use longhaul_core::job::JobRecord;
use longhaul_core::names::{LedgerKey, rest_key};
use longhaul_core::request::{ManifestRef, ObjectRef};

/// Bytes of a manifest that are read at once: far more than any batch or plan needs.
const READ_BYTES: u64 = 8 * 1024 * 1024;

/// Some objects of a manifest, and where the next ones begin.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) objects: Vec<ObjectRef>,
    pub(super) rest: Option<ManifestRef>,
}

/// At most `most` objects of a manifest. Fails as `Rejected` on a line that is no object.
pub(super) async fn read_lines(clients: &Clients, manifest: &ManifestRef, most: usize) -> Result<Lines, StepError> {
    let mut offset = manifest.offset;
    let mut objects = Vec::new();
    loop {
        let end = manifest.end.map_or(offset + READ_BYTES, |end| end.min(offset + READ_BYTES));
        let bytes = match clients.work.get(&manifest.bucket, &manifest.key, offset, Some(end)).await {
            // Nothing is left at or after the end of the object.
            Err(error) if error.status == Some(416) => bytes::Bytes::new(),
            other => other?,
        };
        let at_end = bytes.len() as u64 != end - offset || manifest.end == Some(end);
        let mut position = 0;
        while position < bytes.len() && objects.len() < most {
            let line_end = bytes[position..].iter().position(|byte| *byte == b'\n');
            if line_end.is_none() && !at_end {
                break;
            }
            let line_end = line_end.map_or(bytes.len(), |length| position + length);
            let line = &bytes[position..line_end];
            if !line.iter().all(u8::is_ascii_whitespace) {
                objects.push(read_line(manifest, offset + position as u64, line)?);
            }
            position = (line_end + 1).min(bytes.len());
        }
        let consumed = position as u64;
        let all = at_end && position == bytes.len();
        if all {
            return Ok(Lines { objects, rest: None });
        }
        if objects.len() == most {
            let rest = ManifestRef { offset: offset + consumed, ..manifest.clone() };
            return Ok(Lines { objects, rest: Some(rest) });
        }
        if consumed == 0 {
            return Err(StepError::rejected(format!(
                "manifest s3://{}/{}: a line of more than {READ_BYTES} bytes",
                manifest.bucket, manifest.key
            )));
        }
        offset += consumed;
    }
}

fn read_line(manifest: &ManifestRef, offset: u64, line: &[u8]) -> Result<ObjectRef, StepError> {
    let object: ObjectRef = serde_json::from_slice(line).map_err(|error| {
        StepError::rejected(format!("manifest s3://{}/{} at byte {offset}: {error}", manifest.bucket, manifest.key))
    })?;
    if object.bucket.is_empty() || object.key.is_empty() {
        return Err(StepError::rejected(format!(
            "manifest s3://{}/{} at byte {offset}: no bucket or no key",
            manifest.bucket, manifest.key
        )));
    }
    Ok(object)
}

/// Objects for a successor: in the state where they take at most `most` bytes, else in a manifest named by its content.
pub(super) async fn spill(clients: &Clients, objects: Vec<ObjectRef>, most: usize) -> Result<Rest, StepError> {
    let mut lines = Vec::new();
    for object in &objects {
        serde_json::to_writer(&mut lines, object).map_err(|error| StepError::bug(error.to_string()))?;
        lines.push(b'\n');
    }
    if lines.len() <= most {
        return Ok(Rest { objects, manifests: Vec::new() });
    }
    let key = rest_key(&lines);
    clients.work.put(&key, lines.into()).await?;
    let manifest = ManifestRef { bucket: clients.work.bucket().to_owned(), key, offset: 0, end: None };
    Ok(Rest { objects: Vec::new(), manifests: vec![manifest] })
}

/// The objects of a batch with their line numbers (0 upwards where they are inline).
pub(super) async fn batch_objects(
    clients: &Clients,
    objects: &BatchObjects,
) -> Result<Vec<(u32, ObjectRef)>, StepError> {
    match objects {
        BatchObjects::Inline(objects) => Ok((0..).zip(objects.iter().cloned()).collect()),
        BatchObjects::Manifest(lines) => {
            let read = read_lines(clients, &lines.manifest, usize::MAX).await?;
            Ok((0..).zip(read.objects).filter(|(index, _)| lines.contains(*index)).collect())
        }
    }
}

/// The ledger's records of some objects of a route; `None` as key where the object does not fit the route.
pub(super) async fn records_of(
    clients: &Clients,
    route: &Route,
    objects: &[&ObjectRef],
) -> Result<Vec<(Option<LedgerKey>, Option<JobRecord>)>, StepError> {
    let keys: Vec<Option<LedgerKey>> = objects.iter().map(|object| ledger_key(route, &object.key).ok()).collect();
    let known: Vec<LedgerKey> = keys.iter().flatten().cloned().collect();
    let mut records = clients.ledger.get_many(&known).await?.into_iter();
    Ok(keys
        .into_iter()
        .map(|key| {
            let record = key.as_ref().and_then(|_| records.next().flatten());
            (key, record)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_says_where_it_is_wrong() {
        let manifest = ManifestRef { bucket: "w".into(), key: "m".into(), offset: 0, end: None };
        assert!(read_line(&manifest, 7, b"{}").unwrap_err().message.contains("byte 7"));
        assert!(read_line(&manifest, 7, br#"{"bucket":"","key":"k"}"#).is_err());
        assert_eq!(read_line(&manifest, 0, br#"{"bucket":"b","key":"k"}"#).unwrap().key, "k");
    }
}
