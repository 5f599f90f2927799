//! A parsed request as the handler takes it, the same for every protocol.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use http::{HeaderMap, Method, Uri};

use super::head::HeadFault;
use crate::incoming::Incoming;

pub(crate) struct Arrival {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    /// The fault of its head, if any. Nothing else in the head can be trusted then.
    pub(crate) fault: Option<HeadFault>,
    /// The time at which its first byte arrived.
    pub(crate) at: Instant,
    pub(crate) ends: Ends,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// The client's address.
    pub(crate) peer: IpAddr,
    /// The host's address on this connection.
    pub(crate) local: SocketAddr,
}
