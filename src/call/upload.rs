//! The body of a request that arrives while its call already runs.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::incoming::{Broken, Incoming};

/// A body that its guest reads while it arrives, within a limit of bytes.
#[derive(Clone)]
pub struct Upload(Arc<Shared>);

struct Shared {
    /// `None` once the guest reads it.
    incoming: Mutex<Option<Incoming>>,
    limit: usize,
    received: AtomicUsize,
    has_ended: AtomicBool,
    fault: OnceLock<UploadFault>,
}

/// The reason why a body did not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadFault {
    #[error("the body is larger than {limit} bytes (sandbox.max_request_bytes)")]
    TooLarge { limit: usize },
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Upload {
    pub fn new(incoming: Incoming, limit: usize) -> Self {
        let (incoming, has_ended) = (Mutex::new(Some(incoming)), AtomicBool::new(false));
        Self(Arc::new(Shared { incoming, limit, received: AtomicUsize::new(0), has_ended, fault: OnceLock::new() }))
    }

    /// Takes the body, which has one reader.
    pub fn take(&self) -> Option<Arriving> {
        let incoming = self.0.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Arriving { incoming, shared: Arc::clone(&self.0) })
    }

    /// Returns the number of bytes that have been read so far.
    pub fn received(&self) -> usize {
        self.0.received.load(Ordering::Relaxed)
    }

    /// True if the client may have more to send.
    pub fn is_unfinished(&self) -> bool {
        !self.0.has_ended.load(Ordering::Relaxed)
    }

    /// Returns the reason why the body broke off while its guest read it, if it did.
    pub fn fault(&self) -> Option<UploadFault> {
        self.0.fault.get().copied()
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("received", &self.received())
            .field("fault", &self.fault())
            .finish_non_exhaustive()
    }
}

/// The body, as its guest reads it.
pub struct Arriving {
    incoming: Incoming,
    shared: Arc<Shared>,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let limit = self.shared.limit;
        let left = limit.saturating_sub(self.shared.received.load(Ordering::Relaxed));
        // A chunk that is announced and does not fit is not awaited.
        let is_too_large = self.incoming.size_hint().lower() > left as u64;
        let checked = if is_too_large {
            Some(Err(UploadFault::TooLarge { limit }))
        } else {
            ready!(Pin::new(&mut self.incoming).poll_frame(cx)).map(|frame| {
                let frame = frame?;
                let size = frame.data_ref().map_or(0, Bytes::len);
                let received = self.shared.received.fetch_add(size, Ordering::Relaxed) + size;
                if received > limit { Err(UploadFault::TooLarge { limit }) } else { Ok(frame) }
            })
        };
        match &checked {
            Some(Err(fault)) => {
                let _ = self.shared.fault.set(*fault);
            }
            Some(Ok(_)) if !self.incoming.is_end_stream() => {}
            Some(Ok(_)) | None => self.shared.has_ended.store(true, Ordering::Relaxed),
        }
        Poll::Ready(checked)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_within_its_limit_arrives_and_a_larger_one_breaks_off() {
        // One that is announced to be too large is not read.
        for (limit, received, fault) in [(5, 5, None), (4, 0, Some(UploadFault::TooLarge { limit: 4 }))] {
            let upload = Upload::new(Incoming::Whole(Bytes::from_static(b"hello")), limit);
            let body = upload.take().unwrap();
            assert!(upload.take().is_none() && upload.is_unfinished(), "it has one reader");
            let collected = body.collect().await.map(|whole| whole.to_bytes());
            assert_eq!(collected.err(), fault);
            assert_eq!((upload.received(), upload.fault()), (received, fault));
            assert_eq!(upload.is_unfinished(), fault.is_some());
        }
    }
}
