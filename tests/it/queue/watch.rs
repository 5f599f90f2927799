//! Watches over WebSockets and streams.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Queue, deploy_stopped};
use crate::figures::{must, rounds};
use crate::host::{Deployed, TestHost, terminate};
use crate::http::{Client, request};

/// A WebSocket client that sees every frame, and can send wrong ones.
pub(super) struct Socket {
    client: Client,
}

/// A frame of the server: its opcode and payload.
type Frame = (u8, Vec<u8>);

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Socket {
    /// Opens a watch with this query, as the Python SDK does.
    fn open(host: &TestHost, service: &Deployed, sink: &str, query: &str, uid: &str) -> Self {
        Self::accepting("application/vnd.google.protobuf", host, service, sink, query, uid)
    }

    /// Opens a watch that gets items in this encoding.
    pub(super) fn accepting(
        accept: &str,
        host: &TestHost,
        service: &Deployed,
        sink: &str,
        query: &str,
        uid: &str,
    ) -> Self {
        let mut client = host.client();
        let answer = client.send(
            "GET",
            &format!("{}{sink}?_watch_=true&{query}", service.path),
            &[
                ("Upgrade", "websocket"),
                ("Origin", "http://127.0.0.1"),
                ("Sec-WebSocket-Key", "UDY+LdPPuHhjCeFyees8jw=="),
                ("Sec-WebSocket-Version", "13"),
                ("Connection", "Upgrade"),
                ("Authorization", &service.token),
                ("X-EAS-QueueService-Redis-Uid", uid),
                ("Accept", accept),
            ],
            b"",
        );
        assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")), "{answer:?}");
        // The SHA-1 of the key and the constant of RFC 6455 §1.3, computed elsewhere.
        assert_eq!(answer.header("sec-websocket-accept"), Some("EBDRLSOjaBttUs78G+F0zDOU0f4="));
        assert_eq!(answer.header("connection"), Some("upgrade"));
        Self { client }
    }

    /// Sends a frame with a mask, as clients must.
    fn send(&mut self, first: u8, payload: &[u8]) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.client.try_write(&frame);
    }

    /// Reads a frame; `None` at the end of the connection.
    fn read(&mut self) -> Option<Frame> {
        let head = self.client.read_bytes(2)?;
        assert_eq!((head[0] & 0xf0, head[1] & 0x80), (0x80, 0), "one frame for a message, without a mask");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.client.read_bytes(2)?.try_into().unwrap()).into(),
            127 => usize::try_from(u64::from_be_bytes(self.client.read_bytes(8)?.try_into().unwrap())).unwrap(),
            length => length.into(),
        };
        Some((head[0] & 0x0f, self.client.read_bytes(length)?))
    }

    /// Reads the next item: its index and its data.
    fn item(&mut self) -> (u64, Vec<u8>) {
        parse(&self.message())
    }

    /// Reads the next message, and answers pings before it.
    pub(super) fn message(&mut self) -> Vec<u8> {
        loop {
            match self.read() {
                Some((PING, payload)) => self.send(0x80 | PONG, &payload),
                Some((PONG, _)) => {}
                Some((BINARY, payload)) => return payload,
                other => panic!("no item: {other:?}"),
            }
        }
    }

    /// Reads up to the close frame: its code and its reason.
    fn closed(&mut self) -> (u16, String) {
        loop {
            match self.read() {
                Some((CLOSE, payload)) => {
                    let code = u16::from_be_bytes(payload[..2].try_into().unwrap());
                    return (code, String::from_utf8(payload[2..].to_vec()).expect("text"));
                }
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }
}

/// Reads the index and the data of a message in Protobuf.
pub(super) fn parse(mut bytes: &[u8]) -> (u64, Vec<u8>) {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }
    let (mut index, mut data) = (0, Vec::new());
    while !bytes.is_empty() {
        match varint(&mut bytes) {
            0x08 => index = varint(&mut bytes),
            tag => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (part, rest) = bytes.split_at(length);
                bytes = rest;
                if tag == 0x1a {
                    data = part.to_vec();
                }
            }
        }
    }
    (index, data)
}

