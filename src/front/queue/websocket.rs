//! A watch over a WebSocket (RFC 6455): each item is a binary message.

use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::protocol::frame::{Media, Parts, item};
use super::session::{End, Gone, PATIENCE, Port, Watch};
use crate::front::http1::{Upgrade, Upgraded};
use crate::front::listen::patient::Patient;
use crate::front::listen::stall::keep_little_unsent;
use crate::outcome::Detached;
use crate::queue::{Item, QueueError};
use crate::quoted::Quoted;
use crate::refusal::Refusal;

/// The largest message of a client. It has nothing to send but control frames.
const LARGEST_MESSAGE: usize = 4 << 10;

/// A valid request for a WebSocket.
pub(super) struct Handshake {
    accept: HeaderValue,
}

/// A watch that waits for its connection.
pub(in crate::front) struct Conversation {
    accept: HeaderValue,
    watch: Watch,
    media: Media,
}

impl Handshake {
    /// Reads the handshake of a client (RFC 6455 §4.2.1); `None` if it asks for no WebSocket.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let has = |name, token: &str| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
        };
        if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
            return Ok(None);
        }
        let version = headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
        if version != Some(b"13") {
            let found = Quoted(version.unwrap_or_default());
            return Err(bad(format!("the header Sec-WebSocket-Version is {found}; accepted is 13")));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_key = key.len() == 24 && key.ends_with(b"==");
        let accept = is_key.then(|| HeaderValue::from_str(&derive_accept_key(key)).ok()).flatten();
        match accept {
            Some(accept) => Ok(Some(Self { accept })),
            None => {
                Err(bad(format!("the header Sec-WebSocket-Key is {}; accepted are 16 bytes in Base64", Quoted(key))))
            }
        }
    }

    pub(super) fn accept(self, watch: Watch, media: Media) -> Conversation {
        Conversation { accept: self.accept, watch, media }
    }
}

fn bad(detail: String) -> Refusal {
    Refusal::BadBody(detail.into())
}

impl Conversation {
    /// The headers of the answer that begins the conversation.
    pub(in crate::front) fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, self.accept.clone()),
        ])
    }

    /// Begins the conversation. The account is settled at its end.
    pub(in crate::front) fn begin(self, account: Detached) -> Upgrade {
        Box::new(move |upgraded| Box::pin(self.talk(upgraded, account)))
    }

    async fn talk(self, upgraded: Upgraded, mut account: Detached) {
        let Upgraded { stream, early } = upgraded;
        let settings =
            WebSocketConfig::default().max_message_size(Some(LARGEST_MESSAGE)).max_frame_size(Some(LARGEST_MESSAGE));
        keep_little_unsent(&stream);
        let stream = Patient::new(stream, PATIENCE);
        let socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(settings)).await;
        let mut port = ToSocket { socket, media: self.media, bytes_out: 0, misuse: None };
        let end = self.watch.run(&mut port).await;
        port.close(&end).await;
        account.settle(account.times(), 101, "", "", port.bytes_out);
    }
}

/// The connection.
struct ToSocket {
    socket: WebSocketStream<Patient<TcpStream>>,
    media: Media,
    bytes_out: usize,
    /// The error of the client because of which the connection ends.
    misuse: Option<(CloseCode, String)>,
}

impl Port for ToSocket {
    async fn send(&mut self, entry: &Item, parts: Parts) -> Result<(), Gone> {
        let frame = item(self.media, entry, parts);
        let length = frame.len();
        self.socket.send(Message::Binary(frame)).await.map_err(|_| Gone)?;
        self.bytes_out += length;
        Ok(())
    }

    async fn listen(&mut self) -> Result<(), Gone> {
        let (code, text) = match self.socket.next().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(()),
            Some(Ok(Message::Close(_))) | None => return Err(Gone),
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                (CloseCode::Unsupported, "a watch takes no messages; items are committed with PUT".to_owned())
            }
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                (CloseCode::Size, format!("a message has more than {LARGEST_MESSAGE} bytes"))
            }
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => return Err(Gone),
            Some(Err(Error::Protocol(fault))) => (CloseCode::Protocol, fault.to_string()),
            Some(Err(Error::Utf8(_))) => (CloseCode::Invalid, "a text is not valid UTF-8".to_owned()),
            Some(Err(_)) => return Err(Gone),
        };
        self.misuse = Some((code, text));
        Err(Gone)
    }

    async fn ask(&mut self) -> Result<bool, Gone> {
        self.socket.send(Message::Ping(bytes::Bytes::new())).await.map_err(|_| Gone)?;
        Ok(true)
    }
}

impl ToSocket {
    /// Sends the client the reason for the end, if it still listens.
    async fn close(&mut self, end: &End) {
        const PARTING: std::time::Duration = std::time::Duration::from_secs(1);
        let (code, reason) = match (end, self.misuse.take()) {
            (_, Some((code, text))) => (code, text),
            (End::Left, None) => (CloseCode::Normal, String::new()),
            (End::Silent, None) => (CloseCode::Policy, "no ping and no answer to one within queue.lease_ms".into()),
            (End::Drain, None) => (CloseCode::Away, "the host ends".into()),
            (End::Queue(QueueError::Ended), None) => (CloseCode::Normal, "the queue has ended".into()),
            (End::Queue(QueueError::NoQueue(_)), None) => (CloseCode::Away, "the service was deleted".into()),
            (End::Queue(why), None) => (CloseCode::Again, why.to_string()),
        };
        // A control frame has at most 125 bytes, two of them for the code (RFC 6455 §5.5).
        let mut length = reason.len().min(123);
        while !reason.is_char_boundary(length) {
            length -= 1;
        }
        let frame = CloseFrame { code, reason: reason[..length].into() };
        let ending = async {
            // A client that is gone hears nothing. The answer to a client's own close frame is sent by the reading.
            let _ = self.socket.close(Some(frame)).await;
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        let _ = tokio::time::timeout(PARTING, ending).await;
    }
}
