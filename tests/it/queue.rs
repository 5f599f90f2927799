//! The queue service: operations on the wire, the ends of items, watches, and crashes.

mod again;
mod crash;
mod damage;
mod ends;
mod items;
mod progress;
mod pulled;
mod watch;
mod webhooks;
mod wire;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response};

/// A queue of a host, with a connection of its own.
pub(crate) struct Queue {
    client: Client,
    address: SocketAddr,
    path: String,
    token: String,
    uid: String,
}

/// An item as JSON answers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) index: u64,
    pub(crate) tags: Value,
    pub(crate) data: Vec<u8>,
}

/// Deploys an asynchronous service.
pub(crate) fn deploy(host: &TestHost, name: &str, guest: &str, keys: Value) -> Deployed {
    let mut all = json!({"metadata": {"type": "Async"}});
    for (key, value) in keys.as_object().expect("an object") {
        match (all[key].as_object_mut(), value.as_object()) {
            (Some(there), Some(more)) => there.extend(more.clone()),
            _ => all[key] = value.clone(),
        }
    }
    host.deploy(name, guest, all)
}

/// Deploys a service whose processor does not run, so that items stay where they are put.
pub(crate) fn deploy_stopped(host: &TestHost, name: &str, keys: Value) -> Deployed {
    let service = deploy(host, name, "echo", keys);
    assert_eq!(host.call_admin("POST", &format!("/api/v1/services/{name}/stop"), b"").status, 200);
    service
}

impl Queue {
    pub(crate) fn input(host: &TestHost, service: &Deployed) -> Self {
        let (path, token) = (service.path.clone(), service.token.clone());
        Self { client: host.client(), address: host.data, path, token, uid: "test".into() }
    }

    pub(crate) fn sink(host: &TestHost, service: &Deployed) -> Self {
        let path = format!("{}/sink", service.path);
        Self { path, ..Self::input(host, service) }
    }

    /// The same queue, as another consumer.
    pub(crate) fn named(self, uid: &str) -> Self {
        Self { uid: uid.to_owned(), ..self }
    }

    pub(crate) fn ask(&mut self, method: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let own = [("authorization", self.token.as_str()), ("X-EAS-QueueService-Redis-Uid", self.uid.as_str())];
        let target = format!("{}{query}", self.path);
        let answer = self.client.send(method, &target, &[&own, headers].concat(), body);
        // A connection has a limited number of requests.
        if answer.closes() {
            self.client = Client::connect(self.address);
        }
        answer
    }

    /// Puts an item, and returns its index and its request id.
    pub(crate) fn put(&mut self, query: &str, body: &[u8]) -> (u64, String) {
        let answer = self.ask("POST", query, &[], body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.header("x-eas-queueservice-request-id").expect("a request id").to_owned();
        (answer.text().parse().expect("an index"), id)
    }

    /// Gets and removes items.
    pub(crate) fn get(&mut self, query: &str) -> Vec<Got> {
        let answer = self.ask("GET", &format!("?_raw_=false&{query}"), &[], b"");
        match answer.status {
            204 => Vec::new(),
            200 => items(&answer.json()),
            _ => panic!("{}", answer.text()),
        }
    }

    pub(crate) fn attribute(&mut self, name: &str) -> String {
        self.ask("GET", "?_attrs_=true", &[], b"").json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the attribute has this value.
    pub(crate) fn wait_for(&mut self, host: &TestHost, name: &str, value: &str) {
        host.wait_for(&format!("{name} = {value}"), || self.attribute(name) == value);
    }
}

fn items(list: &Value) -> Vec<Got> {
    let item = |item: &Value| Got {
        index: item["index"].as_u64().expect("an index"),
        tags: item["tags"].clone(),
        data: base64(item["data"].as_str().expect("data")),
    };
    list.as_array().expect("a list").iter().map(item).collect()
}

/// Decodes Base64, in a decoder of its own.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte).expect("a digit") as u32;
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let digits: Vec<u32> = group.iter().filter(|byte| **byte != b'=').map(|byte| digit(*byte)).collect();
        let value = digits.iter().fold(0, |value, digit| value << 6 | digit) << (6 * (4 - digits.len()));
        bytes.extend_from_slice(&value.to_be_bytes()[1..digits.len()]);
    }
    bytes
}
