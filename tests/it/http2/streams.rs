//! Concurrent streams: too many streams, streams whose client reads nothing, cancelled streams, and the last streams.

use std::time::Duration;

use serde_json::json;

use super::raw::{
    CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, REFUSED_STREAM, RST_STREAM, Raw, WINDOW_UPDATE,
    block, frame, request_headers, request_headers_with,
};
use super::{connect, post};
use crate::figures;
use crate::host::{TestHost, terminate};

/// Returns a client's stream number: RFC 9113 §5.1.1.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

#[test]
fn streams_beyond_a_hundred_are_refused_and_the_others_answered() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({"metadata": {"rpc": {"max_queue_size": 100, "keepalive": 20_000}}}));
    let (allowed, beyond) = (100, 50);
    let mut raw = Raw::connect(&host);
    for number in 0..allowed + beyond {
        raw.send(&frame(HEADERS, END_HEADERS, stream(number), &request_headers(&echo)));
    }
    for _ in 0..beyond {
        let refused = raw.next_that(|frame| frame.kind == RST_STREAM).expect("a refusal");
        assert!(refused.stream >= stream(allowed), "{refused:?}");
        assert_eq!(refused.error(), REFUSED_STREAM);
    }
    for number in 0..allowed {
        raw.send(&frame(DATA, END_STREAM, stream(number), b"hello"));
    }
    for _ in 0..allowed {
        assert!(raw.next_that(super::raw::Frame::ends_stream).expect("an answer").stream < stream(allowed));
    }
    let answered = host.metric("bulkhead_requests_total{service=\"echo\",status=\"200\"}");
    figures::must("http2.streams", "100 of 150 answered, 50 refused", answered, answered == u64::from(allowed));
}

