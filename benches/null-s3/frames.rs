//! The `aws-chunked` coding: payload in frames, each after its length, and trailers behind the last.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>

/// Takes the coding apart as it comes in.
pub(crate) struct Frames {
    state: State,
    line: Vec<u8>,
    trailers: Vec<(String, String)>,
    ended: bool,
}

#[derive(Clone, Copy)]
enum State {
    /// In the line with a frame's length.
    Length,
    /// So many bytes of payload are to come.
    Payload(u64),
    /// Behind a frame's payload.
    Gap,
    /// In the lines behind the last frame.
    Trailers,
}

/// The coding is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl Frames {
    pub(crate) fn new() -> Self {
        Self { state: State::Length, line: Vec::new(), trailers: Vec::new(), ended: false }
    }

    /// Gives the payload in `bytes` to `sink`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if let State::Payload(left) = self.state {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                sink(&bytes[..taken]);
                bytes = &bytes[taken..];
                let left = left - taken as u64;
                self.state = if left == 0 { State::Gap } else { State::Payload(left) };
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                return Ok(());
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.line(std::str::from_utf8(&line).map_err(|_| Broken)?.trim_end())?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), Broken> {
        match self.state {
            State::Length => {
                let length = line.split(';').next().unwrap_or_default();
                let length = u64::from_str_radix(length, 16).map_err(|_| Broken)?;
                self.state = if length == 0 { State::Trailers } else { State::Payload(length) };
            }
            State::Gap if line.is_empty() => self.state = State::Length,
            State::Gap | State::Payload(_) => return Err(Broken),
            State::Trailers if line.is_empty() => self.ended = true,
            State::Trailers => {
                let (name, value) = line.split_once(':').ok_or(Broken)?;
                self.trailers.push((name.trim().to_lowercase(), value.trim().to_owned()));
            }
        }
        Ok(())
    }

    /// The trailers, if the coding came to its end.
    pub(crate) fn end(self) -> Result<Vec<(String, String)>, Broken> {
        // Some clients leave the last empty line out.
        let last = matches!(self.state, State::Trailers) && self.line.iter().all(u8::is_ascii_whitespace);
        if self.ended || last { Ok(self.trailers) } else { Err(Broken) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Decoded = (Vec<u8>, Vec<(String, String)>);

    fn decoded(coded: &[u8], piece: usize) -> Result<Decoded, Broken> {
        let (mut frames, mut payload) = (Frames::new(), Vec::new());
        for bytes in coded.chunks(piece) {
            frames.feed(bytes, |bytes| payload.extend_from_slice(bytes))?;
        }
        Ok((payload, frames.end()?))
    }

    #[test]
    fn payload_and_trailers_come_apart_however_they_are_cut() {
        let coded = b"5\r\nhe\nlo\r\nA;chunk-signature=ab\r\n0123456789\r\n0\r\nx-amz-Checksum-crc64nvme:abc=\r\n\r\n";
        for piece in 1..coded.len() {
            let (payload, trailers) = decoded(coded, piece).unwrap();
            assert_eq!(payload, b"he\nlo0123456789");
            assert_eq!(trailers, [("x-amz-checksum-crc64nvme".to_owned(), "abc=".to_owned())]);
        }
    }

    #[test]
    fn what_is_broken_or_cut_off_is_refused() {
        for coded in ["", "5\r\nhello", "5\r\nhello\r\n", "x\r\n", "2\r\nhello\r\n", "0\r\nno colon\r\n\r\n"] {
            assert_eq!(decoded(coded.as_bytes(), 3), Err(Broken), "{coded:?}");
        }
        assert_eq!(decoded(b"0\r\n", 9).unwrap(), (vec![], vec![]));
    }
}
