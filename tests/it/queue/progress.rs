//! Long work: its progress for those who ask, and its partial results after the end of a host.

use std::io::Read;

use flate2::read::ZlibDecoder;
use serde_json::{Value, json};

use super::watch::Socket;
use super::{Got, Queue, deploy};
use crate::host::{Deployed, TestHost};

/// Searches an item. A test that asks all the time makes more requests than one connection takes.
fn search(host: &TestHost, input: &mut Queue, which: &str) -> Value {
    let answer = input.ask("GET", &format!("?_search_=true&{which}"), &[], b"");
    if answer.header("connection") == Some("close") {
        input.client = host.client();
    }
    if answer.status == 200 { answer.json() } else { json!({ "status": answer.status }) }
}

/// Returns the picture of the next result.
fn picture(host: &TestHost, service: &Deployed) -> Got {
    let mut got = Queue::sink(host, service).get("_timeout_=20s");
    assert_eq!(got.len(), 1, "a result; log:\n{}", host.log());
    got.remove(0)
}

/// Checks that a PNG file is whole, and returns its sides and its pixels.
fn decoded(file: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut rest = file.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("the signature of PNG");
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    let (mut sides, mut stream, mut last) = ((0, 0), Vec::new(), Vec::new());
    while !rest.is_empty() {
        let length = number(rest) as usize;
        let (name, content) = (&rest[4..8], &rest[8..8 + length]);
        let mut crc = flate2::Crc::new();
        crc.update(&rest[4..8 + length]);
        assert_eq!(crc.sum(), number(&rest[8 + length..]), "the checksum of {name:?}");
        match name {
            b"IHDR" => sides = (number(content), number(&content[4..])),
            b"IDAT" => stream.extend_from_slice(content),
            _ => {}
        }
        last = name.to_vec();
        rest = &rest[12 + length..];
    }
    assert_eq!(last, b"IEND");
    let mut rows = Vec::new();
    ZlibDecoder::new(stream.as_slice()).read_to_end(&mut rows).expect("a stream of zlib");
    let row = sides.0 as usize + 1;
    assert_eq!(rows.len(), row * sides.1 as usize);
    (sides.0, sides.1, rows.chunks(row).flat_map(|row| row[1..].to_vec()).collect())
}

