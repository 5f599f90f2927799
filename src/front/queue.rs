//! The queue service: requests to the queues of asynchronous services.
//!
//! `protocol` reads requests and writes items as clients of EAS do. `answer` carries the operations out. A watch is a
//! `session`, over a WebSocket or over a streamed answer; `progress` has the reports that it may carry.

mod answer;
mod enter;
mod operations;
mod progress;
mod protocol;
mod put;
mod session;
mod stream;
mod websocket;

use self::answer::{Asked, QueueAnswer};
pub(in crate::front) use self::enter::Entering;
pub(in crate::front) use self::websocket::Conversation;
