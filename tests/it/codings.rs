//! Compressed bodies in both directions, and the answers to bombs, damaged bodies and bodies in another coding.

use bulkhead::coding::{Coding, Effort, decode, encode};
use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response};

/// The service file's name of each coding.
const DECOMPRESSORS: [(&str, Coding); 5] = [
    ("gzip", Coding::Gzip),
    ("zlib", Coding::Deflate),
    ("zstd", Coding::Zstd),
    ("snappy", Coding::Snappy),
    ("lz4", Coding::Lz4),
];

pub(crate) fn coded(coding: Coding, plain: &[u8]) -> Vec<u8> {
    encode(coding, plain).expect("it can be coded")
}

fn decompressing(name: &str) -> Value {
    json!({"token": "t", "metadata": {"rpc": {"decompressor": name}}})
}

/// Sends a body with this `Content-Encoding`.
fn post(client: &mut Client, service: &Deployed, encoding: &str, body: &[u8]) -> Response {
    let headers = [("authorization", service.token.as_str()), ("content-encoding", encoding)];
    client.send("POST", &service.path, &headers, body)
}

fn rows(count: usize) -> Vec<u8> {
    (0..count).flat_map(|row| format!("{{\"row\": {row}, \"name\": \"row {row}\"}}\n").into_bytes()).collect()
}

#[test]
fn a_service_undoes_what_its_file_or_the_request_names() {
    let host = TestHost::start();
    let plain = host.deploy("plain", "echo", json!({}));
    let mut client = host.client();
    // The larger body is decoded in the background.
    for body in [rows(3), rows(40_000)] {
        for (name, coding) in DECOMPRESSORS {
            let service = match host.call_admin("GET", &format!("/api/v1/services/{name}"), b"").status {
                404 => host.deploy(name, "echo", decompressing(name)),
                _ => Deployed { path: format!("/api/predict/{name}"), token: "t".into() },
            };
            assert_eq!(client.post(&service, &coded(coding, &body)).body, body, "{name}");
            assert_eq!(post(&mut client, &plain, coding.name(), &coded(coding, &body)).body, body, "{name}");
            // The request's own header takes precedence.
            assert_eq!(post(&mut client, &service, "gzip", &coded(Coding::Gzip, &body)).body, body, "{name}");
            assert_eq!(post(&mut client, &service, "identity", &body).body, body, "{name}");
            assert_eq!(client.post(&service, b"").status, 200, "{name}: nothing was not compressed");
            let padded = [&coded(Coding::Gzip, &body)[..], &[0; 1000]].concat();
            assert_eq!(post(&mut client, &service, "gzip", &padded).body, body, "zeros behind gzip are padding");
        }
        let block = lz4_flex::block::compress(&body);
        let lz4 = Deployed { path: "/api/predict/lz4".into(), token: "t".into() };
        assert_eq!(client.post(&lz4, &block).body, body);
        let twice = coded(Coding::Zstd, &coded(Coding::Gzip, &body));
        assert_eq!(post(&mut client, &plain, "gzip, zstd", &twice).body, body);
    }
}

#[test]
fn a_processor_sees_a_body_that_was_never_compressed() {
    let host = TestHost::start();
    let faults = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"decompressor": "gzip"}}}));
    let deed = br#"{"do": "inspect"}"#;
    let body = coded(Coding::Gzip, deed);
    let md5 = "content-md5";
    let hash = bulkhead::hex::hex(&<md5::Md5 as md5::Digest>::digest(&body));
    for encoding in [&[][..], &[("content-encoding", "gzip")]] {
        let headers = [&[("authorization", faults.token.as_str()), (md5, &hash)], encoding].concat();
        let response = host.client().send("POST", &faults.path, &headers, &body);
        let sight = response.json();
        assert_eq!(sight["body_bytes"], deed.len(), "{sight}");
        let seen: Vec<(String, String)> = serde_json::from_value(sight["headers"].clone()).unwrap();
        let header = |name: &str| seen.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let length = deed.len().to_string();
        assert_eq!((header("content-length"), header("content-encoding"), header(md5)), (Some(&*length), None, None));
    }
    let mut chunked = format!(
        "POST {} HTTP/1.1\r\nhost: t\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
        faults.path,
        faults.token,
        body.len()
    )
    .into_bytes();
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut client = host.client();
    client.write(&chunked);
    let sight = client.read("POST").json();
    assert!(!sight["headers"].to_string().contains("transfer-encoding"), "{sight}");
    assert!(sight["headers"].to_string().contains(&format!("[\"content-length\",\"{}\"]", deed.len())), "{sight}");
}