#[test]
fn progress_rises_in_searches_and_ends_with_the_picture() {
    let host = TestHost::start();
    let service = deploy(&host, "long", "long-job", json!({}));
    let mut input = Queue::input(&host, &service);
    let (index, id) = input.put("", br#"{"width": 320, "height": 200, "iterations": 60, "seconds": 4}"#);

    let mut seen: Vec<f64> = Vec::new();
    let mut noted = String::new();
    host.wait_for("three reports in searches by index", || {
        let found = search(&host, &mut input, &format!("_index_={index}"));
        let Some(fraction) = found["Progress"]["Fraction"].as_f64() else { return false };
        assert_eq!((found["IsPending"].as_bool(), found["State"].as_str()), (Some(true), Some("leased")), "{found}");
        assert!(found["Progress"]["AgeMs"].as_u64().is_some_and(|age| age < 20_000), "{found}");
        noted = found["Progress"]["Note"].as_str().expect("a note").to_owned();
        if seen.last() != Some(&fraction) {
            seen.push(fraction);
        }
        seen.len() >= 3
    });
    assert!(seen.is_sorted() && seen.iter().all(|fraction| (0.0..=1.0).contains(fraction)), "{seen:?}");
    assert!(noted.ends_with(" of 20 tiles"), "{noted}");
    let found = search(&host, &mut input, &format!("requestId={id}"));
    assert_eq!((found["Index"].as_u64(), found["State"].as_str()), (Some(index), Some("leased")), "{found}");
    assert!(found["Progress"]["Fraction"].as_f64().is_some_and(|fraction| fraction >= seen[2]), "{found}");

    let got = picture(&host, &service);
    assert_eq!(got.tags["requestId"], json!(id));
    let (width, height, pixels) = decoded(&got.data);
    assert_eq!((width, height), (320, 200));
    assert!(pixels.contains(&0) && pixels.iter().any(|colour| *colour > 0), "the set, and what is around it");
    assert_eq!(search(&host, &mut input, &format!("requestId={id}")), json!({"status": 404}), "it is finished");
}

#[test]
fn who_watches_the_sink_gets_progress_if_it_asks_for_it() {
    let host = TestHost::start();
    let service = deploy(&host, "long", "long-job", json!({}));
    let other = deploy(&host, "other", "long-job", json!({}));
    let watch = |query: &str, uid: &str| Socket::accepting("application/json", &host, &service, "/sink", query, uid);
    let mut asks = watch("_progress_=true&_window_=5", "asks");
    let mut plain = watch("_window_=5", "plain");
    let slow = br#"{"width": 320, "height": 200, "iterations": 60, "seconds": 3}"#;
    Queue::input(&host, &other).put("", slow);
    let (_, id) = Queue::input(&host, &service).put("", slow);
    let (_, second) = Queue::input(&host, &service).put("", br#"{"width": 1, "height": 1}"#);

    // The short item may be finished before the other one; both watchers share the results.
    let mut seen: Vec<f64> = Vec::new();
    let mut results = Vec::new();
    let next = |socket: &mut Socket| -> Value { serde_json::from_slice(&socket.message()).expect("JSON") };
    while seen.len() < 3 {
        let frame = next(&mut asks);
        if frame["index"] != json!(0) {
            results.push(frame);
            continue;
        }
        assert_eq!(frame["data"], json!(""), "{frame}");
        let tags = frame["tags"].as_object().expect("tags");
        assert_eq!(tags.keys().collect::<Vec<_>>(), ["note", "progress", "requestId"], "{frame}");
        // The short item may have been seen at work as well.
        if tags["requestId"] == json!(id) {
            seen.push(tags["progress"].as_str().expect("text").parse().expect("a number"));
        } else {
            assert_eq!(tags["requestId"], json!(second), "nothing of the other service");
        }
    }
    assert!(seen.is_sorted(), "{seen:?}");
    let refused = Queue::sink(&host, &service).named("asks").ask("PUT", "?_indexes_=0", &[], b"");
    assert_eq!(refused.status, 400, "{}", refused.text());

    // The plain watcher takes what comes after the first one has left.
    drop(asks);
    let frame = next(&mut plain);
    assert_ne!(frame["index"], json!(0), "a result: {frame}");
    let mut sink = Queue::sink(&host, &service).named("plain");
    let ask = sink.ask("GET", "?_watch_=true&_progress_=maybe", &[], b"");
    assert_eq!(ask.status, 400, "{}", ask.text());
    let mut input = Queue::input(&host, &service);
    assert_eq!(input.ask("GET", "?_watch_=true&_progress_=true", &[], b"").status, 400);
    input.wait_for(&host, "stream.length", "0");
    Queue::input(&host, &other).wait_for(&host, "stream.length", "0");
}

#[test]
fn work_goes_on_after_a_kill_where_it_was_kept() {
    let host = TestHost::start();
    let service = deploy(&host, "long", "long-job", json!({}));
    let mut input = Queue::input(&host, &service);
    let quick = r#"{"width": 256, "height": 256, "iterations": 60}"#;
    input.put("", quick.as_bytes());
    let whole = decoded(&picture(&host, &service).data);

    // 16 tiles in 8 seconds: two for each partial result.
    let slow = r#"{"width": 256, "height": 256, "iterations": 60, "seconds": 8}"#;
    let (index, _) = input.put("", slow.as_bytes());
    let which = format!("_index_={index}");
    host.wait_for("a fifth of the work", || {
        search(&host, &mut input, &which)["Progress"]["Fraction"].as_f64().is_some_and(|fraction| fraction >= 0.35)
    });
    let host = host.kill_and_restart();
    let mut input = Queue::input(&host, &service);
    host.wait_for("the second delivery", || {
        let found = search(&host, &mut input, &which);
        found["Delivery"] == json!(2) && found["Progress"]["Fraction"].as_f64().is_some()
    });
    assert_eq!(decoded(&picture(&host, &service).data), whole);

    host.wait_for("the last line of the processor", || host.log().contains("delivery 2 rendered "));
    let log = host.log();
    assert!(log.contains("delivery 1 begins after 0 of 16 tiles"), "{log}");
    let number = |before: &str| -> Option<u64> {
        let (_, after) = log.split_once(before)?;
        after.split(' ').next()?.parse().ok()
    };
    let found = number("delivery 2 begins after ").expect("a line of the second delivery");
    assert!((2..16).contains(&found), "{found} tiles were kept");
    assert_eq!(number("delivery 2 rendered "), Some(16 - found));
}

#[test]
fn an_ordinary_end_of_the_host_keeps_the_work_and_does_not_count() {
    let host = TestHost::start_with(&["--grace", "200ms"], "");
    let service = deploy(&host, "long", "long-job", json!({}));
    let mut input = Queue::input(&host, &service);
    let slow = r#"{"width": 256, "height": 256, "iterations": 60, "seconds": 8}"#;
    let (index, _) = input.put("", slow.as_bytes());
    let which = format!("_index_={index}");
    host.wait_for("a third of the work", || {
        search(&host, &mut input, &which)["Progress"]["Fraction"].as_f64().is_some_and(|fraction| fraction >= 0.35)
    });
    let host = host.terminate_and_restart();
    picture(&host, &service);
    host.wait_for("the last line of the processor", || host.log().contains("delivery 1 rendered "));
    let log = host.log();
    let again = log.matches("delivery 1 begins after ").count();
    assert_eq!((again, log.contains("delivery 2")), (2, false), "{log}");
    assert_eq!(log.matches("delivery 1 begins after 0 of").count(), 1, "the second one goes on: {log}");
}

#[test]
fn a_call_that_is_no_item_has_no_job() {
    let host = TestHost::start();
    let service = host.deploy("direct", "long-job", json!({}));
    let answer = host.client().post(&service, br#"{"width": 128, "height": 64, "iterations": 60}"#);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{}", answer.text());
    decoded(&answer.body);
    host.wait_for("the line of the call", || host.log().contains("delivery 0 begins after 0 of 2 tiles"));
}

#[test]
fn a_partial_result_beyond_the_limit_is_refused_and_the_work_goes_on() {
    let host = TestHost::start();
    let service = deploy(&host, "small", "long-job", json!({"queue": {"max_payload_bytes": 1200}}));
    // Two tiles, of which the second one is finished after a second and a half.
    Queue::input(&host, &service).put("", br#"{"width": 128, "height": 20, "iterations": 60, "seconds": 3}"#);
    let got = picture(&host, &service);
    assert_eq!(got.tags["lastCode"], json!("413"), "the file is larger than the finished tiles: {got:?}");
    let told = "not kept: the partial result has 2577 bytes, and may have 1200 (queue.max_payload_bytes)";
    host.wait_for("the line about it", || host.log().contains(told));
}
