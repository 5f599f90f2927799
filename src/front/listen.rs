//! The sockets of the data listener: accepting connections, the threads that serve them, and their end.

pub(in crate::front) mod accept;
pub(in crate::front) mod addresses;
pub(in crate::front) mod connection;
pub(in crate::front) mod descriptors;
pub(in crate::front) mod drain;
pub(in crate::front) mod io_threads;
pub(in crate::front) mod linger;
pub(in crate::front) mod patient;
pub(in crate::front) mod rejected;
pub(in crate::front) mod stall;
pub(in crate::front) mod unread;
