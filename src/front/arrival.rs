//! A request as it comes to the line, whichever protocol it came over.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use http::{HeaderMap, Method, Uri};

use super::head::HeadFault;
use crate::incoming::Incoming;

pub(super) struct Arrival {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    /// What is wrong with its head, of which nothing else is believed then.
    pub(super) fault: Option<HeadFault>,
    /// When its first byte came.
    pub(super) at: Instant,
    pub(super) ends: Ends,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The client's.
    pub(super) peer: IpAddr,
    /// Ours, where the client reached it.
    pub(super) local: SocketAddr,
}