/// Returns headers in the order in which the processor sees them.
fn seen(response: &Response) -> Vec<(String, String)> {
    serde_json::from_value(response.json()["headers"].clone()).unwrap_or_else(|_| panic!("{}", response.text()))
}

#[test]
fn a_processor_does_not_see_a_coding_that_nothing_was_in() {
    let host = TestHost::start();
    let faults = host.deploy("faults", "faults", json!({"token": "t", "sandbox": {"methods": ["GET", "POST"]}}));
    let unpacking = host.deploy("unpacking", "faults", json!({"token": "t", "metadata.rpc.decompressor": "gzip"}));
    let mut client = host.client();
    for service in [&faults, &unpacking] {
        for encoding in ["gzip", "zstd, gzip", "identity"] {
            let headers = [("authorization", "t"), ("content-encoding", encoding)];
            let path = format!("{}?do=inspect", service.path);
            let response = client.send("POST", &path, &headers, b"");
            assert_eq!(response.status, 200, "{}", response.text());
            assert!(!response.text().contains("content-encoding"), "{encoding}: {}", response.text());
            let chunked = format!(
                "POST {path} HTTP/1.1\r\nhost: t\r\nauthorization: t\r\ncontent-encoding: {encoding}\r\n\
                 transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            );
            client.write(chunked.as_bytes());
            let response = client.read("POST");
            assert_eq!(response.status, 200, "{}", response.text());
            assert!(!response.text().contains("content-encoding"), "{encoding}: {}", response.text());
        }
    }
    // A body that is in no coding is passed on unchanged.
    let deed = br#"{"do": "inspect"}"#;
    let headers = [("authorization", "t"), ("content-encoding", "identity")];
    let response = client.send("POST", &faults.path, &headers, deed);
    assert_eq!(response.json()["body_bytes"], deed.len());
    assert!(seen(&response).iter().all(|(name, _)| name != "content-encoding"), "{}", response.text());
}

/// Regression test: removing a header from the map moved the last header into its place.
#[test]
fn a_processor_sees_headers_in_the_order_of_their_arrival() {
    let host = TestHost::start();
    let faults = host.deploy("faults", "faults", json!({"token": "t"}));
    let body = coded(Coding::Gzip, br#"{"do": "inspect"}"#);
    let length = body.len().to_string();
    let headers = [
        ("x-first", "1"),
        ("authorization", "t"),
        ("x-second", "2"),
        ("x-bulkhead-fuel", "7"),
        ("content-encoding", "gzip"),
        ("x-third", "3"),
        ("x-fourth", "4"),
        ("content-type", "application/json"),
        ("x-fifth", "5"),
    ];
    let response = host.client().send("POST", &faults.path, &headers, &body);
    let seen = seen(&response);
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "host").collect();
    let mine: Vec<&str> = names.iter().copied().filter(|name| *name != "content-length").collect();
    assert_eq!(mine, ["x-first", "x-second", "x-third", "x-fourth", "content-type", "x-fifth"], "{length} {seen:?}");
}

/// Returns the host's peak memory in bytes.
fn peak_memory(host: &TestHost) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[test]
fn a_bomb_of_each_coding_is_413_and_takes_no_more_room_than_a_body() {
    const LIMIT: usize = 8 << 20;
    let host = TestHost::start();
    let bomb = vec![0; 128 << 20];
    let bodies: Vec<(&str, &str, Vec<u8>)> = DECOMPRESSORS
        .iter()
        .map(|(name, coding)| (*name, coding.name(), coded(*coding, &bomb)))
        .chain([("lz4-block", "lz4", lz4_flex::block::compress(&bomb))])
        .chain([("twice", "gzip, gzip", coded(Coding::Gzip, &coded(Coding::Gzip, &bomb)))])
        .collect();
    drop(bomb);
    let echo = host.deploy("echo", "echo", json!({"sandbox": {"max_request_bytes": LIMIT}}));
    assert_eq!(host.client().post(&echo, &vec![1; LIMIT]).status, 200, "a body of the limit, to know what it takes");
    let before = peak_memory(&host);
    for (name, encoding, body) in &bodies {
        assert!(body.len() < LIMIT, "{name} has {} bytes", body.len());
        let response = post(&mut host.client(), &echo, encoding, body);
        let problem = response.assert_problem(413, "body_too_large");
        assert!(problem["detail"].as_str().unwrap().contains("once it is decoded"), "{name}: {problem}");
    }
    // The decoded body grows step by step, so two copies of it may exist for a moment, on each of two threads. Their
    // allocator keeps the memory of one bomb for the next.
    let grown = peak_memory(&host) - before;
    assert!(grown < 8 * LIMIT, "bombs of 128 MiB have cost {} MiB", grown >> 20);
    assert_eq!(host.client().post(&echo, b"x").status, 200);
}

#[test]
fn what_breaks_off_or_makes_no_sense_is_400_and_says_where() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let mut random = fastrand::Rng::with_seed(5);
    for (_, coding) in DECOMPRESSORS {
        for body in [rows(3), rows(40_000)] {
            let whole = coded(coding, &body);
            let mut wrong = whole.clone();
            wrong[whole.len() / 2..].iter_mut().for_each(|byte| *byte = random.u8(..));
            let mut noise: Vec<u8> = (0..500).map(|_| random.u8(..)).collect();
            noise[0] = 100; // for Snappy, the length; a length above the limit would be 413
            for broken in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &noise, &wrong[..]] {
                let response = post(&mut client, &echo, coding.name(), broken);
                let problem = response.assert_problem(400, "bad_request");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains(&format!("not valid {}", coding.name())), "{detail}");
                assert!(!response.closes(), "{detail}: where the body ends was never in doubt");
            }
        }
    }
    let cut = &coded(Coding::Gzip, &rows(1000))[..1000];
    let problem = post(&mut client, &echo, "gzip", cut).assert_problem(400, "bad_request");
    assert_eq!(problem["detail"], "the body is not valid gzip at byte 1000: it is truncated");
}

