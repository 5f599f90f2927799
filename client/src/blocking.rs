//! The blocking client, for programs that do not use async. It must not be used within an async runtime.
//!
//! ```no_run
//! use bulkhead_client::{Client, Error, blocking};
//!
//! fn main() -> Result<(), Error> {
//!     let client = Client::builder("http://127.0.0.1:8080", "word-count").token("the service's token").build()?;
//!     let client = blocking::Client::new(client)?;
//!     println!("{}", client.predict_string("one two three")?);
//!     Ok(())
//! }
//! ```

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use crate::{Error, Request, Response};

/// A [`Client`](crate::Client) with a thread of its own that serves its connections. Several threads may share it.
pub struct Client {
    client: crate::Client,
    runtime: Runtime,
}

impl Client {
    /// Starts the client's thread.
    ///
    /// # Errors
    /// [`Error::Request`] if the system refuses a thread.
    pub fn new(client: crate::Client) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("bulkhead-client").build();
        let runtime = runtime.map_err(|error| Error::Request(format!("cannot start the client's thread: {error}")))?;
        Ok(Self { client, runtime })
    }

    /// Calls [`Client::predict`](crate::Client::predict) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Client::predict`](crate::Client::predict).
    pub fn predict(&self, body: impl Into<Bytes>) -> Result<Response, Error> {
        self.runtime.block_on(self.client.predict(body))
    }

    /// Calls [`Client::predict_string`](crate::Client::predict_string) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Client::predict_string`](crate::Client::predict_string).
    pub fn predict_string(&self, text: impl Into<String>) -> Result<String, Error> {
        self.runtime.block_on(self.client.predict_string(text))
    }

    /// Calls [`Client::call`](crate::Client::call) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Client::call`](crate::Client::call).
    pub fn call(&self, request: &Request) -> Result<Response, Error> {
        self.runtime.block_on(self.client.call(request))
    }

    /// Calls [`Client::send`](crate::Client::send) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Client::send`](crate::Client::send).
    pub fn send(&self, request: &Request) -> Result<Response, Error> {
        self.runtime.block_on(self.client.send(request))
    }
}
