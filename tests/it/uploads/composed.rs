//! Processors composed of several components: they work, and the host counts all resources that they take.

use bulkhead_hostile::{Expect, composed, growers, processor};
use serde_json::json;

use super::sizes::peak_kib;
use crate::figures::must;
use crate::host::{Deployed, TestHost};

/// The most MiB by which the host may grow for any upload.
const MOST_GROWN: u64 = 64;

/// Two components and a string between them: the engine's adapter copies from one memory to the other.
#[test]
fn a_processor_of_two_components_answers() {
    let host = TestHost::start();
    for (fuel, isolation) in [(json!(1_000_000), "reuse"), (json!("unlimited"), "fresh")] {
        let keys = json!({"sandbox": {"fuel": fuel, "isolation": isolation}});
        let answer = host.try_deploy_bytes("two", &composed(""), keys);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.json()["token"].as_str().expect("a token").to_owned();
        for path in ["", "/a", "/four"] {
            let service = Deployed { path: format!("/api/predict/two{path}"), token: token.clone() };
            let answer = host.client().post(&service, b"");
            assert_eq!((answer.status, answer.body.as_slice()), (200, [path.len() as u8, 0, 0, 0].as_slice()));
        }
        let shown = host.call_admin("GET", "/api/v1/services/two", b"").json();
        let reason = shown["snapshot"]["reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains("nested components with modules"), "{reason}");
        assert!(host.call_admin("DELETE", "/api/v1/services/two", b"").status < 300);
    }
}

/// A module with two memories: the snapshot also contains the second one's state after `initialize`.
#[test]
fn a_snapshot_has_all_memories_of_a_module() {
    let host = TestHost::start();
    let component = processor(
        r#"(memory (export "memory") 2)
           (memory $second 1)
           (func $init (result i32) (i32.store $second (i32.const 8) (i32.const 77)) (i32.const 1024))
           (func $polite (result i32)
                (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
                (i32.store (i32.const 2048) (i32.load $second (i32.const 8)))
                (i32.store (i32.const 1052) (i32.const 2048))
                (i32.store (i32.const 1056) (i32.const 4))
                (i32.const 1024))"#,
    );
    let answer = host.try_deploy_bytes("two", &component, json!({"sandbox": {"isolation": "fresh"}}));
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(host.call_admin("GET", "/api/v1/services/two", b"").json()["snapshot"], json!({"taken": true}));
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let service = Deployed { path: "/api/predict/two".into(), token };
    for _ in 0..3 {
        let answer = host.client().send("GET", &service.path, &[("authorization", &service.token)], b"");
        assert_eq!((answer.status, answer.body.as_slice()), (200, [77, 0, 0, 0].as_slice()));
    }
}

/// Components that are small to send and would be large in the host's own memory are refused, with the right reason.
#[test]
fn no_upload_makes_the_host_grow() {
    let host = TestHost::start();
    // Memory that the host takes once, for its engine and its first deploy, is not counted.
    let first = host.try_deploy_bytes("first", &composed(""), json!({}));
    assert_eq!(first.status, 201, "{}", first.text());
    let before = peak_kib(&host);
    for grower in growers() {
        let answer = host.try_deploy_bytes("grower", &grower.component, json!({}));
        let text = answer.text();
        match grower.expect {
            Expect::Refused(told) => {
                assert!(answer.status == 400 && text.contains("processor_refused"), "{}: {text}", grower.id);
                assert!(text.contains(told), "{} {}: {text}", grower.id, grower.title);
            }
            _ => {
                assert_eq!(answer.status, 201, "{}: {text}", grower.id);
                assert!(host.call_admin("DELETE", "/api/v1/services/grower", b"").status < 300);
            }
        }
        let grown = peak_kib(&host).saturating_sub(before) >> 10;
        assert!(grown <= MOST_GROWN, "{} {}: it grew by {grown} MiB", grower.id, grower.title);
    }
    let grown = peak_kib(&host).saturating_sub(before) >> 10;
    must("uploads.growers_grown_mib", "at most 64 MiB for all of them", grown, grown <= MOST_GROWN);
}
