//! Servers that are down, break off, stall or send garbage: the client's errors, and the number of its tries.
//!
//! Each test scripts a server: see `scripted`.

mod scripted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bulkhead_client::queue::{Get, Item};
use bulkhead_client::{Client, ClientBuilder, Condition, Error, Fault, Request, RetryPolicy, Unread};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use self::scripted::Deed::{End, Ignore, Nothing, Refuse, Reset, Say};
use self::scripted::{Deed, OK, QUICK, Server, builder, pauseless, read_request};

async fn failure(builder: ClientBuilder) -> Error {
    builder.build().unwrap().predict("body").await.unwrap_err()
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::Transport(transport) => transport.fault,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_told_as_512() {
    // Bound but not listening: no other program gets the port, and connecting to it is refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = failure(builder(socket.local_addr().unwrap())).await;
    assert_eq!((error.code(), fault(&error)), (512, Fault::ConnectionFailed));
    assert!(!error.may_have_been_processed() && !error.is_timeout());
    assert!(error.to_string().starts_with("512: no connection to 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn whoever_does_not_take_the_connection_in_time_was_never_asked() {
    // A backlog of 0 that is full: the kernel leaves further connections waiting.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(QUICK, TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let error = failure(builder(address).retry(RetryPolicy::none())).await;
    assert_eq!((error.code(), fault(&error)), (512, Fault::ConnectionTimeout));
    assert!(error.is_timeout() && !error.may_have_been_processed());
}

#[tokio::test]
async fn a_reset_or_a_silence_is_not_repeated_because_it_may_have_been_processed() {
    for (deed, expected) in [(Reset, Fault::BrokenOff), (End(""), Fault::BrokenOff), (Nothing, Fault::ReadTimeout)] {
        let server = Server::start(Vec::leak(vec![deed])).await;
        let error = failure(server.builder()).await;
        assert_eq!((error.code(), fault(&error), server.asked()), (512, expected, 1), "{error}");
        assert!(error.may_have_been_processed());
    }
}

#[tokio::test]
async fn a_reset_or_a_silence_is_repeated_by_whoever_asks_for_it() {
    for deed in [Reset, Nothing, End("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal")] {
        let server = Server::start(Vec::leak(vec![deed])).await;
        failure(server.builder().retry(pauseless(2).on(Condition::ALL))).await;
        assert_eq!(server.asked(), 3);
        let recovers = Server::start(Vec::leak(vec![deed, OK])).await;
        let client = recovers.builder().retry(pauseless(2).on(Condition::ALL)).build().unwrap();
        assert_eq!((client.predict_string("x").await.unwrap().as_str(), recovers.asked()), ("ok", 2));
    }
}

#[tokio::test]
async fn half_answers_are_513_and_nonsense_is_512() {
    for (answer, broken) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhal\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-le", false),
        ("220 mail.example ESMTP\r\n\r\n", false),
    ] {
        let server = Server::start(Vec::leak(vec![End(answer)])).await;
        let error = failure(server.builder()).await;
        match (&error, broken) {
            (Error::Response(unreadable), true) => {
                assert_eq!((unreadable.status, error.code()), (200, 513));
                assert!(matches!(unreadable.why, Unread::BrokenOff(_)), "{error}");
            }
            (Error::Transport(_), false) => assert_eq!(error.code(), 512),
            _ => panic!("{answer:?}: {error}"),
        }
        assert_eq!(server.asked(), 1);
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_in_time() {
    let server = Server::start(&[Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal")]).await;
    let error = failure(server.builder()).await;
    assert!(matches!(&error, Error::Response(unreadable) if unreadable.why == Unread::Timeout), "{error}");
    assert!(error.is_timeout());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsixsix\r\n0\r\n\r\n",
    ] {
        let server = Server::start(Vec::leak(vec![Say(answer)])).await;
        let error = failure(server.builder().max_response_bytes(5)).await;
        assert!(
            matches!(&error, Error::Response(unreadable) if unreadable.why == Unread::TooLarge { limit: 5 }),
            "{error}"
        );
    }
    let fits = Server::start(&[OK]).await;
    assert!(fits.builder().max_response_bytes(2).build().unwrap().predict("").await.is_ok());
}

#[tokio::test]
async fn a_full_queue_is_tried_again_and_a_500_is_not() {
    const FULL: Deed = Say("HTTP/1.1 450 Queue Full\r\ncontent-length: 0\r\n\r\n");
    const BROKEN: Deed = Say("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start(&[FULL, FULL, OK]).await;
    let client = server.builder().build().unwrap();
    assert_eq!(client.predict_string("x").await.unwrap(), "ok");
    assert_eq!((server.asked(), server.connections()), (3, 1), "over one connection");
    let always = Server::start(&[FULL]).await;
    assert_eq!((failure(always.builder()).await.code(), always.asked()), (450, 3));
    let broken = Server::start(&[BROKEN]).await;
    assert_eq!((failure(broken.builder()).await.code(), broken.asked()), (500, 1));
}

/// Larger than all buffers between client and server, so that writing fails in the middle of it.
const LARGE: usize = 8 << 20;

/// The server answers and resets the connection while the body is still being written: writing fails, and the answer
/// has arrived. It must not get lost, however much of it has been read, and its status alone decides about a retry.
#[tokio::test]
async fn an_answer_counts_for_more_than_a_write_that_failed() {
    const UNAUTHORIZED: &str = "HTTP/1.1 401 X\r\nconnection: close\r\ncontent-length: 3\r\n\r\nwho";
    const FULL: &str = "HTTP/1.1 450 X\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfull";
    const TOO_LARGE: &str = "HTTP/1.1 413 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nfar\r\n0\r\n\r\n";
    for (status, answer, asked) in [(401, UNAUTHORIZED, 1), (413, TOO_LARGE, 1), (450, FULL, 3)] {
        for more in [0, 1, 300 << 10] {
            for used in [false, true] {
                let refuse = Refuse(answer, more);
                let deeds = if used { vec![OK, refuse] } else { vec![refuse] };
                let server = Server::start(Vec::leak(deeds)).await;
                let client = server.builder().timeout(PATIENCE).build().unwrap();
                if used {
                    client.predict("x").await.unwrap();
                }
                let error = client.predict(vec![b'x'; LARGE]).await.unwrap_err();
                assert_eq!(error.code(), status, "after {more} bytes: {error}");
                assert_eq!(server.asked() - usize::from(used), asked);
            }
        }
    }
}

/// A timeout for waits that an event ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection whose server reads no further is never ready for another request. Waiting for that would delay the
/// answer.
#[tokio::test]
async fn a_server_that_reads_no_further_keeps_nobody_from_its_answer() {
    let server = Server::start(&[Ignore("HTTP/1.1 401 X\r\ncontent-length: 3\r\n\r\nwho"), OK]).await;
    let client = server.builder().timeout(PATIENCE).build().unwrap();
    let call = client.predict(vec![b'x'; LARGE]);
    let error = tokio::time::timeout(PATIENCE / 2, call).await.expect("an answer").unwrap_err();
    assert_eq!(error.code(), 401, "{error}");
    assert_eq!(client.predict_string("x").await.unwrap(), "ok");
    assert_eq!(server.connections(), 2, "that connection is not used again");
}

#[tokio::test]
async fn connections_are_used_again_and_one_that_was_closed_meanwhile_costs_nothing() {
    let server = Server::start(&[OK, OK, End("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), OK]).await;
    // No retry is allowed. A request that was never sent does not count as a try.
    let client = server.builder().retry(RetryPolicy::none()).build().unwrap();
    for _ in 0..6 {
        assert_eq!(client.predict_string("x").await.unwrap(), "ok");
    }
    assert_eq!((server.asked(), server.connections()), (6, 2));
}

#[tokio::test]
async fn there_are_never_more_connections_than_allowed() {
    let server = Server::start(&[OK]).await;
    let client = server.builder().timeout(Duration::from_secs(10)).max_connections(3).build().unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.predict("x").await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.asked(), 50);
    assert!(server.connections() <= 3, "{}", server.connections());
    let stuck = Server::start(&[Nothing]).await;
    let client = stuck.builder().max_connections(1).retry(RetryPolicy::none()).build().unwrap();
    let (one, other) = tokio::join!(client.predict("x"), client.predict("x"));
    let mut faults = [one, other].map(|outcome| fault(&outcome.unwrap_err()));
    faults.sort_by_key(|fault| *fault == Fault::ReadTimeout);
    assert_eq!((faults, stuck.asked()), ([Fault::ConnectionTimeout, Fault::ReadTimeout], 1));
}

#[tokio::test]
async fn whoever_gives_up_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = builder(listener.local_addr().unwrap()).build().unwrap();
    let call = tokio::spawn(async move { client.predict("x").await });
    let (mut stream, _) = listener.accept().await.unwrap();
    read_request(&mut stream).await.unwrap().unwrap();
    call.abort();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "the server learns of it");
}

#[tokio::test]
async fn the_request_is_what_was_asked_for() {
    let server = Server::start(&[OK]).await;
    let client = server.builder().raw_token("t").header("x-mine", "1").build().unwrap();
    let request = Request::new("body").method(http::Method::PUT).path("v1").query("a=b").content_type("text/plain");
    client.call(&request).await.unwrap();
    let head = server.requests.lock().unwrap()[0].clone();
    assert!(head.starts_with("PUT /api/predict/s/v1?a=b HTTP/1.1\r\n"), "{head}");
    for line in ["authorization: t", "x-mine: 1", "content-type: text/plain", "content-length: 4"] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(head.contains(&format!("host: {}\r\n", server.address)), "{head}");
    let wrong = client.call(&Request::new("").path("/a b")).await.unwrap_err();
    assert_eq!((wrong.code(), server.asked()), (511, 1));
}

#[tokio::test]
async fn only_200_is_success_and_send_takes_any() {
    let server = Server::start(&[
        Say("HTTP/1.1 204 X\r\n\r\n"),
        Say("HTTP/1.1 302 X\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"),
    ])
    .await;
    let client = server.builder().build().unwrap();
    assert_eq!(client.predict("").await.unwrap_err().code(), 204);
    assert_eq!(client.send(&Request::new("")).await.unwrap().status, 302);
    assert_eq!(server.asked(), 2, "redirects are not followed");
}

mod direct {
    use super::*;

    /// Starts a server that lists these ports at either path.
    async fn discovery(path: &'static str, lists: Vec<String>) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Ok(Some(head)) = read_request(&mut stream).await {
                    let answer = if head.starts_with(&format!("GET {path} ")) {
                        let turn = count.fetch_add(1, Ordering::SeqCst);
                        let list = &lists[turn.min(lists.len() - 1)];
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len())
                    } else {
                        "HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n".to_owned()
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        (address, asked)
    }

    fn list(ports: &[u16]) -> String {
        let items: Vec<_> =
            ports.iter().map(|port| format!(r#"{{"app":"s","ip":"127.0.0.1","port":{port},"weight":100}}"#)).collect();
        format!(r#"{{"correlative":["s"],"endpoints":{{"items":[{}]}}}}"#, items.join(","))
    }

    const OLD: &str = "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/s";
    const NEW: &str = "/api/v1/servicediscovery/upstreams/s";

    #[tokio::test]
    async fn instances_take_turns_on_both_paths() {
        for path in [OLD, NEW] {
            let (a, b) = (Server::start(&[OK]).await, Server::start(&[OK]).await);
            let (address, _) = discovery(path, vec![list(&[a.address.port(), b.address.port()])]).await;
            let client = builder(address).direct().build().unwrap();
            for _ in 0..10 {
                client.predict("x").await.unwrap();
            }
            assert_eq!((a.asked(), b.asked()), (5, 5));
        }
    }

    #[tokio::test]
    async fn a_repetition_goes_to_another_instance() {
        let full = Server::start(&[Say("HTTP/1.1 450 X\r\ncontent-length: 0\r\n\r\n")]).await;
        let free = Server::start(&[OK]).await;
        let (address, _) = discovery(OLD, vec![list(&[full.address.port(), free.address.port()])]).await;
        let client = builder(address).direct().retry(pauseless(1)).build().unwrap();
        for _ in 0..8 {
            assert_eq!(client.predict_string("x").await.unwrap(), "ok");
        }
        assert!(full.asked() > 0 && full.asked() <= 8 && free.asked() == 8);
    }

    #[tokio::test]
    async fn without_a_list_it_is_510() {
        for (path, what) in [("/elsewhere", "404"), (OLD, "the list is invalid")] {
            let (address, _) = discovery(path, vec!["nonsense".to_owned()]).await;
            let error = builder(address).direct().build().unwrap().predict("x").await.unwrap_err();
            assert!(error.code() == 510 && error.to_string().contains(what), "{error}");
        }
    }

    #[tokio::test]
    async fn the_old_list_outlives_a_failure_and_a_new_one_replaces_it() {
        let (a, b) = (Server::start(&[OK]).await, Server::start(&[OK]).await);
        let lists = vec![list(&[a.address.port()]), "nonsense".to_owned(), list(&[b.address.port()])];
        let (address, asked) = discovery(OLD, lists).await;
        let client = builder(address).direct().build().unwrap();
        client.predict("x").await.unwrap();
        // From here on, time passes as soon as all tasks are idle.
        tokio::time::pause();
        while asked.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::resume();
        client.predict("x").await.unwrap();
        assert_eq!((a.asked(), b.asked()), (2, 0));
        tokio::time::pause();
        while asked.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::resume();
        client.predict("x").await.unwrap();
        assert_eq!((a.asked(), b.asked()), (2, 1));
    }
}

/// The answer to the first try is lost. The second try must be known as a repetition of the first.
#[tokio::test]
async fn every_try_of_a_put_has_the_same_key_and_another_put_another() {
    const PUT: Deed = Say("HTTP/1.1 200 OK\r\nx-eas-queueservice-request-id: r\r\ncontent-length: 1\r\n\r\n7");
    let server = Server::start(&[Reset, PUT, PUT]).await;
    let policy = RetryPolicy::new(2).pauses(Duration::from_millis(1), Duration::from_millis(1));
    let client = Client::builder(&server.address.to_string(), "s").retry(policy).timeout(QUICK).build().unwrap();
    for _ in 0..2 {
        let put = client.queue().put(&Item::new("x")).await.unwrap();
        assert_eq!((put.index, put.request_id.as_str(), put.repeated), (7, "r", false));
    }
    let heads = server.requests.lock().unwrap().clone();
    let key = |head: &String| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("x-bulkhead-idempotency-key:"));
        line.expect("a key").to_owned()
    };
    let keys: Vec<String> = heads.iter().map(key).collect();
    assert!(keys.len() >= 3 && keys[0] == keys[1] && keys[1] != keys[keys.len() - 1], "{keys:?}");
}

/// A get that removes items loses them with its answer, and a repetition would remove further ones.
#[tokio::test]
async fn what_removes_items_is_not_repeated_after_a_lost_answer() {
    let server = Server::start(&[Reset]).await;
    let policy = RetryPolicy::new(2).pauses(Duration::from_millis(1), Duration::from_millis(1));
    let client = Client::builder(&server.address.to_string(), "s").retry(policy).timeout(QUICK).build().unwrap();
    let asked = || server.requests.lock().unwrap().len();
    client.sink().get(&Get::new()).await.unwrap_err();
    client.sink().commit(&[7]).await.unwrap_err();
    assert_eq!(asked(), 2);
    client.sink().get(&Get::new().keep()).await.unwrap_err();
    assert_eq!(asked(), 5);
}
