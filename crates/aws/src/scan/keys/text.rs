//! The text of a list: as it is, or out of gzip.

use super::body::Body;
use crate::error::StepError;
use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use std::io::Write as _;

/// What every gzip begins with; no text in UTF-8 does.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes that are unpacked at once: gzip packs a thousand to one at best, so that memory stays at a few MiB.
const UNPACKED_AT_ONCE: usize = 4 * 1024;

/// The text of one object. Whether it is packed is seen by its first bytes, whatever its name.
#[derive(Debug)]
pub(super) struct Text {
    body: Body,
    form: Form,
    /// Packed bytes that were read and not unpacked yet.
    packed: Bytes,
}

#[derive(Debug)]
enum Form {
    Unknown,
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Ended,
}

impl Text {
    pub(super) fn of(body: Body) -> Self {
        Self { body, form: Form::Unknown, packed: Bytes::new() }
    }

    /// The next piece; `None` at the end. Gzip that is damaged or cut off is `Rejected`.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, StepError> {
        loop {
            match &mut self.form {
                Form::Unknown => self.look().await?,
                Form::Plain if self.packed.is_empty() => return self.body.piece().await,
                Form::Plain => return Ok(Some(std::mem::take(&mut self.packed))),
                Form::Gzip(decoder) => {
                    if self.packed.is_empty() {
                        match self.body.piece().await? {
                            Some(piece) => self.packed = piece,
                            None => {
                                decoder.try_finish().map_err(no_gzip)?;
                                let last = std::mem::take(decoder.get_mut());
                                self.form = Form::Ended;
                                return Ok(Some(last.into()));
                            }
                        }
                    }
                    let count = self.packed.len().min(UNPACKED_AT_ONCE);
                    decoder.write_all(&self.packed[..count]).map_err(no_gzip)?;
                    self.packed.advance(count);
                    if !decoder.get_ref().is_empty() {
                        return Ok(Some(std::mem::take(decoder.get_mut()).into()));
                    }
                }
                Form::Ended => return Ok(None),
            }
        }
    }

    async fn look(&mut self) -> Result<(), StepError> {
        let mut first = Vec::new();
        while first.len() < GZIP.len() {
            let Some(piece) = self.body.piece().await? else { break };
            first.extend_from_slice(&piece);
        }
        let gzip = first.starts_with(&GZIP);
        self.form = if gzip { Form::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))) } else { Form::Plain };
        self.packed = first.into();
        Ok(())
    }
}

fn no_gzip(error: std::io::Error) -> StepError {
    StepError::rejected(format!("it begins as gzip, and is damaged or cut off: {error}"))
}
