//! The signature of the official SDKs, and the body's hash that goes with it: accepted and refused requests.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use serde_json::json;
use sha1::Sha1;

use crate::host::TestHost;
use crate::http::Response;

const DATE: &str = "Mon, 23 Nov 2026 07:21:57 GMT";
const TYPE: &str = "application/octet-stream";

/// A request as the Python SDK sent it, byte by byte; the token is `tok`.
const RECORDED: &[u8] = b"POST /api/predict/echo HTTP/1.1\r\n\
    Host: 127.0.0.1:18080\r\n\
    Accept-Encoding: identity\r\n\
    User-Agent: python-urllib3/2.8.0\r\n\
    Content-MD5: 5d41402abc4b2a76b9719d911017c592\r\n\
    Date: Mon, 23 Nov 2026 07:21:57 GMT\r\n\
    Content-Type: application/octet-stream\r\n\
    Content-Length: 5\r\n\
    Authorization: EAS 98ZXWMZr3a7S6FTWB4jut+xabjQ=\r\n\
    \r\n\
    hello";

fn hex(bytes: &[u8]) -> String {
    bulkhead::hex::hex(bytes)
}

fn md5(body: &[u8]) -> String {
    hex(&Md5::digest(body))
}

fn hmac(token: &str, md5: &str, target: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(format!("POST\n{md5}\n{TYPE}\n{DATE}\n{target}").as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn signature(token: &str, md5: &str, target: &str) -> String {
    format!("EAS {}", STANDARD.encode(hmac(token, md5, target)))
}

/// A host with a service whose token is `tok`.
struct Signing(TestHost);

impl Signing {
    fn start() -> Self {
        let host = TestHost::start();
        host.deploy("echo", "echo", json!({"token": "tok"}));
        Self(host)
    }

    fn send(&self, target: &str, authorization: &str, md5: &str, body: &[u8]) -> Response {
        let headers = [("content-md5", md5), ("date", DATE), ("content-type", TYPE), ("authorization", authorization)];
        self.0.client().send("POST", target, &headers, body)
    }

    /// Sends a request with a valid signature, whatever the hash.
    fn signed(&self, md5: &str, body: &[u8]) -> Response {
        self.send("/api/predict/echo", &signature("tok", md5, "/api/predict/echo"), md5, body)
    }
}

#[test]
fn a_recorded_request_is_let_in_as_often_as_it_comes() {
    let host = Signing::start();
    let mut client = host.0.client();
    // The Go SDK repeats a signature in every attempt, and two SDKs write local time, so the date cannot be checked.
    for _ in 0..3 {
        client.write(RECORDED);
        let response = client.read("POST");
        assert_eq!((response.status, response.text()), (200, "hello".into()));
    }
}

#[test]
fn the_target_is_signed_as_it_was_sent() {
    let host = Signing::start();
    let hash = md5(b"x");
    for target in ["/api/predict/echo/v1?uid=a+b&x=%2f%2F", "/api/predict/echo/", "/api/predict/echo/a%20b"] {
        assert_eq!(host.send(target, &signature("tok", &hash, target), &hash, b"x").status, 200, "{target}");
        let elsewhere = signature("tok", &hash, "/api/predict/echo");
        host.send(target, &elsewhere, &hash, b"x").assert_problem(401, "unauthorized");
    }
}

#[test]
fn what_is_no_signature_of_this_request_is_turned_away() {
    let host = Signing::start();
    let (target, hash) = ("/api/predict/echo", md5(b"x"));
    let right = hmac("tok", &hash, target);
    let text = STANDARD.encode(&right);
    let forged: Vec<u8> = right.iter().map(|byte| byte ^ 1).collect();
    let mut last_bits = text.clone().into_bytes();
    // Base64 of 20 bytes leaves two bits unused; only one spelling of a signature is accepted.
    last_bits[26] = if last_bits[26] == b'A' { b'B' } else { last_bits[26] + 1 };
    let wrong = [
        STANDARD.encode(forged),
        STANDARD.encode(hmac("tik", &hash, target)),
        STANDARD.encode([0; 20]),
        STANDARD.encode(&right[..19]),
        STANDARD.encode([&right[..], &[0]].concat()),
        STANDARD.encode([right.as_slice(), right.as_slice()].concat()),
        String::from_utf8(last_bits).unwrap(),
        text[..27].to_owned(),
        text.trim_end_matches('=').to_owned(),
        format!("{text}="),
        format!("{} {}", &text[..8], &text[8..]),
        URL_SAFE.encode([0xff; 20]),
        hex(&right),
        "tok".into(),
    ];
    for wrong in wrong {
        let response = host.send(target, &format!("EAS {wrong}"), &hash, b"x");
        let problem = response.assert_problem(401, "unauthorized");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        assert!(problem["detail"].as_str().unwrap().contains("signature"), "{wrong:?}: {problem}");
    }
    for scheme in ["eas", "Eas", "EAS  "] {
        assert_eq!(host.send(target, &format!("{scheme} {text}"), &hash, b"x").status, 200, "{scheme:?}");
    }
}

#[test]
fn two_authorization_headers_let_nobody_in() {
    let host = Signing::start();
    let hash = md5(b"x");
    let right = signature("tok", &hash, "/api/predict/echo");
    for second in [&right, "tok", "wrong"] {
        let headers = [
            ("authorization", right.as_str()),
            ("content-md5", &hash),
            ("date", DATE),
            ("content-type", TYPE),
            ("authorization", second),
        ];
        let response = host.0.client().send("POST", "/api/predict/echo", &headers, b"x");
        let problem = response.assert_problem(401, "unauthorized");
        assert!(problem["detail"].as_str().unwrap().contains("more than one"), "{problem}");
    }
}

#[test]
fn a_body_is_the_one_that_was_hashed() {
    let host = Signing::start();
    for body in [&b""[..], b"hello", &[7; 300_000]] {
        assert_eq!(host.signed(&md5(body), body).body, body);
        assert_eq!(host.signed(&md5(body).to_uppercase(), body).body, body);
        assert_eq!(host.signed(&STANDARD.encode(Md5::digest(body)), body).body, body);
        // The signature is right, but the body was changed on its way. The connection stays open.
        let response = host.signed(&STANDARD.encode(Md5::digest(b"another")), body);
        let problem = response.assert_problem(400, "bad_request");
        assert!(problem["detail"].as_str().unwrap().contains(&md5(body)), "{problem}");
        assert!(!response.closes());
    }
    // A client that sends the token itself, or nothing to a public service, may also send a hash of the body.
    host.0.deploy("open", "echo", json!({"generate_token": false}));
    for (path, token) in [("/api/predict/echo", "tok"), ("/api/predict/open", "")] {
        assert_eq!(host.send(path, token, &md5(b"x"), b"x").status, 200);
        host.send(path, token, &md5(b"y"), b"x").assert_problem(400, "bad_request");
    }
    for senseless in ["", "x", "5d41402abc4b2a76b9719d911017c5922", "XUFAKrxLKna5cZ2REBfFk===", "5d41-402a"] {
        host.signed(senseless, b"hello").assert_problem(400, "bad_request");
    }
}

#[test]
fn the_java_sdk_is_let_in_with_what_is_odd_about_it() {
    let host = Signing::start();
    // The Java SDK prints the hash as a number, without its leading zeros.
    let hash = md5(b"body-0");
    assert!(hash.starts_with('0'));
    assert_eq!(host.signed(hash.trim_start_matches('0'), b"body-0").text(), "body-0");

    // `setIsCompressed(true)` hashes and signs the Snappy form, and sends the body uncompressed.
    for body in [b"hello hello hello hello hello hello".to_vec(), b"{\"row\": 1}\n".repeat(20_000)] {
        let snappy_hash = md5(&snap::raw::Encoder::new().compress_vec(&body).unwrap());
        assert_eq!(host.signed(&snappy_hash, &body).body, body);
        // Without a signature, the hash of the Snappy form is not accepted for the uncompressed body.
        host.send("/api/predict/echo", "tok", &snappy_hash, &body).assert_problem(400, "bad_request");
    }
}

/// Makes a valid Snappy form that our encoder does not choose: one literal for each byte.
fn another_snappy(body: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    let mut length = body.len();
    while length >= 128 {
        form.push(length as u8 | 128);
        length >>= 7;
    }
    form.push(length as u8);
    form.extend(body.iter().flat_map(|byte| [0, *byte]));
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&form).unwrap(), body);
    form
}