#[test]
fn a_window_holds_as_many_items_as_it_has_places() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "window", json!({}));
    let mut queue = Queue::input(&host, &service).named("w1");
    let mut socket = Socket::open(&host, &service, "", "_index_=0&_window_=2&_auto_commit_=false", "w1");
    for data in ["a", "b", "c"] {
        queue.put("", data.as_bytes());
    }
    assert_eq!(socket.item(), (1, b"a".to_vec()));
    assert_eq!(socket.item(), (2, b"b".to_vec()));
    queue.wait_for(&host, "bulkhead.leased", "2");
    let other = Queue::input(&host, &service).named("other").ask("PUT", "?_indexes_=1", &[], b"");
    assert_eq!((other.status, &other.json()["code"]), (409, &json!("lease_lost")), "it is another consumer's");
    assert_eq!(queue.ask("PUT", "?_indexes_=1", &[], b"").text(), "OK");
    assert_eq!(socket.item(), (3, b"c".to_vec()));
    assert_eq!(queue.ask("PUT", "?_indexes_=1", &[], b"").status, 409, "it is finished");
    let line = queue.attribute("consumers.list.[0]");
    assert!(line.starts_with("Id: eas.w1, Index: 3, Pending: 2, Status: Running"), "{line}");
    let negative = b"_code_=BadInput&_reason_=no+picture";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(queue.ask("PUT", "?_indexes_=2&_negative_=true", &form, negative).text(), "OK");
    let found = queue.ask("GET", "?_search_=true&_index_=2", &[], b"").json();
    assert_eq!(found["State"], "delayed");
    // It comes again after its pause, to the same consumer.
    assert_eq!(socket.item(), (2, b"b".to_vec()));
    let shutdown = b"_code_=Shutdown&_reason_=bye";
    assert_eq!(queue.ask("PUT", "?_indexes_=2&_negative_=true", &form, shutdown).text(), "OK");
    assert_eq!(socket.item(), (2, b"b".to_vec()), "who shuts down gives back at once");
}

#[test]
fn items_of_a_client_that_leaves_go_to_another_one() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "leaves", json!({}));
    let mut queue = Queue::input(&host, &service);
    queue.put("", b"a");
    let mut first = Socket::open(&host, &service, "", "_window_=5", "one");
    assert_eq!(first.item().0, 1);
    let mut second = Socket::open(&host, &service, "", "_window_=5", "two");
    drop(first);
    assert_eq!(second.item(), (1, b"a".to_vec()));
    let lines = [0, 1, 2].map(|number| queue.attribute(&format!("consumers.list.[{number}]")));
    assert!(lines.iter().any(|line| line.contains("eas.one") && line.contains("Status: Leaving")), "{lines:?}");
    // A close frame is answered with one.
    second.send(0x80 | CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(second.closed().0, 1000);
}

#[test]
fn automatic_commits_frames_without_data_tags_and_the_newest() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "auto", json!({}));
    let mut queue = Queue::input(&host, &service);
    queue.put("", b"old");
    let mut newest =
        Socket::open(&host, &service, "", "_index_=-1&_window_=5&_index_only_=true&_auto_commit_=true", "n");
    let mut tagged = Socket::open(&host, &service, "", "_auto_commit_=true&t=v", "t");
    queue.put("?t=v", b"for the tag");
    assert_eq!(tagged.item().1, b"for the tag");
    queue.put("", b"new");
    assert_eq!(newest.item(), (3, Vec::new()), "the index alone");
    queue.wait_for(&host, "stream.length", "1");
    assert_eq!(queue.get("")[0].data, b"old");
    // The end of the queue ends the watches.
    assert_eq!(queue.ask("POST", "?_eos_=true", &[], b"").text(), "OK");
    assert_eq!(newest.closed(), (1000, "the queue has ended".into()));
}

