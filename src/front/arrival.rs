//! A request as it comes to the line, whichever protocol it came over.

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
    /// The fault of its head, if any; nothing else in the head is trusted then.
    pub(crate) fault: Option<HeadFault>,
    /// When its first byte came.
    pub(crate) at: Instant,
    pub(crate) ends: Ends,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// The client's.
    pub(crate) peer: IpAddr,
    /// Ours, where the client reached it.
    pub(crate) local: SocketAddr,
}
