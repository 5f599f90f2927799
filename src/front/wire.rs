//! What the guard at the socket and the handler behind hyper tell each other about the request in between.
//!
//! Both run in the connection's one task, so the lock is never waited for.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

use super::head::HeadFault;

/// Why a body did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The client closed in the middle of it.
    CutOff,
    /// Its chunks are malformed.
    Malformed,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The client's.
    pub(super) peer: IpAddr,
    /// Ours, where the client reached it.
    pub(super) local: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Wire {
    ends: Ends,
    exchange: Mutex<Exchange>,
}

/// The request under way on one connection.
#[derive(Debug, Default)]
struct Exchange {
    /// How many requests may still come after this one.
    requests_left: u64,
    first_byte: Option<Instant>,
    head_fault: Option<HeadFault>,
    body_fault: Option<BodyFault>,
    stage: Stage,
    /// The connection must not end as if all were well.
    reset: bool,
    /// Who waits for the next stage before it reads on.
    reader: Option<Waker>,
}

/// How far a request has come behind hyper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    HandedOn,
    /// The handler has taken it up, and with it into account.
    Begun,
    Answered,
}

impl Wire {
    /// For a connection that may have so many requests.
    pub(super) fn new(ends: Ends, requests: u64) -> Self {
        Self { ends, exchange: Mutex::new(Exchange { requests_left: requests, ..Exchange::default() }) }
    }

    /// For one stream of HTTP/2, which has no guard: a body that breaks off there was reset by the client.
    pub(super) fn of_stream(ends: Ends, head_fault: Option<HeadFault>) -> Self {
        let body_fault = Some(BodyFault::CutOff);
        let exchange = Exchange { requests_left: u64::MAX, head_fault, body_fault, ..Exchange::default() };
        Self { ends, exchange: Mutex::new(exchange) }
    }

    /// The address at the other end.
    pub(super) fn peer(&self) -> IpAddr {
        self.ends.peer
    }

    /// The address at this end, as the client knows it.
    pub(super) fn local(&self) -> SocketAddr {
        self.ends.local
    }

    /// The guard: a head arrived, whole or judged.
    pub(super) fn arrived(&self, first_byte: Instant, fault: Option<HeadFault>) {
        let mut exchange = self.exchange();
        let requests_left = exchange.requests_left.saturating_sub(1);
        *exchange = Exchange { requests_left, first_byte: Some(first_byte), head_fault: fault, ..Exchange::default() };
    }

    /// Handler and guard: whether the connection ends with the present request, and with none if none has begun.
    pub(super) fn is_last(&self) -> bool {
        self.exchange().requests_left == 0
    }

    /// The host drains: the request that has begun is the last, and where none has, the connection ends.
    pub(super) fn drain(&self) {
        self.exchange().requests_left = 0;
    }

    /// The handler: what arrived. Without a guard's word the request began now.
    pub(super) fn begin(&self) -> (Instant, Option<HeadFault>) {
        let mut exchange = self.exchange();
        let (first_byte, fault) = (exchange.first_byte, exchange.head_fault);
        Self::reach(&mut exchange, Stage::Begun);
        drop(exchange);
        (first_byte.unwrap_or_else(Instant::now), fault)
    }

    /// The guard: the rest of the body will not come.
    pub(super) fn body_failed(&self, fault: BodyFault) {
        self.exchange().body_fault = Some(fault);
    }

    /// The handler: why a body failed.
    pub(super) fn body_fault(&self) -> Option<BodyFault> {
        self.exchange().body_fault
    }

    /// The handler: the answer is on its way, the next request may come.
    pub(super) fn answer(&self) {
        Self::reach(&mut self.exchange(), Stage::Answered);
    }

    /// The handler: what has been sent must not pass for a whole answer.
    pub(super) fn reset(&self) {
        self.exchange().reset = true;
    }

    /// The guard: whether the connection is to be broken off instead of closed.
    pub(super) fn is_reset(&self) -> bool {
        self.exchange().reset
    }

    /// To wake the connection's task is to put it in line, so the lock may be held meanwhile.
    fn reach(exchange: &mut Exchange, stage: Stage) {
        exchange.stage = stage;
        if let Some(reader) = exchange.reader.take() {
            reader.wake();
        }
    }

    /// The guard: how far the request has come that it handed on. Its task is woken at the next stage: hyper, once told
    /// that there is nothing to read, does not ask again by itself, though the next request may have come long ago.
    pub(super) fn stage(&self, cx: &Context<'_>) -> Stage {
        let mut exchange = self.exchange();
        if exchange.stage != Stage::Answered {
            exchange.reader = Some(cx.waker().clone());
        }
        exchange.stage
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    fn ends() -> Ends {
        let local: SocketAddr = ([127, 0, 0, 1], 8080).into();
        Ends { peer: local.ip(), local }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_reader_is_woken_at_each_stage_that_it_waits_for() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let wire = Wire::new(ends(), 10);
        for request in 0..3 {
            wire.arrived(Instant::now(), None);
            assert_eq!(wire.stage(&cx), Stage::HandedOn);
            wire.begin();
            assert_eq!(woken.0.load(Ordering::Relaxed), 2 * request + 1);
            assert_eq!(wire.stage(&cx), Stage::Begun);
            wire.answer();
            assert_eq!(woken.0.load(Ordering::Relaxed), 2 * request + 2);
            assert_eq!(wire.stage(&cx), Stage::Answered);
        }
    }

    #[test]
    fn the_last_request_knows_that_it_is() {
        let wire = Wire::new(ends(), 2);
        wire.arrived(Instant::now(), None);
        assert!(!wire.is_last());
        wire.arrived(Instant::now(), None);
        assert!(wire.is_last());
    }
}
