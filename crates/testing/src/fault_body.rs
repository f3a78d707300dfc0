//! Bodies that break while they are sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, StdError};
use tokio::time::Sleep;

use crate::endpoint::Lost;

pub(crate) enum Break {
    Cut { after: u64 },
    Stall { after: u64, pause: Duration },
    Flip { at: u64 },
}

/// Passes `inner` on until the break is due.
pub(crate) fn broken(inner: Body, what: Break) -> Body {
    Body::http_body_unsync(Broken { inner, what, seen: 0, held: None, sleep: None, paused: false })
}

struct Broken {
    inner: Body,
    what: Break,
    seen: u64,
    held: Option<Bytes>,
    sleep: Option<Pin<Box<Sleep>>>,
    paused: bool,
}

impl Broken {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        match self.held.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.inner).poll_frame(cx),
        }
    }
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        if let Some(sleep) = &mut this.sleep {
            ready!(sleep.as_mut().poll(cx));
            this.sleep = None;
            this.what = Break::Flip { at: u64::MAX };
        }
        if matches!(this.what, Break::Cut { after } if this.seen >= after) {
            // A server flushes what it holds only when the body pauses.
            if !std::mem::replace(&mut this.paused, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(Lost.into())));
        }
        if let Break::Stall { after, pause } = this.what
            && this.seen >= after
        {
            this.sleep = Some(Box::pin(tokio::time::sleep(pause)));
            return Pin::new(this).poll_frame(cx);
        }
        let frame = ready!(this.poll_data(cx));
        let mut bytes = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => bytes,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            },
            other => return Poll::Ready(other),
        };
        match this.what {
            Break::Cut { after } | Break::Stall { after, .. } => {
                let room = after - this.seen;
                if (bytes.len() as u64) > room {
                    this.held = Some(bytes.split_off(room as usize));
                }
            }
            Break::Flip { at } => {
                if let Some(place) = at.checked_sub(this.seen)
                    && place < bytes.len() as u64
                {
                    let mut changed = BytesMut::from(&bytes[..]);
                    changed[place as usize] ^= 1;
                    bytes = changed.freeze();
                }
            }
        }
        this.seen += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.what {
            Break::Flip { .. } => self.inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
