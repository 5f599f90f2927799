//! Webhooks: a request to `queue.callback` for each finished item.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Queue, deploy};
use crate::host::{SOON, TestHost};

/// A webhook as it arrived.
struct Webhook {
    head: String,
    body: Vec<u8>,
}

impl Webhook {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    /// The signature of this webhook under a token.
    fn signature(&self, token: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).unwrap();
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", &self.body].concat());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Starts a server that gives these answers to its requests, in turn, and passes the requests on.
fn server(statuses: &'static [&'static str]) -> (SocketAddr, Receiver<Webhook>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (sender, receiver)) = (listener.local_addr().unwrap(), channel());
    thread::spawn(move || {
        for (stream, status) in listener.incoming().flatten().zip(statuses.iter().chain(std::iter::repeat(&"200 OK"))) {
            let (mut stream, mut head, mut byte) = (stream, Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let mut webhook = Webhook { head, body: Vec::new() };
            webhook.body = vec![0; webhook.header("content-length").parse().unwrap()];
            stream.read_exact(&mut webhook.body).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if sender.send(webhook).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

fn keys(address: SocketAddr) -> Value {
    json!({
        "queue": {"callback": format!("http://{address}/done?from=bulkhead")},
        "sandbox": {"allow_hosts": [address.to_string()]},
    })
}

#[test]
fn a_finished_item_is_told_of_with_a_signature_until_it_is_accepted() {
    let (address, webhooks) = server(&["500 Internal Server Error", "200 OK"]);
    let host = TestHost::start();
    let service = deploy(&host, "told", "faults", keys(address));
    let (mut input, mut sink) = (Queue::input(&host, &service), Queue::sink(&host, &service));
    let (index, request_id) = input.put("", br#"{"do":"status","status":422,"message":"no"}"#);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let webhook = webhooks.recv_timeout(SOON).expect("a webhook, and its repetition");
        assert!(webhook.head.starts_with("POST /done?from=bulkhead HTTP/1.1\r\n"), "{}", webhook.head);
        let expected = json!({
            "type": "item.finished", "service": "told", "index": index, "request_id": request_id, "status": 422,
            "has_result": true,
        });
        assert_eq!(webhook.json(), expected);
        let id = webhook.header("webhook-id");
        assert!(id.starts_with(&format!("told-{index}-")), "{id}");
        assert_eq!(webhook.header("webhook-signature"), webhook.signature(&service.token));
        ids.push(id.to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    // The result was there before the webhook.
    assert_eq!(sink.get("")[0].data, b"no");
    input.put("", br#"{"do":"flag"}"#);
    assert_eq!(webhooks.recv_timeout(SOON).expect("the next item").json()["status"], 200);
}

#[test]
fn a_repetition_follows_the_service_file_of_its_time() {
    let ((old, first), (new, second)) = (server(&["500 Internal Server Error"; 14]), server(&["200 OK"]));
    let host = TestHost::start();
    let service = deploy(&host, "moved", "faults", keys(old));
    Queue::input(&host, &service).put("", br#"{"do":"flag"}"#);
    let id = first.recv_timeout(SOON).expect("a webhook").header("webhook-id").to_owned();
    let change = json!({"spec": keys(new)}).to_string();
    let changed = host.call_admin("PUT", "/api/v1/services/moved", change.as_bytes());
    assert!(changed.status < 300, "{}", changed.text());
    assert_eq!(second.recv_timeout(SOON).expect("its repetition").header("webhook-id"), id);
}

#[test]
fn a_webhook_is_signed_for_each_token_that_is_accepted() {
    let (address, webhooks) = server(&[]);
    let host = TestHost::start();
    let service = deploy(&host, "signed", "faults", keys(address));
    let mut input = Queue::input(&host, &service);
    let rotated = host.call_admin("POST", "/api/v1/services/signed/token", br#"{"action":"rotate"}"#);
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let new = rotated.json()["token"].as_str().unwrap().to_owned();
    input.put("", br#"{"do":"flag"}"#);
    let webhook = webhooks.recv_timeout(SOON).expect("a webhook");
    let expected = [&new, &service.token].map(|token| webhook.signature(token)).join(" ");
    assert_eq!(webhook.header("webhook-signature"), expected);
}

#[test]
fn a_receiver_that_is_gone_is_not_asked_again() {
    let (address, webhooks) = server(&["410 Gone"]);
    let host = TestHost::start();
    let service = deploy(&host, "gone", "faults", keys(address));
    let mut input = Queue::input(&host, &service);
    input.put("", br#"{"do":"flag"}"#);
    assert_eq!(webhooks.recv_timeout(SOON).expect("the first one").json()["index"], 1);
    host.wait_for("it to be told", || host.log().contains("a webhook was refused with 410"));
    input.put("", br#"{"do":"flag"}"#);
    assert_eq!(webhooks.recv_timeout(SOON).expect("the next one").json()["index"], 2);
}
