//! Calls services of Bulkhead and of PAI-EAS: what the official SDKs do, for Rust.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bulkhead_client::{Client, Error, Request, RetryPolicy};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::builder("http://127.0.0.1:8080", "word-count")
//!     .token("the service's token")
//!     .timeout(Duration::from_secs(2))
//!     .retry(RetryPolicy::new(5))
//!     .build()?;
//!
//! let answer = client.predict_string("one two three").await?;
//! println!("{answer}");
//!
//! // A request of another make: a path behind the service's name, a query, headers.
//! let request = Request::new(r#"{"text": "one two"}"#).path("/v1").query("uid=7").content_type("application/json");
//! match client.call(&request).await {
//!     Ok(response) => println!("{} bytes", response.body.len()),
//!     Err(Error::Refused(refused)) => println!("{}: {} ({})", refused.status, refused.detail, refused.code),
//!     Err(error) if error.may_have_been_processed() => println!("nobody knows whether it was done: {error}"),
//!     Err(error) => println!("it was not done: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What differs from the official SDKs
//!
//! - A call is repeated only where no processor can have seen it: no connection, a full queue (450), a rate limit (429), a
//!   service that does not run (503). The SDKs also repeat what timed out, and so have one request done up to six times.
//!   Whoever wants that names the [`Condition`]s.
//! - Between tries there is a pause, longer each time and random in part.
//! - An answer that comes while the request is still being sent is read, even if the server has closed the connection
//!   by then: a refused body is reported as its status, not as a broken pipe.
//! - Errors carry what the server said as fields: its stable `code`, its sentence, the request id of its log.
//!
//! As there, success is exactly status 200, and every try has [five seconds](ClientBuilder::timeout) in all.
//!
//! # Features
//!
//! `compression` (on by default): [`Compressor`]. `tensors` (on by default): `predict_tensorflow`, `predict_torch` and
//! `predict_onnx`, over the types of [`bulkhead_tensors`]. `tls`: `https` endpoints, and
//! [`root_certificates`](ClientBuilder::root_certificates) of your own. `blocking`: [`blocking::Client`] for programs
//! that do not wait asynchronously.

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
