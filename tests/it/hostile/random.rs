//! Random modules: the host must survive each and report its outcome.

use serde_json::json;

use super::{polite_answer, try_deploy};
use crate::figures::{must, rounds};
use crate::host::{Deployed, TestHost};

/// The first seed. Each seed makes the same module on every machine, so that a failing seed can be repeated.
const FIRST_SEED: u64 = 20_000;

#[test]
fn the_host_outlives_random_modules() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let modules = rounds(60, 2000);
    let (mut refused, mut answered, mut failed) = (0, 0, 0);
    for seed in FIRST_SEED..FIRST_SEED + modules as u64 {
        let component = bulkhead_hostile::random(seed);
        let sandbox = json!({"fuel": 20_000_000, "memory_mb": 64, "initialize_timeout_ms": 1000});
        let answer = try_deploy(&host, "random", &component, sandbox, 1000);
        if answer.status != 201 {
            let code = answer.json()["code"].clone();
            assert_eq!(
                (answer.status, code.as_str()),
                (400, Some("processor_refused")),
                "seed {seed}: {}",
                answer.text()
            );
            refused += 1;
            continue;
        }
        let token = answer.json()["token"].as_str().expect("a token").to_owned();
        let service = Deployed { path: "/api/predict/random".into(), token };
        for _ in 0..3 {
            let answer = host.client().post(&service, b"");
            match answer.status {
                200 => answered += 1,
                400 | 408 => failed += 1,
                status => panic!("seed {seed}: {status} {}", answer.text()),
            }
            assert_eq!(polite_answer(&host, &service).status, 200, "seed {seed}: a guest that is asked for nothing");
        }
        assert_eq!(host.client().post(&echo, b"beside").body, b"beside", "seed {seed}");
        assert!(host.call_admin("DELETE", "/api/v1/services/random", b"").status < 300);
    }
    let measured = json!({"modules": modules, "refused": refused, "answered": answered, "failed": failed});
    must(
        "hostile.random_modules",
        "every one refused, answered or failed cleanly",
        measured,
        answered > 0 && failed > 0,
    );
}
