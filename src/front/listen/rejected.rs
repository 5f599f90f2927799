//! Connections that are refused before a request is read from them.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::drain::Drain;
use super::io_threads::IoThreads;
use super::linger::{self, Lingering};
use crate::api::Problem;

/// The reason for refusing a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::front) enum Why {
    /// Its address has reached its limit of connections.
    TooMany,
    /// The host is draining, and no place is free.
    Draining,
}

impl Why {
    /// Returns the code and the sentence for the client.
    pub(in crate::front) const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::TooMany => ("too_many_connections", "this address has too many connections"),
            Self::Draining => ("draining", "the host is ending, and all its connections are taken"),
        }
    }

    /// Returns the whole answer.
    fn words(self) -> String {
        let (code, detail) = self.told();
        let problem = Problem::new(503, "Service Unavailable", code, detail);
        // Text and numbers can always be written as JSON.
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let length = body.len();
        format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    }
}

/// Writes the answer without waiting: what does not fit into the empty socket is not sent. If a place is free, input is
/// discarded with the short bounds, so that the answer is not lost.
pub(in crate::front) fn reject(
    stream: TcpStream,
    why: Why,
    lingering: &Lingering,
    threads: &Arc<IoThreads>,
    drain: &Drain,
) {
    let _ = rustix::io::write(&stream, why.words().as_bytes());
    linger::finish(&stream);
    if let Some(place) = lingering.place() {
        let drain = drain.clone();
        threads.serve(stream, async move |stream| linger::read_away_shortly(place, &stream, &drain).await);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn whoever_is_turned_away_is_told_why_whatever_it_has_sent() {
        let threads = Arc::new(IoThreads::start(1).unwrap());
        let (_tell, told) = watch::channel(false);
        let drain = Drain::new(told);
        for (why, code) in [(Why::TooMany, "too_many_connections"), (Why::Draining, "draining")] {
            let lingering = Lingering::new(4);
            // The first client gets the place, and the second finds none.
            let mut clients: Vec<_> = (0..2)
                .map(|_| {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                    client.write_all(&[b'x'; 100 << 10]).unwrap();
                    let stream = listener.accept().unwrap().0;
                    stream.set_nonblocking(true).unwrap();
                    reject(TcpStream::from_std(stream).unwrap(), why, &lingering, &threads, &drain);
                    client
                })
                .collect();
            assert!(lingering.place().is_none(), "there is one place");
            for client in &mut clients {
                let mut said = String::new();
                client.read_to_string(&mut said).unwrap();
                let (head, body) = said.split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("content-length: {}", body.len())), "{} {head}", body.len());
                let problem = serde_json::from_str::<serde_json::Value>(body).unwrap();
                assert_eq!((&problem["code"], &problem["error"]["code"]), (&code.into(), &code.into()));
            }
            drop(clients);
            lingering.over().await;
        }
    }
}
