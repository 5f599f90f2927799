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

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use crate::queue::{Entry, Get, Item, Receipt, Search, Watch};
use crate::{Error, Request, Response};

/// A [`Client`](crate::Client) with a thread of its own that serves its connections. Several threads may share it.
pub struct Client {
    client: crate::Client,
    runtime: Arc<Runtime>,
}

/// A [`Queue`](crate::queue::Queue) of a blocking client.
#[derive(Clone)]
pub struct Queue {
    queue: crate::queue::Queue,
    runtime: Arc<Runtime>,
}

/// The items of a watch, as they come: an iterator that waits for the next one, and ends with the queue.
pub struct Entries {
    entries: crate::queue::Entries,
    runtime: Arc<Runtime>,
}

impl Client {
    /// Starts the client's thread.
    ///
    /// # Errors
    /// [`Error::Request`] if the system refuses a thread.
    pub fn new(client: crate::Client) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("bulkhead-client").build();
        let runtime = runtime.map_err(|error| Error::Request(format!("cannot start the client's thread: {error}")))?;
        Ok(Self { client, runtime: Arc::new(runtime) })
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

    /// Returns the input queue of an asynchronous service.
    pub fn queue(&self) -> Queue {
        Queue { queue: self.client.queue(), runtime: Arc::clone(&self.runtime) }
    }

    /// Returns the queue with the results of an asynchronous service.
    pub fn sink(&self) -> Queue {
        Queue { queue: self.client.sink(), runtime: Arc::clone(&self.runtime) }
    }
}

impl Queue {
    /// Sets the name of this consumer; see [`Queue::consumer`](crate::queue::Queue::consumer).
    #[must_use]
    pub fn consumer(self, user: &str) -> Self {
        Self { queue: self.queue.consumer(user), ..self }
    }

    /// Sets the group of this consumer [default: `eas`].
    #[must_use]
    pub fn group(self, group: &str) -> Self {
        Self { queue: self.queue.group(group), ..self }
    }

    /// Calls [`Queue::put`](crate::queue::Queue::put) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::put`](crate::queue::Queue::put).
    pub fn put(&self, item: &Item) -> Result<Receipt, Error> {
        self.runtime.block_on(self.queue.put(item))
    }

    /// Calls [`Queue::get`](crate::queue::Queue::get) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::get`](crate::queue::Queue::get).
    pub fn get(&self, get: &Get) -> Result<Vec<Entry>, Error> {
        self.runtime.block_on(self.queue.get(get))
    }

    /// Calls [`Queue::attributes`](crate::queue::Queue::attributes) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::attributes`](crate::queue::Queue::attributes).
    pub fn attributes(&self) -> Result<BTreeMap<String, String>, Error> {
        self.runtime.block_on(self.queue.attributes())
    }

    /// Calls [`Queue::search`](crate::queue::Queue::search) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::search`](crate::queue::Queue::search).
    pub fn search(&self, index: u64) -> Result<Option<Search>, Error> {
        self.runtime.block_on(self.queue.search(index))
    }

    /// Calls [`Queue::commit`](crate::queue::Queue::commit) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::commit`](crate::queue::Queue::commit).
    pub fn commit(&self, indexes: &[u64]) -> Result<(), Error> {
        self.runtime.block_on(self.queue.commit(indexes))
    }

    /// Calls [`Queue::negative_commit`](crate::queue::Queue::negative_commit) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::negative_commit`](crate::queue::Queue::negative_commit).
    pub fn negative_commit(&self, indexes: &[u64], code: &str, reason: &str) -> Result<(), Error> {
        self.runtime.block_on(self.queue.negative_commit(indexes, code, reason))
    }

    /// Calls [`Queue::delete`](crate::queue::Queue::delete) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::delete`](crate::queue::Queue::delete).
    pub fn delete(&self, indexes: &[u64]) -> Result<(), Error> {
        self.runtime.block_on(self.queue.delete(indexes))
    }

    /// Calls [`Queue::truncate`](crate::queue::Queue::truncate) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::truncate`](crate::queue::Queue::truncate).
    pub fn truncate(&self, before: u64) -> Result<(), Error> {
        self.runtime.block_on(self.queue.truncate(before))
    }

    /// Calls [`Queue::end`](crate::queue::Queue::end) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::end`](crate::queue::Queue::end).
    pub fn end(&self) -> Result<(), Error> {
        self.runtime.block_on(self.queue.end())
    }

    /// Calls [`Queue::end_at_once`](crate::queue::Queue::end_at_once) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::end_at_once`](crate::queue::Queue::end_at_once).
    pub fn end_at_once(&self) -> Result<(), Error> {
        self.runtime.block_on(self.queue.end_at_once())
    }

    /// Calls [`Queue::watch`](crate::queue::Queue::watch) and waits for the answer.
    ///
    /// # Errors
    /// Those of [`Queue::watch`](crate::queue::Queue::watch).
    pub fn watch(&self, watch: &Watch) -> Result<Entries, Error> {
        let entries = self.runtime.block_on(self.queue.watch(watch))?;
        Ok(Entries { entries, runtime: Arc::clone(&self.runtime) })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Error>;

    /// Waits for the next item. After an error there is nothing more to come.
    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.entries.next()).transpose()
    }
}
