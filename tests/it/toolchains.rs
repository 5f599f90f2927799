//! Guests of every installable tool chain. Each deploys and answers, and none comes near a limit on uploads.
//!
//! `cargo xtask test` builds them and names those that could not be built. Run alone, a test uses the guests of an
//! earlier `cargo xtask setup`. See `tests/toolchains`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::figures::must;
use crate::host::{Deployed, TestHost};
use crate::http::Response;

/// Returns the component of that name, if it was built.
fn made(name: &str) -> Option<Vec<u8>> {
    let directory = std::env::var_os("BULKHEAD_TOOLCHAINS")
        .map_or_else(|| bulkhead_artifacts::root().join("target/toolchains/guests"), PathBuf::from);
    let found = std::fs::read(directory.join(format!("{name}.wasm"))).ok();
    if found.is_none() {
        println!("skipped: there is no guest {name}; `cargo xtask setup` makes it where its tool chain can be had");
    }
    found
}

fn deploy(host: &TestHost, component: &[u8], keys: Value) -> Response {
    let mut all = json!({"metadata": {"rpc": {"worker_threads": 2, "keepalive": 20_000}}});
    for (key, value) in keys.as_object().expect("an object") {
        all[key] = value.clone();
    }
    host.try_deploy_bytes("guest", component, all)
}

fn service(deployed: &Response) -> Deployed {
    assert_eq!(deployed.status, 201, "{}", deployed.text());
    let token = deployed.json()["token"].as_str().expect("a token").to_owned();
    Deployed { path: "/api/predict/guest".into(), token }
}

/// Deploys a guest that answers its configuration followed by the request's body, and calls it.
fn echoes(name: &str, component: &[u8]) {
    let host = TestHost::start();
    let service = service(&deploy(&host, component, json!({"model_config": "heard: "})));
    let mut client = host.client();
    for body in ["", "one", "two and a half"] {
        let answer = client.post(&service, body.as_bytes());
        assert_eq!((answer.status, answer.text()), (200, format!("heard: {body}")), "{name}");
    }
    must(&format!("toolchains.{name}"), "deploys and answers", component.len(), true);
}

fn refused(component: &[u8], told: &[&str]) {
    let host = TestHost::start();
    let answer = deploy(&host, component, json!({}));
    let text = answer.text();
    assert_eq!(answer.status, 400, "{text}");
    for told in told {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn c() {
    echoes("c", include_bytes!("../toolchains/c.wasm"));
}

/// The stack of clang's guests is in the middle of the memory, between data and heap. Its overflow is still detected.
#[test]
fn c_that_recurses() {
    let host = TestHost::start();
    let service = service(&deploy(&host, include_bytes!("../toolchains/c.wasm"), json!({})));
    let deep = Deployed { path: format!("{}/recurse", service.path), token: service.token.clone() };
    let problem = host.client().post(&deep, b"").assert_problem(400, "processor_exception");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("call stack exhausted, in descend"), "{detail}");
    assert_eq!(host.client().post(&service, b"next").text(), "next");
}

#[test]
fn quickjs() {
    let Some(component) = made("quickjs") else { return };
    echoes("quickjs", &component);
}

/// The functions of this component are asynchronous; the refusal names the tool's option for synchronous ones.
#[test]
fn quickjs_without_its_switch() {
    let Some(component) = made("quickjs-async") else { return };
    refused(&component, &["asynchronous", "--sync"]);
}

#[test]
fn starlingmonkey() {
    let Some(component) = made("starlingmonkey") else { return };
    echoes("starlingmonkey", &component);
}

/// The tool's defaults make a component that also imports `wasi:http`, which it can do without.
#[test]
fn starlingmonkey_without_its_switch() {
    let Some(component) = made("starlingmonkey-http") else { return };
    echoes("starlingmonkey-http", &component);
}

#[test]
fn python() {
    let Some(component) = made("python") else { return };
    let host = TestHost::start();
    let service = service(&deploy(&host, &component, json!({})));
    let answer = host.client().post(&service, b"abc");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    must("toolchains.python", "deploys and answers", component.len(), true);
}