/// The Java SDK has its own Snappy encoder, which produces other bytes than ours. So a signed hexadecimal hash that
/// differs from the body's proves nothing.
#[test]
fn a_signed_hash_of_another_encoders_snappy_is_let_in() {
    let host = Signing::start();
    host.0.deploy("unpacks", "echo", json!({"token": "tok", "metadata": {"rpc": {"decompressor": "snappy"}}}));
    let unpacks = "/api/predict/unpacks";
    for body in [b"{\"row\": 1, \"row\": 2}".repeat(5), b"{\"row\": 1}\n".repeat(100), b"x".to_vec()] {
        let hash = md5(&another_snappy(&body));
        for hash in [hash.as_str(), hash.trim_start_matches('0'), &hash.to_uppercase()] {
            assert_eq!(host.signed(hash, &body).body, body);
            // The body is plain, whatever the service's decompressor.
            assert_eq!(host.send(unpacks, &signature("tok", hash, unpacks), hash, &body).body, body);
            host.send("/api/predict/echo", "tok", hash, &body).assert_problem(400, "bad_request");
            // A signature over another hash is not valid for this one.
            let other = signature("tok", &md5(b"other"), "/api/predict/echo");
            host.send("/api/predict/echo", &other, hash, &body).assert_problem(401, "unauthorized");
        }
        // A compressed body is decoded as well.
        let packed = snap::raw::Encoder::new().compress_vec(&body).unwrap();
        let plain = md5(&body);
        assert_eq!(host.send(unpacks, &signature("tok", &plain, unpacks), &plain, &packed).body, body);
        let base64 = STANDARD.encode(Md5::digest(another_snappy(&body)));
        host.signed(&base64, &body).assert_problem(400, "bad_request");
    }
}

