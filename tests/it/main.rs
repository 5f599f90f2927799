//! One integration binary: the real host, real guests, real sockets.

mod admin;
mod cli;
mod faults;
mod host;
mod http;
mod outcomes;
mod restart;