#[test]
fn what_a_client_must_not_send_has_its_close_code() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "closes", json!({}));
    let open = |uid: &str| Socket::open(&host, &service, "", "_window_=1", uid);
    for (name, code, send) in [
        ("a text", 1003, (|socket: &mut Socket| socket.send(0x81, b"hello")) as fn(&mut Socket)),
        ("binary", 1003, |socket| socket.send(0x82, b"hello")),
        ("no mask", 1002, |socket| socket.client.try_write(&[0x89, 0])),
        ("a large control frame", 1002, |socket| socket.send(0x80 | PING, &[0; 126])),
        ("a control frame in pieces", 1002, |socket| socket.send(PING, b"x")),
        ("a reserved bit", 1002, |socket| socket.send(0xc9, b"")),
        ("an unknown opcode", 1002, |socket| socket.send(0x83, b"")),
        ("the rest of nothing", 1002, |socket| socket.send(0x80, b"x")),
        ("a large message", 1009, |socket| socket.send(0x82, &[0; 5000])),
        ("pieces of a large message", 1009, |socket| {
            socket.send(0x02, &[0; 4000]);
            socket.send(0x80, &[0; 4000]);
        }),
    ] {
        let mut socket = open("bad");
        send(&mut socket);
        let (found, reason) = socket.closed();
        assert_eq!(found, code, "{name}: {reason}");
        assert!(!reason.is_empty(), "{name}");
    }
    // A ping is answered, whatever is in it, also in front of a text in two pieces.
    let mut socket = open("good");
    socket.send(0x80 | PING, b"ping");
    let answer = std::iter::from_fn(|| socket.read()).find(|(opcode, _)| *opcode == PONG);
    assert_eq!(answer, Some((PONG, b"ping".to_vec())));
    for (name, headers, says) in [
        ("version", [("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Key", "UDY+LdPPuHhjCeFyees8jw==")], "13"),
        ("key", [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "short")], "Base64"),
    ] {
        let common =
            [("upgrade", "websocket"), ("connection", "keep-alive, Upgrade"), ("authorization", &service.token)];
        let answer = host.client().send(
            "GET",
            &format!("{}?_watch_=true", service.path),
            &[&common[..], &headers].concat(),
            b"",
        );
        let problem = answer.json();
        assert_eq!(answer.status, 400, "{name}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
    }
}

#[test]
fn a_stream_has_each_item_behind_its_length() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "stream", json!({}));
    let mut queue = Queue::input(&host, &service).named("s1");
    queue.put("", b"first");
    let mut client = host.client();
    let headers = [("authorization", service.token.as_str()), ("X-EAS-QueueService-Redis-Uid", "s1")];
    client.write(&request("GET", &format!("{}?_watch_=true&_window_=1", service.path), &headers, b""));
    let read_chunk = |client: &mut Client| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(client.read_bytes(1).expect("more"));
        }
        let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).expect("a length");
        let chunk = client.read_bytes(length).expect("a chunk");
        client.read_bytes(2).expect("its end");
        chunk
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.read_bytes(1).expect("a head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    let chunk = read_chunk(&mut client);
    let (length, frame) = chunk.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, frame.len());
    assert_eq!(parse(frame), (1, b"first".to_vec()));
    queue.put("", b"second");
    assert_eq!(queue.ask("PUT", "?_indexes_=1", &[], b"").text(), "OK");
    assert_eq!(parse(&read_chunk(&mut client)[4..]), (2, b"second".to_vec()));
    drop(client);
    queue.wait_for(&host, "bulkhead.leased", "0");
}

/// A client that takes nothing must not keep its items, and neither must one that has died without a word.
#[test]
fn a_client_without_a_sign_of_life_loses_its_items() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "silent", json!({"queue": {"lease_ms": 5000}}));
    let mut queue = Queue::input(&host, &service);
    queue.put("", b"a");
    let mut silent = Socket::open(&host, &service, "", "_window_=1", "silent");
    assert_eq!(silent.item().0, 1);
    let began = Instant::now();
    let (code, reason) = silent.closed();
    assert_eq!(code, 1008, "{reason}");
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    queue.wait_for(&host, "bulkhead.leased", "0");
}