#[test]
fn a_stream_whose_client_opens_no_window_is_reset_and_the_others_are_not() {
    let host = TestHost::start_with(&["--http2", "--write-timeout", "1500ms"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    // SETTINGS_INITIAL_WINDOW_SIZE 0: the host may send no body byte on any stream.
    let mut raw = Raw::connect_with(&host, &[0, 4, 0, 0, 0, 0]);
    let body = vec![b'x'; 5000];
    let (nothing, little, all_but_one, patient) = (stream(0), stream(1), stream(2), stream(3));
    for stream in [nothing, little, all_but_one, patient] {
        raw.send(&frame(HEADERS, END_HEADERS, stream, &request_headers(&echo)));
        raw.send(&frame(DATA, END_STREAM, stream, &body));
    }
    let open =
        |stream: u32, bytes: usize| frame(WINDOW_UPDATE, 0, stream, &u32::try_from(bytes).unwrap().to_be_bytes());
    raw.send(&[open(little, 7), open(all_but_one, body.len() - 1)].concat());
    let (mut reset, mut taken) = (Vec::new(), 0);
    while reset.len() < 3 {
        let frame = raw.next().expect("the connection goes on");
        match (frame.kind, frame.stream) {
            (RST_STREAM, stream) => {
                assert_eq!(frame.error(), CANCEL);
                reset.push(stream);
            }
            (HEADERS, stream) if stream == patient => raw.send(&open(patient, body.len())),
            (DATA, stream) if stream == patient => taken += frame.payload.len(),
            _ => {}
        }
    }
    reset.sort_unstable();
    assert_eq!((reset, taken), (vec![nothing, little, all_but_one], body.len()));
    // The connection still works.
    let last = stream(4);
    raw.send(&frame(HEADERS, END_HEADERS, last, &request_headers(&echo)));
    raw.send(&frame(DATA, END_STREAM, last, b"y"));
    raw.send(&open(last, 1));
    assert!(raw.next_that(|frame| frame.stream == last && frame.ends_stream()).is_some());
}

/// A reset can no longer destroy the answer, so the rest of the request is not read first, which would take five
/// seconds or more.
#[test]
fn a_stream_whose_client_neither_takes_its_answer_nor_ends_its_request_is_reset_at_once() {
    let host = TestHost::start_with(&["--http2", "--write-timeout", "500ms"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    // SETTINGS_INITIAL_WINDOW_SIZE 0: the host may send no body byte on any stream.
    let mut raw = Raw::connect_with(&host, &[0, 4, 0, 0, 0, 0]);
    let stranger = request_headers_with(&echo, &[("authorization", "wrong")]);
    let began = std::time::Instant::now();
    raw.send(&frame(HEADERS, END_HEADERS, stream(0), &stranger));
    assert!(raw.next_that(|frame| frame.kind == HEADERS).is_some(), "the head of a refusal needs no window");
    assert!(raw.next_that(|frame| frame.kind == RST_STREAM).is_some());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// Regression test: twenty-five connections of a hundred streams each used to take the places of ten thousand
/// connections.
#[test]
fn streams_that_are_read_away_take_one_place_together() {
    // A quarter of the connections may have refused bodies read with full limits.
    let host = TestHost::start_with(&["--http2", "--max-connections", "8"], "");
    let mut raw = Raw::connect(&host);
    let unknown = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/none")]);
    for number in 0..20 {
        raw.send(&frame(HEADERS, END_HEADERS, stream(number), &unknown));
    }
    for _ in 0..20 {
        assert!(raw.next_that(super::raw::Frame::ends_stream).is_some(), "an answer");
    }
    // The other connection has the second place. So it may send more, and be silent for longer, than a connection
    // without a place.
    let mut other = host.client();
    other.write(b"POST /none HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n");
    other.wait_for_bytes();
    std::thread::sleep(Duration::from_millis(1500));
    other.write(&[b'x'; 3_000_000]);
    let refused = other.read("POST");
    assert_eq!((refused.status, refused.closes()), (404, true));
    assert!(other.is_closed());
}

#[test]
fn requests_that_are_taken_back_one_by_one_are_counted() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let mut raw = Raw::connect(&host);
    let most = 100;
    let taken_back = (0..most + 10).take_while(|number| {
        raw.send(&frame(HEADERS, END_HEADERS, stream(*number), &request_headers(&echo)));
        raw.send(&frame(RST_STREAM, 0, stream(*number), &CANCEL.to_be_bytes()));
        // Each stream is over before the next begins: h2 itself counts only streams that accumulate.
        raw.settle()
    });
    let taken_back = taken_back.count();
    figures::must(
        "http2.paced_resets",
        "100, and the next ends the connection",
        taken_back,
        taken_back == most as usize,
    );
    assert_eq!(host.client().post(&echo, b"unharmed").body, b"unharmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_last_request_or_when_it_rests() {
    for (limit, calls) in [(["--max-requests-per-connection", "5"], 5), (["--idle-timeout", "400ms"], 1)] {
        let host = TestHost::start_with(&[&["--http2"], &limit[..]].concat(), "");
        let faults = host.deploy("faults", "faults", json!({}));
        let connections = || host.metric("bulkhead_connections");
        let client = connect(&host).await;
        for _ in 0..calls {
            assert_eq!(post(&client, &faults, br#"{"do":"sleep","ms":1000}"#).await.0, 200, "a request is no rest");
            assert!(calls > 1 || tokio::task::block_in_place(connections) == 1);
        }
        tokio::task::block_in_place(|| host.wait_for("the connection to end", || connections() == 0));
    }
}

#[test]
fn a_connection_that_has_not_said_what_it_speaks_ends_with_the_drain() {
    let patience = Duration::from_secs(60);
    let args = ["--http2", "--head-timeout", "60s", "--grace", "60s"];
    let mut host = TestHost::start_with(&args, "");
    let mut silent = host.client();
    let mut begun = host.client();
    begun.write(&PREFACE[..5]);
    let mut speaking = Raw::connect(&host);
    assert!(speaking.settle());
    host.wait_for("all to be accepted", || host.metric("bulkhead_connections") == 3);
    let told = std::time::Instant::now();
    terminate(host.pid());
    assert!(silent.is_closed());
    assert_eq!(speaking.next_that(|frame| frame.kind == GOAWAY).expect("a farewell").error(), 0);
    begun.write(b"/ HTTP/2.0\r\n\r\n");
    begun.read("GET").assert_problem(505, "http_version_not_supported");
    drop(speaking);
    assert!(host.end().success());
    assert!(told.elapsed() < patience, "nobody is waited for");
}

/// Sends half a preface, which counts as the beginning of a head. A head has five seconds in total.
#[test]
fn half_a_preface_is_408_when_the_time_of_a_head_is_over() {
    let host = TestHost::start_with(&["--http2"], "");
    let mut client = host.client();
    let began = std::time::Instant::now();
    client.write(&PREFACE[..8]);
    client.read("GET").assert_problem(408, "deadline_exceeded");
    let waited = began.elapsed();
    assert!((5..10).contains(&waited.as_secs()), "{waited:?}");
}
