//! The two sides of a connection of HTTP/1 that differ from listener to listener: what answers its requests, and the
//! replies that it is given to send.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use hyper::body::Body;

use crate::front::arrival::Arrival;
use crate::front::handle::ClientGone;
use crate::front::relayed::Content;
use crate::front::rules::Rules;

/// Answers the requests of a connection, one after the other.
pub(crate) trait Service: Sync {
    type Reply: Outgoing;
    /// True if a reply may begin while the body of its request is still being read, as a forwarded one may. If false, a
    /// body that has not been read whole when the reply begins is not read any more, and the connection is closed.
    const REPLIES_EARLY: bool;

    /// Answers one request, and sets the `rules` that its connection has to follow. The connection is ended without a word
    /// for [`ClientGone`].
    fn answer(&self, arrival: Arrival, rules: &Rules) -> impl Future<Output = Result<Self::Reply, ClientGone>> + Send;
}

/// A reply that can be sent.
pub(crate) trait Outgoing: Send {
    /// The body of a reply that is still coming.
    type Stream: Body<Data = Bytes> + Send + Unpin;

    fn status(&self) -> StatusCode;

    /// The phrase that names the status.
    fn reason(&self) -> &[u8];

    /// The headers that may hold `Connection`.
    fn headers(&self) -> &HeaderMap;

    /// Passes every header to `write` but those that frame the message.
    fn each_header(&self, write: impl FnMut(&HeaderName, &[u8]));

    fn content(&self) -> &Content<Self::Stream>;

    fn into_content(self) -> Content<Self::Stream>;
}
