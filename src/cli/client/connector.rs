//! Connections on which an answer that has arrived takes precedence over a failed write.
//!
//! A server may refuse a request before it has read all of it, and close, for example because of its size or a full
//! disk. Writes then fail although the answer is in the socket: the system keeps received bytes even after a reset. So
//! after a failed write, further writes are dropped, and reading shows whether there was an answer.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Error};

/// An agent with ureq's default connectors, and [`AnswerFirst`] between TCP and TLS.
pub(crate) fn agent(config: Config) -> Agent {
    watched_agent(config).0
}

/// An agent with the same connectors, and a flag that is set when the server stops reading a request.
pub(crate) fn watched_agent(config: Config) -> (Agent, Taking) {
    let taking = Taking::default();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(AnswerFirst { taking: taking.clone() })
            .chain(RustlsConnector::default());
    (Agent::with_parts(config, connector, DefaultResolver::default()), taking)
}

/// A flag: true once the server has stopped reading on the connection that was used last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taking(Arc<AtomicBool>);

impl Taking {
    /// Reads `content` until the server stops reading, and then yields zeros. They are not sent, so the rest of
    /// `content` need not be read.
    pub(crate) fn only_while<'a>(&self, content: &'a mut dyn Read) -> impl Read + use<'a> {
        self.0.store(false, Ordering::Relaxed);
        Content { content, taking: self.clone() }
    }

    fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn ends(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Content<'a> {
    content: &'a mut dyn Read,
    taking: Taking,
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.taking.has_ended() {
            return self.content.read(into);
        }
        into.fill(0);
        Ok(into.len())
    }
}

#[derive(Debug)]
struct AnswerFirst {
    taking: Taking,
}

#[derive(Debug)]
struct Connection<T> {
    transport: T,
    has_failed: bool,
    taking: Taking,
}

impl<T: Transport> Connector<T> for AnswerFirst {
    type Out = Connection<T>;

    fn connect(&self, _: &ConnectionDetails<'_>, transport: Option<T>) -> Result<Option<Self::Out>, Error> {
        let taking = self.taking.clone();
        Ok(transport.map(|transport| Connection { transport, has_failed: false, taking }))
    }
}

impl<T: Transport> Transport for Connection<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.has_failed {
            return Ok(());
        }
        match self.transport.transmit_output(amount, timeout) {
            Err(Error::Io(error)) if is_end(&error) => {
                self.has_failed = true;
                self.taking.ends();
                Ok(())
            }
            other => other,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        !self.has_failed && self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

/// True if the error means that the server has closed the connection.
pub(super) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