#[test]
fn a_client_that_never_reads_loses_its_items() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "deaf", json!({"queue": {"max_delivery": 1}}));
    let mut queue = Queue::input(&host, &service);
    for _ in 0..12 {
        queue.put("", &vec![b'x'; 4 << 20]);
    }
    let deaf = Socket::open(&host, &service, "", "_window_=100", "deaf");
    queue.wait_for(&host, "bulkhead.leased", "12");
    queue.wait_for(&host, "bulkhead.leased", "0");
    let lines = [0, 1].map(|number| queue.attribute(&format!("consumers.list.[{number}]")));
    assert!(!lines.iter().any(|line| line.contains("eas.deaf") && line.contains("Running")), "{lines:?}");
    drop(deaf);
    // Only what the buffers of the two sockets have taken counts as delivered.
    let dead: u64 = queue.attribute("bulkhead.dead").parse().expect("a number");
    assert!((1..=5).contains(&dead), "{dead} dead");
    assert_eq!(queue.attribute("bulkhead.ready"), (12 - dead).to_string());
}

/// Bytes in the buffers of the kernel have not reached the client yet.
#[test]
fn a_slow_client_gets_a_whole_item_and_may_finish_it() {
    const SIZE: usize = 3 << 20;
    const PIECE: usize = 8 << 10;
    let host = TestHost::start();
    let service = deploy_stopped(&host, "slow", json!({"queue": {"lease_ms": 5000}}));
    let mut queue = Queue::input(&host, &service).named("slow");
    queue.put("", &vec![b'x'; SIZE]);
    let mut socket = Socket::open(&host, &service, "", "_window_=1&_auto_commit_=false", "slow");
    // There may be pings before the item, and they have no data.
    while socket.client.read_bytes(2).expect("the head of a frame")[0] & 0x0f == PING {}
    let length = socket.client.read_bytes(8).expect("the length of a long frame");
    let length = usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap();
    let began = Instant::now();
    for at in (0..length).step_by(PIECE) {
        let piece = socket.client.read_bytes(PIECE.min(length - at));
        assert!(piece.is_some(), "{at} of {length} bytes after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(32));
    }
    assert!(length > SIZE && began.elapsed() > Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(queue.ask("PUT", "?_indexes_=1", &[], b"").text(), "OK");
}

#[test]
fn a_stream_that_ends_within_an_item_does_not_look_whole() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "cut", json!({"queue": {"max_delivery": 1}}));
    Queue::input(&host, &service).put("", &vec![b'x'; 6 << 20]);
    let mut client = host.client();
    let path = format!("{}?_watch_=true&_window_=1", service.path);
    client.write(&request("GET", &path, &[("authorization", &service.token)], b""));
    // The head, and the begin of the item.
    let mut bytes = client.read_bytes(100_000).expect("the begin");
    terminate(host.pid());
    host.wait_for("the end of the watch", || host.log().contains("draining"));
    while let Some(more) = client.read_bytes(1) {
        bytes.extend(more);
    }
    let host = TestHost::start_in_dir(host.kill_and_keep());
    assert!(bytes.starts_with(b"HTTP/1.1 200") && bytes.len() < 6 << 20, "{} bytes", bytes.len());
    assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"), "the stream ends as if it were whole");
    assert_eq!(Queue::input(&host, &service).attribute("bulkhead.ready"), "1", "the delivery does not count");
}

#[test]
fn watchers_that_vanish_leave_nothing() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "vanish", json!({"queue": {"max_delivery": 1000}}));
    let mut queue = Queue::input(&host, &service);
    for _ in 0..10 {
        queue.put("", b"x");
    }
    let watchers = rounds(1000, 10_000);
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size").trim().to_owned();
        line.split(' ').next().expect("a number").parse::<u64>().expect("a number")
    };
    let round = |from: usize, to: usize| {
        for number in from..to {
            let socket = Socket::open(&host, &service, "", "_window_=10", &format!("v{number}"));
            match number % 3 {
                0 => socket.client.reset(),
                _ => drop(socket),
            }
        }
    };
    round(0, watchers / 10);
    queue.wait_for(&host, "bulkhead.leased", "0");
    let before = memory();
    round(watchers / 10, watchers);
    queue.wait_for(&host, "bulkhead.leased", "0");
    let grown = memory().saturating_sub(before);
    must("queue.vanished_watchers.grown_kib", "≤ 8192", grown, grown <= 8192);
    let listed: usize = queue.attribute("consumers.stats.total").parse().expect("a number");
    must("queue.vanished_watchers.listed", "≤ 17", listed, listed <= 17);
    host.wait_for("the items are there again", || queue.attribute("bulkhead.ready") == "10");
}