#[test]
fn what_is_in_another_form_is_400_and_says_which_is_accepted_under_the_name_that_was_given() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let text = rows(3);
    let sized = |plain: &[u8]| lz4_flex::block::compress_prepend_size(plain);
    let lz4 = "accepted is LZ4 frames, or one LZ4 block without a size before it";
    let cases = [
        (
            "snappy",
            b"\xff\x06\0\0sNaPpY\0\x07\0\0abcdefg".to_vec(),
            "it looks like framed Snappy; accepted is raw Snappy",
        ),
        ("x-snappy", b"\x82SNAPPY\0\0\0\0\x01".to_vec(), "SnappyOutputStream (xerial); accepted is raw Snappy"),
        ("lz4", sized(&text), &*format!("it looks like an LZ4 block with its size before it; {lz4}")),
        ("lz4", sized(&rows(40_000)), &*format!("it looks like an LZ4 block with its size before it; {lz4}")),
        ("zlib", coded(Coding::Gzip, &text), "it looks like gzip; accepted is zlib (RFC 1950)"),
        ("gzip", text.clone(), "it looks like text that is not compressed; accepted is gzip (RFC 1952)"),
    ];
    for (name, body, told) in &cases {
        let problem = post(&mut client, &echo, name, body).assert_problem(400, "bad_request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("the body is not valid {name}")) && detail.contains(told), "{detail}");
    }
    // The decompressor of the service file applies, because the request names no coding.
    let zlib = host.deploy("zlib", "echo", decompressing("zlib"));
    let cut = &coded(Coding::Deflate, &rows(1000))[..1000];
    let problem = client.post(&zlib, cut).assert_problem(400, "bad_request");
    assert_eq!(problem["detail"], "the body is not valid zlib at byte 1000: it is truncated");
}

