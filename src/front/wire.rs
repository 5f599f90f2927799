//! What the guard at the socket and the handler behind hyper tell each other about the request in between.
//!
//! Both run in the connection's one task, so the lock is never waited for.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

#[derive(Debug)]
pub(super) struct Wire {
    peer: IpAddr,
    exchange: Mutex<Exchange>,
}

/// The request under way on one connection.
#[derive(Debug, Default)]
struct Exchange {
    first_byte: Option<Instant>,
    head_fault: Option<HeadFault>,
    body_fault: Option<BodyFault>,
    answered: bool,
}

impl Wire {
    pub(super) fn new(peer: IpAddr) -> Self {
        Self { peer, exchange: Mutex::default() }
    }

    /// For one stream of HTTP/2, which has no guard: a body that breaks off there was reset by the client.
    pub(super) fn of_stream(peer: IpAddr) -> Self {
        let exchange = Exchange { body_fault: Some(BodyFault::CutOff), ..Exchange::default() };
        Self { peer, exchange: Mutex::new(exchange) }
    }

    /// The address at the other end.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The guard: a head arrived, whole or judged.
    pub(super) fn arrived(&self, first_byte: Instant, fault: Option<HeadFault>) {
        *self.exchange() =
            Exchange { first_byte: Some(first_byte), head_fault: fault, body_fault: None, answered: false };
    }

    /// The handler: what arrived. Without a guard's word the request began now.
    pub(super) fn begin(&self) -> (Instant, Option<HeadFault>) {
        let exchange = self.exchange();
        (exchange.first_byte.unwrap_or_else(Instant::now), exchange.head_fault)
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
        self.exchange().answered = true;
    }

    /// The guard: whether the request it handed on has been answered.
    pub(super) fn is_answered(&self) -> bool {
        self.exchange().answered
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
