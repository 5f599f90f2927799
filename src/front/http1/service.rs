//! The two parts of an HTTP/1 connection that differ from listener to listener: the service that answers its requests,
//! and the replies to send.

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use hyper::body::Body;
use tokio::net::TcpStream;

use crate::front::arrival::Arrival;
use crate::front::handle::ClientGone;
use crate::front::reply::content::Content;
use crate::front::rules::Rules;

/// A service that answers the requests of a connection, one after the other.
pub(crate) trait Service: Sync {
    type Reply: Outgoing;
    /// True if a reply may begin while the body of its request is still being read, as a forwarded reply may. If false,
    /// a body that is unread when the reply begins is not read any more, and the connection is closed.
    const REPLIES_EARLY: bool;

    /// Answers one request, and sets the `rules` that its connection has to follow. [`ClientGone`] ends the connection
    /// without an answer.
    fn answer(&self, arrival: Arrival, rules: &Rules) -> impl Future<Output = Result<Self::Reply, ClientGone>> + Send;
}

/// A reply that can be sent.
pub(crate) trait Outgoing: Send {
    /// The type of a body that is streamed.
    type Stream: Body<Data = Bytes> + Send + Unpin;

    fn status(&self) -> StatusCode;

    /// Returns the reason phrase of the status.
    fn reason(&self) -> &[u8];

    /// Returns the headers that may contain `Connection`.
    fn headers(&self) -> &HeaderMap;

    /// Passes every header to `write`, except those that frame the message.
    fn each_header(&self, write: impl FnMut(&HeaderName, &[u8]));

    fn content(&self) -> &Content<Self::Stream>;

    fn into_content(self) -> Content<Self::Stream>;

    /// Removes the conversation that takes over the connection after this reply, if there is one.
    fn take_upgrade(&mut self) -> Option<Upgrade> {
        None
    }
}

/// A conversation in another protocol, which a reply with the status 101 begins (RFC 9110 §7.8).
pub(crate) type Upgrade = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A connection that does not speak HTTP any more.
pub(crate) struct Upgraded {
    pub(crate) stream: TcpStream,
    /// Bytes that the client has sent after its request.
    pub(crate) early: Vec<u8>,
}