/// The Java SDK reads the content size from the zstd frame, and for LZ4 the length of the plain body from the header.
/// Without them it returns the compressed bytes as if they were the answer.
#[test]
fn answers_tell_how_long_they_are_once_they_are_decoded() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    for body in [rows(60), rows(40_000)] {
        let zstd = ask(&mut client, &echo, Some("zstd"), "application/json", &body);
        // The magic number, and a descriptor with the flag of a content size (RFC 8878 §3.1.1.1.1).
        assert_eq!(zstd.body[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        assert_ne!(zstd.body[4] & 0b1110_0000, 0, "there is a content size");
        let lz4 = ask(&mut client, &echo, Some("lz4"), "application/json", &body);
        assert_eq!(lz4.header("x-lz4-original-length"), Some(&*body.len().to_string()));
        assert_eq!(lz4.body[..4], [0x04, 0x22, 0x4d, 0x18], "a frame, which it knows by its first bytes");
        let gzip = ask(&mut client, &echo, Some("gzip"), "application/json", &body);
        assert_eq!(gzip.header("x-lz4-original-length"), None);
    }
}

#[test]
fn a_coding_that_nobody_knows_is_415_with_those_that_are_known() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    for encoding in ["br", "gzip, br", "GZIP2", "gzip,gzip,gzip,gzip", "compress"] {
        let response = post(&mut client, &echo, encoding, b"x");
        response.assert_problem(415, "unsupported_coding");
        assert_eq!(response.header("accept-encoding"), Some("gzip, zstd, deflate, lz4, snappy"));
        assert!(!response.closes());
    }
    // A caller without the right token gets 401 and does not learn which codings are known.
    let headers = [("authorization", "wrong"), ("content-encoding", "br")];
    client.send("POST", &echo.path, &headers, b"x").assert_problem(401, "unauthorized");
}

/// Requests an echo of `body` with this `Accept-Encoding`.
fn ask(client: &mut Client, service: &Deployed, accept: Option<&str>, content_type: &str, body: &[u8]) -> Response {
    let mut headers = vec![("authorization", service.token.as_str()), ("content-type", content_type)];
    headers.extend(accept.map(|accept| ("accept-encoding", accept)));
    client.send("POST", &service.path, &headers, body)
}

#[test]
fn an_answer_is_compressed_for_who_asks_for_it() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let effort = || Effort::brief(usize::MAX);
    for body in [rows(60), rows(40_000)] {
        for coding in Coding::ALL {
            let response = ask(&mut client, &echo, Some(coding.name()), "application/json", &body);
            assert_eq!(response.header("content-encoding"), Some(coding.name()));
            assert_eq!(response.header("vary"), Some("accept-encoding"));
            assert!(response.body.len() < body.len() / 2, "{coding:?}: {} bytes", response.body.len());
            assert_eq!(decode(coding, &response.body, body.len(), &effort()), Ok(body.clone()), "{coding:?}");
        }
        for accept in [None, Some("identity"), Some(""), Some("br"), Some("gzip;q=0"), Some("*;q=0, identity;q=0")] {
            let response = ask(&mut client, &echo, accept, "application/json", &body);
            assert_eq!((response.header("content-encoding"), &response.body), (None, &body), "{accept:?}");
            assert_eq!(response.header("vary"), Some("accept-encoding"), "{accept:?}");
        }
        let curl = ask(&mut client, &echo, Some("deflate, gzip, br, zstd"), "text/csv", &body);
        assert_eq!(curl.header("content-encoding"), Some("gzip"));
    }
}

#[test]
fn what_gains_nothing_by_it_stays_as_it_is() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let body = rows(100);
    for (content_type, body) in [
        ("application/octet-stream", &body[..]),
        ("image/png", &body),
        ("application/json", &body[..1024]),
        ("application/json", b""),
    ] {
        let response = ask(&mut client, &echo, Some("gzip"), content_type, body);
        let names = [response.header("content-encoding"), response.header("vary")];
        assert_eq!((names, &response.body[..]), ([None, None], body), "{content_type}");
    }
    let faults = host.deploy("faults", "faults", json!({}));
    let long = "x".repeat(5000);
    let with =
        |headers: Value, status: u16| json!({"do": "headers", "headers": headers, "status": status, "body": long});
    for deed in [
        with(json!([["content-encoding", "br"]]), 200),
        with(json!([["cache-control", "no-transform"]]), 200),
        with(json!([]), 204),
        with(json!([]), 304),
    ] {
        let text = deed.to_string();
        let response = ask(&mut client, &faults, Some("gzip"), "application/json", text.as_bytes());
        assert_ne!(response.header("content-encoding"), Some("gzip"), "{deed}");
        assert_eq!(response.header("vary"), None, "{deed}");
    }
    // A status chosen by the processor is an ordinary answer.
    let text = with(json!([]), 422).to_string();
    let response = ask(&mut client, &faults, Some("gzip"), "application/json", text.as_bytes());
    assert_eq!((response.status, response.header("content-encoding")), (422, Some("gzip")));

    let quiet = host.deploy("quiet", "echo", json!({"sandbox": {"compress_responses": false}}));
    let response = ask(&mut client, &quiet, Some("gzip"), "application/json", &body);
    assert_eq!((response.header("content-encoding"), response.header("vary")), (None, None));
}
