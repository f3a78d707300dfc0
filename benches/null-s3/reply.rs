//! What is answered.

use crate::pattern::{PERIOD, Pattern};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// An answer.
pub(crate) type Answer = Response<Reply>;

/// The body of an answer: a text, or bytes of the pattern without a copy.
pub(crate) enum Reply {
    Text(Bytes),
    Cut { pattern: Arc<Pattern>, place: usize, left: u64 },
}

/// Bytes given to the connection at once.
const PIECE: usize = 256 << 10;

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Text(text) => std::mem::take(text),
            Self::Cut { pattern, place, left } => {
                let bytes = pattern.cut(*place, PIECE.min(usize::try_from(*left).unwrap_or(PIECE)));
                *place = (*place + bytes.len()) % PERIOD;
                *left -= bytes.len() as u64;
                bytes
            }
        };
        Poll::Ready(if bytes.is_empty() { None } else { Some(Ok(Frame::data(bytes))) })
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Text(text) => text.len() as u64,
            Self::Cut { left, .. } => *left,
        })
    }
}

/// A status and nothing else.
pub(crate) fn empty(status: StatusCode) -> Answer {
    text(status, "")
}

/// A text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Reply::Text(text.into()));
    *answer.status_mut() = status;
    answer
}

/// A document in S3's namespace.
pub(crate) fn document(root: &str, inner: &str) -> Answer {
    let space = "http://s3.amazonaws.com/doc/2006-03-01/";
    xml(StatusCode::OK, &format!("<{root} xmlns=\"{space}\">{inner}</{root}>"))
}

/// An error under S3's code for it.
pub(crate) fn error(status: StatusCode, code: &str) -> Answer {
    xml(status, &format!("<Error><Code>{code}</Code><Message>{code}</Message><RequestId>0</RequestId></Error>"))
}

fn xml(status: StatusCode, inner: &str) -> Answer {
    let answer = text(status, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{inner}"));
    with(answer, "content-type", "application/xml")
}

/// The answer with one header more; what cannot be a header's value is left out.
pub(crate) fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(HeaderName::from_static(name), value);
    }
    answer
}

/// Text inside a document.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
