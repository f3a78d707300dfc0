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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::work::MemoryWork;
    use futures::executor::block_on;
    use longhaul_core::backfill::manifest::Progress;
    use longhaul_core::config::{Options, Route, Side};
    use longhaul_core::error::ErrorName;

    fn line(name: usize) -> String {
        let route = Route {
            name: "r".repeat(name),
            source: Side::default(),
            destination: Side::default(),
            options: Options::default(),
        };
        let manifest = Header {
            run: "r".into(),
            shard: 0,
            number: 7,
            route,
            objects: 0,
            bytes: 0,
            deletions: 0,
            deletions_at: 0,
            progress: Progress::default(),
        };
        serde_json::to_string(&HeaderLine { manifest }).unwrap()
    }

    #[test]
    fn a_header_is_read_whatever_its_length() {
        let work = MemoryWork::default();
        for name in [1, 16_000, 64 * 1024, 300_000] {
            let line = line(name);
            let text = format!("{line}\n{}\n", "x".repeat(100));
            block_on(work.put("m", text.into())).unwrap();
            let (header, end) = block_on(header(&work, "m")).unwrap().unwrap();
            assert_eq!((header.number, header.route.name.len(), end), (7, name, line.len() as u64 + 1));
        }
        assert_eq!(block_on(header(&work, "none")).unwrap(), None);
        for text in [line(1), String::new(), "{}\n".to_owned()] {
            block_on(work.put("m", text.into())).unwrap();
            assert_eq!(block_on(header(&work, "m")).unwrap_err().name, ErrorName::Rejected);
        }
    }
}
