//! Bodies are forwarded as they arrive, in both directions, and end in the same way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use super::fake::Fake;
use super::{PATH, before, gateway, upstream};
use crate::host::{SOON, TestHost};
use crate::http::{Client, request};

/// A connection that is read to its end, even after errors.
struct Raw(TcpStream);

impl Raw {
    fn send(gateway: &TestHost, bytes: &[u8]) -> Self {
        let mut stream = TcpStream::connect(gateway.data).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(bytes).unwrap();
        Self(stream)
    }

    /// Reads until `text` has arrived.
    fn read_until(&mut self, text: &str) -> String {
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&all).contains(text) {
            let count = self.0.read(&mut piece).expect("more in time");
            assert!(count > 0, "it ended after {:?}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&piece[..count]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Returns everything up to the end, and true if the end was a reset.
    fn rest(mut self) -> (String, bool) {
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return (String::from_utf8_lossy(&all).into_owned(), false),
                Ok(count) => all.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return (String::from_utf8_lossy(&all).into_owned(), true);
                }
                Err(error) => panic!("no end in time: {error}"),
            }
        }
    }
}

#[test]
fn events_arrive_one_by_one_as_they_are_sent() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let fake = Fake::start(move |mut peer| {
        while peer.request().is_some_and(|asked| asked.all("x-last").is_empty()) {
            peer.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            for i in 0..5 {
                let event = format!("data: {i}\n\n");
                peer.say(format!("{:x}\r\n{event}\r\n", event.len()));
                // The next event is sent only after the client has seen this one.
                told.lock().unwrap().recv_timeout(SOON).expect("the client sees it");
            }
            peer.say("0\r\n\r\n");
        }
        peer.say("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let gateway = before(&fake);
    let mut client = Raw::send(&gateway, &request("GET", PATH, &[], b""));
    for i in 0..5 {
        let seen = client.read_until(&format!("data: {i}\n\n"));
        assert!(!seen.contains(&format!("data: {}", i + 1)), "{seen}");
        tell.send(()).unwrap();
    }
    client.read_until("0\r\n\r\n");
    client.0.write_all(&request("GET", PATH, &[("connection", "close"), ("x-last", "1")], b"")).unwrap();
    assert!(client.rest().0.starts_with("HTTP/1.1 204 "));
    assert_eq!((fake.asked().len(), fake.connections()), (2, 1), "the connection was used again");
}

#[test]
fn a_request_arrives_piece_by_piece_as_it_is_sent() {
    let (tell, told) = mpsc::channel::<Vec<u8>>();
    let tell = Mutex::new(tell);
    let fake = Fake::start(move |mut peer| {
        while let Some(head) = peer.head() {
            assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
            while let Some(piece) = peer.chunk() {
                tell.lock().unwrap().send(piece).unwrap();
            }
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = before(&fake);
    let mut client = gateway.client();
    client.write(
        format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n").as_bytes(),
    );
    for i in 0..5 {
        client.write(format!("7\r\npiece {i}\r\n").as_bytes());
        let piece = told.recv_timeout(SOON).expect("it arrives before the next is sent");
        assert_eq!(piece, format!("piece {i}").as_bytes());
    }
    client.write(b"0\r\nx: a trailer\r\n\r\n");
    assert_eq!(client.read("POST").text(), "ok");
    // The body of a GET is forwarded as well. hyper alone would send none.
    client.write(format!("GET {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes());
    client.write(b"3\r\nabc\r\n");
    assert_eq!(told.recv_timeout(SOON).unwrap(), b"abc");
    client.write(b"0\r\n\r\n");
    assert_eq!(client.read("GET").status, 200);
}

/// An upstream answers before it has read the request, and the client continues to send.
#[test]
fn an_early_answer_is_seen() {
    let fake = Fake::start(|mut peer| {
        peer.head();
        peer.say("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge");
        peer.wait_until_gone();
    });
    let gateway = before(&fake);
    let mut client = gateway.client();
    client.write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\nbegin").as_bytes());
    client.wait_for_bytes();
    // This write fails if the gateway has reset the connection.
    client.write(&vec![b'x'; 8_999_995]);
    let response = client.read("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "large"));
    assert!(response.closes() && client.is_closed(), "nobody reads the rest of the request");
}

#[test]
fn leave_to_send_is_the_upstreams_to_give() {
    let fake = Fake::start(|mut peer| {
        while let Some(head) = peer.head() {
            assert!(head.contains("expect: 100-continue"), "{head}");
            if head.contains("/refuse") {
                peer.say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
            } else {
                peer.say("HTTP/1.1 100 Continue\r\n\r\n");
                assert_eq!(peer.take(3), b"abc");
                peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    });
    let gateway = before(&fake);
    let head = |path: &str| {
        format!("POST {PATH}{path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    };
    let mut client = gateway.client();
    client.write(head("").as_bytes());
    assert_eq!(client.read_interim(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write(b"abc");
    assert_eq!(client.read("POST").text(), "ok");
    let mut refused = gateway.client();
    refused.write(head("/refuse").as_bytes());
    assert_eq!(refused.read("POST").status, 401, "without leave");
}

/// The gateway starts to read the body a second later, during the answer. A `100 Continue` there would be read as part
/// of the answer.
#[test]
fn no_leave_is_given_once_an_answer_has_begun() {
    let fake = Fake::start(|mut peer| {
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        std::thread::sleep(Duration::from_millis(1500));
        peer.say("rest");
        peer.wait_until_gone();
    });
    let gateway = before(&fake);
    let mut client = gateway.client();
    client.write(
        format!("POST {PATH} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").as_bytes(),
    );
    assert_eq!(client.read("POST").text(), "halfrest");
}

#[test]
fn large_bodies_pass_whole_in_both_directions() {
    let gateway = before(&Fake::echo());
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(|i| i.to_le_bytes()).collect();
    let mut client = gateway.client();
    std::thread::scope(|scope| {
        let mut writer = client.another();
        scope.spawn({
            let bytes = request("POST", PATH, &[], &body);
            move || writer.write(&bytes)
        });
        assert!(client.read("POST").body == body, "the body is another");
    });
    gateway.wait_for("the log to count", || gateway.log().contains(" bytes_in=12000000 bytes_out=12000000"));
}

/// The upstream can send only as much as the buffers hold while the client reads nothing.
#[test]
fn a_client_that_takes_nothing_holds_the_upstream_back() {
    let said = Arc::new(Mutex::new(0_usize));
    let counted = Arc::clone(&said);
    let fake = Fake::start(move |mut peer| {
        peer.request();
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while peer.try_say(&[b'x'; 100_000], Duration::from_millis(500)) {
            *counted.lock().unwrap() += 100_000;
        }
    });
    let gateway = before(&fake);
    let client = Raw::send(&gateway, &request("GET", PATH, &[], b""));
    gateway.wait_for("the upstream to give up", || {
        gateway.metric(&upstream("active", fake.address)) == 0 || { gateway.log().contains("broke off") }
    });
    assert!(*said.lock().unwrap() < 100_000_000, "{} bytes went nowhere", said.lock().unwrap());
    drop(client);
}

#[test]
fn an_answer_that_breaks_off_is_cut_off() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let garbage = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\ngarbage\r\n";
    for (bytes, resets) in [(half, false), (half, true), (chunks, false), (chunks, true), (garbage, false)] {
        let fake = Fake::start(move |mut peer| {
            peer.request();
            peer.say(bytes);
            if resets {
                // The bytes must have been forwarded before the reset discards them.
                std::thread::sleep(Duration::from_millis(50));
                peer.reset();
            } else if bytes.contains("garbage") {
                peer.wait_until_gone();
            }
        });
        let gateway = before(&fake);
        let (seen, _) = Raw::send(&gateway, &request("GET", PATH, &[], b"")).rest();
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n") && seen.contains("half"), "{seen}");
        assert!(!seen.contains("0\r\n\r\n") && !seen.contains("garbage"), "it looks whole: {seen}");
        let line = "bulkhead_requests_total{service=\"*\",status=\"502\"}";
        gateway.wait_for("it to be in the account", || gateway.metric(line) == 1);
        gateway.wait_for("the log to say why", || gateway.log().contains("broke off after 4 bytes"));
        assert!(gateway.log().contains("code=bad_gateway"), "{}", gateway.log());
    }
}

/// An HTTP/1.0 client takes the end of the connection for the end of the answer.
#[test]
fn an_old_client_is_not_told_that_a_broken_answer_is_whole() {
    let broken = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n";
    for (bytes, is_broken) in [(broken, true), (whole, false)] {
        let fake = Fake::start(move |mut peer| {
            let asked = peer.request().unwrap();
            assert!(asked.request_line().ends_with("HTTP/1.1") && asked.all("host").len() == 1, "{}", asked.head);
            peer.say(bytes);
        });
        let gateway = before(&fake);
        let (seen, was_reset) = Raw::send(&gateway, format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes()).rest();
        assert_eq!(was_reset, is_broken, "{seen}");
        assert!(is_broken || seen.ends_with("\r\n\r\nhalf"), "{seen}");
    }
}

#[test]
fn an_upstream_that_falls_silent_in_its_answer_is_given_up() {
    let fake = Fake::start(|mut peer| {
        peer.request();
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        peer.wait_until_gone();
    });
    let gateway = gateway(&[fake.address], json!({"idle_timeout_ms": 200}));
    let (seen, _) = Raw::send(&gateway, &request("GET", PATH, &[], b"")).rest();
    assert!(seen.ends_with("\r\n\r\nhalf"), "{seen}");
    gateway.wait_for("its connection to be closed", || gateway.metric(&upstream("active", fake.address)) == 0);
    gateway.wait_for("the log to say why", || gateway.log().contains("stopped sending"));
}

/// A disconnect at any point closes the upstream's connection, and counts as 499.
#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    let (tell, told) = mpsc::channel::<&str>();
    let tell = Mutex::new(tell);
    let fake = Fake::start(move |mut peer| {
        let Some(head) = peer.head() else { return };
        if head.contains("/answer") {
            peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n");
        }
        tell.lock().unwrap().send("asked").unwrap();
        peer.wait_until_gone();
        tell.lock().unwrap().send("gone").unwrap();
    });
    let gateway = before(&fake);
    let whole = request("POST", PATH, &[], b"hello");
    let half = format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").into_bytes();
    let answered = request("POST", &format!("{PATH}/answer"), &[], b"hello");
    let mut count = 0;
    for bytes in [&whole, &half, &answered] {
        for resets in [false, true] {
            let mut client = Raw::send(&gateway, bytes);
            assert_eq!(told.recv_timeout(SOON), Ok("asked"));
            if bytes == &answered {
                client.read_until("part");
            }
            if resets {
                SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            assert_eq!(told.recv_timeout(SOON), Ok("gone"), "the upstream is told");
            count += 1;
            let line = "bulkhead_requests_total{service=\"*\",status=\"499\"}";
            gateway.wait_for("it to be in the account", || gateway.metric(line) == count);
        }
    }
}

#[test]
fn head_and_answers_without_a_body() {
    let fake = Fake::start(|mut peer| {
        while let Some(asked) = peer.request() {
            let line = asked.request_line().to_owned();
            peer.say(if line.starts_with("HEAD") {
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
            } else if line.contains("/204") {
                "HTTP/1.1 204 No Content\r\n\r\n"
            } else if line.contains("/304") {
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"x\"\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            });
        }
    });
    let gateway = before(&fake);
    let mut client: Client = gateway.client();
    let head = client.send("HEAD", PATH, &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    let none = client.send("GET", &format!("{PATH}/204"), &[], b"");
    assert_eq!((none.status, none.header("content-length"), none.header("transfer-encoding")), (204, None, None));
    let same = client.send("GET", &format!("{PATH}/304"), &[], b"");
    assert_eq!((same.status, same.header("etag")), (304, Some("\"x\"")));
    let empty = client.send("POST", PATH, &[], b"");
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    assert_eq!(fake.asked().last().unwrap().all("content-length"), ["0"]);
    assert_eq!(fake.connections(), 1, "each left the connection good for the next");
}
