//! Accepts operators' connections, and serves each in a task of its own, with the HTTP/1 reader and writer of the data
//! listener.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body_util::channel::Channel;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Reply;
use super::seats::{Seat, Seats};
use crate::front::http1::{Connection, Outgoing, Service};
use crate::front::{Arrival, ClientGone, Content, Descriptors, Drain, Ends, Lingering, Patience, Rules, not_accepted};

/// Answers the requests of operators.
pub(super) trait Answers: Send + Sync + 'static {
    /// Answers a request, also one whose head is faulty. `seat` is the place of its connection.
    fn answer(self: Arc<Self>, arrival: Arrival, seat: &Seat) -> impl Future<Output = Reply> + Send;
}

/// Serves operators until `end` becomes true. If all places are taken, a new connection replaces an older one.
pub(super) async fn serve(admin: Arc<impl Answers>, listener: TcpListener, mut end: watch::Receiver<bool>) {
    let (mut seats, mut sessions) = (Seats::new(Descriptors::of_this_process().for_operators()), JoinSet::new());
    let (drain, lingering) = (Drain::new(end.clone()), Arc::new(Lingering::new(seats.most())));
    loop {
        let accepted = tokio::select! {
            () = ended(&mut end) => return,
            Some(session) = sessions.join_next_with_id() => {
                seats.leave(session.map_or_else(|error| error.id(), |(id, ())| id));
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                while sessions.len() >= seats.most() {
                    seats.make_room();
                    let Some(session) = sessions.join_next_with_id().await else { break };
                    seats.leave(session.map_or_else(|error| error.id(), |(id, ())| id));
                }
                let Ok(local) = stream.local_addr() else { continue };
                let ends = Ends { peer: peer.ip(), local };
                let seat = Seat::default();
                let session =
                    Session { admin: Arc::clone(&admin), seat: seat.clone(), lingering: Arc::clone(&lingering) };
                let task = sessions.spawn(session.serve(stream, ends, drain.clone()));
                seats.take(peer.ip(), seat, task);
            }
            Err(error) => not_accepted("admin", &error).await,
        }
    }
}

async fn ended(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

/// One operator's connection.
struct Session<A> {
    admin: Arc<A>,
    seat: Seat,
    lingering: Arc<Lingering>,
}

impl<A: Answers> Session<A> {
    async fn serve(self, stream: TcpStream, ends: Ends, drain: Drain) {
        // Answers are written as a whole, so waiting for more data would only delay them.
        let _ = stream.set_nodelay(true);
        Connection::new(&self, &self.lingering, (stream, &[]), ends, Patience::default(), u64::MAX, drain)
            .serve()
            .await;
    }
}

impl<A: Answers> Service for Session<A> {
    type Reply = Reply;
    const REPLIES_EARLY: bool = false;

    async fn answer(&self, arrival: Arrival, _: &Rules) -> Result<Reply, ClientGone> {
        Ok(Arc::clone(&self.admin).answer(arrival, &self.seat).await)
    }
}

impl Outgoing for Response<Content<Channel<Bytes>>> {
    type Stream = Channel<Bytes>;

    fn status(&self) -> StatusCode {
        Self::status(self)
    }

    fn reason(&self) -> &[u8] {
        Self::status(self).canonical_reason().unwrap_or_default().as_bytes()
    }

    fn headers(&self) -> &HeaderMap {
        Self::headers(self)
    }

    fn each_header(&self, mut write: impl FnMut(&HeaderName, &[u8])) {
        for (name, value) in Self::headers(self) {
            write(name, value.as_bytes());
        }
    }

    fn content(&self) -> &Content<Channel<Bytes>> {
        self.body()
    }

    fn into_content(self) -> Content<Channel<Bytes>> {
        self.into_body()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers everything with more than socket buffers hold.
    struct Much;

    impl Answers for Much {
        async fn answer(self: Arc<Self>, _: Arrival, _: &Seat) -> Reply {
            Response::new(Content::Whole(vec![b'x'; 64 << 20].into()))
        }
    }

    /// A client, and the future that serves its connection.
    async fn connect() -> (TcpStream, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let ends = Ends { peer: peer.ip(), local: stream.local_addr().unwrap() };
        let (tell, told) = watch::channel(false);
        let session = Session { admin: Arc::new(Much), seat: Seat::default(), lingering: Arc::new(Lingering::new(1)) };
        let served = async move {
            let _tell = tell;
            session.serve(stream, ends, Drain::new(told)).await;
        };
        (client, served)
    }

    /// A client that pipelines requests and reads nothing must not keep its connection. The paused clock advances when
    /// all tasks are idle.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut client, served) = connect().await;
        client.write_all(&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(10)).await.unwrap();
        let began = tokio::time::Instant::now();
        served.await;
        assert_eq!(began.elapsed().as_secs(), Patience::default().write.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_given_up() {
        let (mut client, served) = connect().await;
        let began = tokio::time::Instant::now();
        served.await;
        assert_eq!(began.elapsed().as_secs(), Patience::default().silent.as_secs());
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}
