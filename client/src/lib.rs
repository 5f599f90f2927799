//! A client for services of Bulkhead and of PAI-EAS. It does in Rust what the official SDKs do.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bulkhead_client::{Client, Error, Request, RetryPolicy};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let client = Client::builder("http://127.0.0.1:8080", "word-count")
//!         .token("the service's token")
//!         .timeout(Duration::from_secs(2))
//!         .retry(RetryPolicy::new(5))
//!         .build()?;
//!
//!     let answer = client.predict_string("one two three").await?;
//!     println!("{answer}");
//!
//!     // A request with a path behind the service's name, a query and a header.
//!     let request = Request::new(r#"{"text": "one two"}"#)
//!         .path("/v1")
//!         .query("uid=7")
//!         .content_type("application/json");
//!     match client.call(&request).await {
//!         Ok(response) => println!("{} bytes", response.body.len()),
//!         Err(Error::Refused(refused)) => println!("{}: {} ({})", refused.status, refused.detail, refused.code),
//!         Err(error) if error.may_have_been_processed() => println!("it may have been processed: {error}"),
//!         Err(error) => println!("it was not processed: {error}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Differences from the official SDKs
//!
//! - A call is repeated only if no processor can have seen it: after a failed connection, a full queue (450), a rate
//!   limit (429), or a 503 of a service that does not run. The SDKs also repeat after a timeout, so that one request
//!   may be processed up to six times. To allow that here, name the [`Condition`]s.
//! - There is a pause between tries. It grows with each try and is random in part.
//! - An answer that arrives while the request is still being sent is read, even if the server has closed the connection
//!   by then. A refused body is reported with its status, not as a broken pipe.
//! - Errors have the server's explanation in fields: its stable `code`, its sentence, the request id of its log.
//!
//! As in the SDKs, only status 200 is success, and every try has a timeout of [five seconds](ClientBuilder::timeout).
//!
//! # Queues
//!
//! An asynchronous service is called by a put into its queue, and its answers are in another one, its sink. See
//! [`queue::Queue`].
//!
//! # Features
//!
//! `compression` (on by default): [`Compressor`]. `tensors` (on by default): `predict_tensorflow`, `predict_torch` and
//! `predict_onnx`, over the types of [`bulkhead_tensors`]. `tls`: `https` endpoints, and
//! [`root_certificates`](ClientBuilder::root_certificates) of your own. `blocking`: [`blocking::Client`] for programs
//! that do not use async.
#![doc(test(attr(deny(warnings))))]
#![warn(missing_docs)]

mod address;
mod answer_first;
mod authorization;
#[cfg(feature = "blocking")]
pub mod blocking;
mod client;
#[cfg(feature = "compression")]
mod compress;
mod direct;
mod error;
mod exchange;
mod pool;
pub mod queue;
mod request;
mod retry;
#[cfg(feature = "tensors")]
mod tensors;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tensors")]
pub use bulkhead_tensors;
pub use client::{Client, ClientBuilder};
#[cfg(feature = "compression")]
pub use compress::Compressor;
pub use error::{Error, Fault, Refused, Transport, Unread, Unreadable};
pub use http;
pub use request::{Request, Response};
pub use retry::{Condition, RetryPolicy};

/// The examples of the README, which are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
