//! What a reply carries: a body that is here, or an upstream's that is still coming.
//!
//! The second keeps the request's account until its end, whichever it is: the answer has come whole, the upstream broke it
//! off, or nobody takes it any more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::gateway::{CutOff, Relay};
use crate::outcome::Detached;
use crate::policy::Entered;
use crate::refusal::Refusal;

pub(crate) enum Content<S = Relayed> {
    Whole(Bytes),
    Coming(Box<S>),
}

impl<S: Body> Content<S> {
    /// Its length, where that is known before its end.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Coming(body) => body.size_hint().exact(),
        }
    }

    /// Bytes that are known to be sent.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Coming(_) => 0,
        }
    }
}

/// An upstream's answer on its way to the client.
pub(crate) struct Relayed {
    relay: Relay,
    account: Detached,
    status: u16,
    bytes_out: usize,
    /// Its place among those under way, until its account is settled.
    entered: Option<Entered>,
}

impl Relayed {
    pub(super) fn new(relay: Relay, account: Detached, entered: Entered, status: u16) -> Self {
        let mut relayed = Self { relay, account, status, bytes_out: 0, entered: Some(entered) };
        if relayed.relay.is_whole() {
            relayed.settle_whole();
        }
        relayed
    }

    fn settle_whole(&mut self) {
        let code = if self.status == 200 { "" } else { "upstream_status" };
        self.settle(self.status, code, "");
    }

    fn settle_broken(&mut self, why: CutOff) {
        if why == CutOff::ClientGone {
            // The account is settled when this value is dropped, and then counts the client as gone.
            return;
        }
        let row = Refusal::BadGateway { detail: String::new() }.row();
        self.settle(row.status, row.code, &format!("{why} after {} bytes; the client was cut off", self.bytes_out));
    }

    fn settle(&mut self, status: u16, code: &'static str, cause: &str) {
        let times = self.account.times();
        self.account.settle(times, status, code, cause, self.bytes_out);
        // Before the client can know of its answer's end: the next request may follow at once.
        self.entered = None;
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let frame = ready!(Pin::new(&mut self.relay).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.bytes_out += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(why)) => self.settle_broken(*why),
            None => {}
        }
        if self.relay.is_whole() {
            self.settle_whole();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.relay.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.relay.size_hint()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        // Otherwise the client has left, or the host ends; the account knows which.
        if let Some(why) = self.relay.cut_off() {
            self.settle_broken(why);
        }
    }
}
