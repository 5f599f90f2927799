//! A place in the pool is clean for a guest that starts from an image, whatever the guest before wrote and however it
//! ended. The canary of `hostile::canary` also fills its table, so no snapshot can be taken of it.

use serde_json::json;

use super::{LEFT, number, try_deploy};
use crate::figures::{must, rounds};
use crate::host::{Deployed, TestHost};

/// Makes a guest that fills all of its memory, grown, on a POST, and ends. On a GET it answers the number of words that
/// differ from the state after `initialize`, before and after growing.
fn scribbler(end: &str) -> Vec<u8> {
    bulkhead_hostile::processor(&format!(
        r#"(memory (export "memory") 2)
        (global $mark (mut i64) (i64.const 0))
        (func $init (result i32)
            (drop (memory.grow (i32.const 16)))
            (i64.store (i32.const 1000000) (i64.const {LEFT}))
            (i32.const 1024))
        ;; Below 128 KiB it keeps its arguments and its answer.
        (func $wrong (result i32) (local $at i32) (local $count i32)
            (local.set $at (i32.const 131072))
            (loop $again
                (local.set $count (i32.add (local.get $count) (i64.ne
                    (i64.load (local.get $at))
                    (select (i64.const {LEFT}) (i64.const 0) (i32.eq (local.get $at) (i32.const 1000000))))))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $again (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
            (i32.add (local.get $count) (i64.ne (global.get $mark) (i64.const 0))))
        (func $polite (result i32) (local $count i32)
            (local.set $count (call $wrong))
            (drop (memory.grow (i32.const 36)))
            (local.set $count (i32.add (local.get $count) (call $wrong)))
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
            (i32.store (i32.const 2048) (local.get $count))
            (i32.store (i32.const 1052) (i32.const 2048))
            (i32.store (i32.const 1056) (i32.const 4))
            (i32.const 1024))
        (func $act
            (drop (memory.grow (i32.const 36)))
            (memory.fill (i32.const 131072) (i32.const 92)
                (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 131072)))
            (global.set $mark (i64.const 1))
            {end})
        (func $answer (result i32)
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
            (i32.const 1024))"#
    ))
}

#[test]
fn nothing_is_left_for_the_next_guest_of_an_image() {
    let host = TestHost::start();
    let deploy = |name: &str, end: &str| {
        let keys = json!({"name": name, "sandbox": {"isolation": "fresh"}, "metadata": {"rpc": {"worker_threads": 1}}});
        let answer = try_deploy(&host, &host.upload_bytes(&scribbler(end)), keys, json!([]));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let described = host.call_admin("GET", &format!("/api/v1/services/{name}"), b"").json();
        assert_eq!(described["snapshot"], json!({"taken": true}));
        Deployed { path: format!("/api/predict/{name}"), token: "t".into() }
    };
    let services = [(deploy("answers", ""), 200), (deploy("traps", "(unreachable)"), 400)];
    let rounds = rounds(200, 2000);
    let mut client = host.client();
    let mut hits = 0;
    for _ in 0..rounds {
        for (service, status) in &services {
            assert_eq!(client.post(service, b"").status, *status);
            // The next guest of the same image, and one of the other image.
            for (next, _) in &services {
                hits += number(&client.send("GET", &next.path, &[("authorization", "t")], b""));
            }
        }
    }
    must("snapshots.canary.requests", "each end many times", rounds * services.len(), true);
    must("snapshots.canary.hits", "0 words of another guest seen", hits, hits == 0);
}