/// The Python SDK signs the path as its user wrote it, and its HTTP library encodes the path. These are pairs of both
/// forms.
#[test]
fn a_path_that_was_signed_before_it_was_encoded_is_let_in() {
    let host = Signing::start();
    let hash = md5(b"x");
    for (signed, sent) in [
        ("/api/predict/echo/a b", "/api/predict/echo/a%20b"),
        ("/api/predict/echo/größe/模型", "/api/predict/echo/gr%C3%B6%C3%9Fe/%E6%A8%A1%E5%9E%8B"),
        ("/api/predict/echo/100%", "/api/predict/echo/100%25"),
        ("/api/predict/echo/a b?q=c d", "/api/predict/echo/a%20b?q=c%20d"),
        ("/api/predict/echo?q=\"ü\"", "/api/predict/echo?q=%22%C3%BC%22"),
    ] {
        assert_eq!(host.send(sent, &signature("tok", &hash, signed), &hash, b"x").status, 200, "{sent}");
        host.send(sent, &signature("tik", &hash, signed), &hash, b"x").assert_problem(401, "unauthorized");
        assert_eq!(host.send(sent, &signature("tok", &hash, sent), &hash, b"x").status, 200, "{sent}, signed as sent");
    }
    // An intercepted signature is not valid for another target with the same decoded text.
    for (signed, sent) in [
        ("/api/predict/echo/a/b", "/api/predict/echo/a%2Fb"),
        ("/api/predict/echo/a?x=1", "/api/predict/echo/a%3Fx=1"),
        ("/api/predict/echo/a b?x=1", "/api/predict/echo/a%20b%3Fx=1"),
        ("/api/predict/echo/ab", "/api/predict/echo/%61b"),
        ("/api/predict/echo/../x y", "/api/predict/echo/%2E%2E/x%20y"),
        ("/api/predict/echo/ö", "/api/predict/echo/%c3%b6"),
        ("/api/predict/echo/a%20b", "/api/predict/echo/a%2520b"),
        ("/api/predict/echo/a b", "/api/predict/echo/a+b"),
    ] {
        let answer = host.send(sent, &signature("tok", &hash, signed), &hash, b"x");
        answer.assert_problem(401, "unauthorized");
    }
}

#[test]
fn while_a_token_is_rotated_both_sign() {
    let host = Signing::start();
    let rotate = json!({"action": "rotate", "token": "new"}).to_string();
    let change = |body: &str| host.0.call_admin("POST", "/api/v1/services/echo/token", body.as_bytes()).status;
    assert_eq!(change(&rotate), 200);
    let hash = md5(b"x");
    let status = |token: &str| {
        let target = "/api/predict/echo";
        host.send(target, &signature(token, &hash, target), &hash, b"x").status
    };
    assert_eq!((status("tok"), status("new"), status("old")), (200, 200, 401));
    assert_eq!(change(r#"{"action":"retire"}"#), 200);
    assert_eq!((status("tok"), status("new")), (401, 200));
}
