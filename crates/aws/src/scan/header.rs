//! The first line of a manifest.

use crate::error::StepError;
use crate::work::Work;
use longhaul_core::backfill::manifest::{Header, HeaderLine};

/// Bytes of a manifest that are read for its header at first, and at most.
const BYTES: (u64, u64) = (16 * 1024, 16 * 1024 * 1024);

/// The header of the manifest at `key` of the work bucket, and the byte at which the lines behind it begin; `None`
/// where there is no such manifest, `Rejected` where it is none.
pub(crate) async fn header(work: &dyn Work, key: &str) -> Result<Option<(Header, u64)>, StepError> {
    let broken = |told: String| StepError::rejected(format!("{key} of the work bucket is no manifest: {told}"));
    let (mut most, longest) = BYTES;
    loop {
        let Some(found) = work.find(key, most).await? else { return Ok(None) };
        if let Some(end) = found.body.iter().position(|byte| *byte == b'\n') {
            let line: HeaderLine =
                serde_json::from_slice(&found.body[..end]).map_err(|error| broken(error.to_string()))?;
            return Ok(Some((line.manifest, end as u64 + 1)));
        }
        if (found.body.len() as u64) < most || most >= longest {
            return Err(broken("its first line does not end".to_owned()));
        }
        most *= 16;
    }
}
