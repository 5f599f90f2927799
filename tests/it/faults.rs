//! Every way in which a guest can misbehave. Each costs exactly one request.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, request};

/// Deploys with one worker, so that the next request gets the instance after the fault.
fn faults(host: &TestHost, keys: Value) -> Deployed {
    let mut all = json!({"metadata": {"rpc": {"worker_threads": 1}}});
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    host.deploy("faults", "faults", all)
}

fn calls(client: &mut Client, service: &Deployed) -> u64 {
    let response = client.post(service, br#"{"do":"flag"}"#);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["calls"].as_u64().expect("a count")
}

/// Causes a fault. Checks the status and code of its answer, and that the next request gets a clean guest.
fn provoke(keys: Value, what: &Value, status: u16, code: &str, detail: &str, fault: &str) {
    let host = TestHost::start();
    let service = faults(&host, keys);
    let mut client = host.client();
    let before = calls(&mut client, &service);
    assert_eq!(calls(&mut client, &service), before + 1, "a guest that is whole is used again");
    let problem = client.post(&service, what.to_string().as_bytes()).assert_problem(status, code);
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    assert_eq!(calls(&mut client, &service), before, "the guest that failed is gone");
    let restarts = format!("bulkhead_instance_restarts_total{{service=\"faults\",fault=\"{fault}\"}}");
    assert_eq!(host.metric(&restarts), 1);
}

#[test]
fn panic_says_its_message_and_line() {
    let what = json!({"do": "panic", "message": "no such luck"});
    provoke(json!({}), &what, 400, "processor_exception", "no such luck, at faults/src/", "panic");
}

#[test]
fn trap() {
    let told = "the processor trapped: unreachable executed, in ";
    provoke(json!({}), &json!({"do": "trap"}), 400, "processor_exception", told, "trap");
}

#[test]
fn trap_with_the_services_own_status() {
    let keys = json!({"sandbox": {"trap_status": 470}});
    provoke(keys, &json!({"do": "trap"}), 470, "processor_exception", "unreachable", "trap");
}

#[test]
fn recursion() {
    for (what, function) in
        [(json!({"do": "recurse"}), "::descend"), (json!({"do": "recurse", "large": true}), "::descend_with_room")]
    {
        let told = format!("call stack exhausted, in faults::strain{function}");
        provoke(json!({}), &what, 400, "processor_exception", &told, "stack_overflow");
    }
}

/// The log shows the operator where a guest failed, whatever the service shows its callers.
#[test]
fn the_stack_of_a_fault_is_in_the_log() {
    let host = TestHost::start();
    let service = faults(&host, json!({}));
    for (what, kind, function) in [
        (json!({"do": "panic"}), "panic", "faults::Faults"),
        (json!({"do": "trap"}), "trap", "faults::strain::trap"),
        (json!({"do": "recurse"}), "stack_overflow", "faults::strain::descend <- faults::strain::descend"),
    ] {
        let problem =
            host.client().post(&service, what.to_string().as_bytes()).assert_problem(400, "processor_exception");
        assert_eq!(problem.get("stack"), None, "callers are shown none");
        let request_id = problem["request_id"].as_str().expect("an id");
        let is_told = |line: &str| {
            line.contains(" WARN processor")
                && line.contains(request_id)
                && line.contains(&format!("fault={kind} "))
                && line.split_once("stack=").is_some_and(|(_, stack)| stack.contains(function))
        };
        host.wait_for("the stack in the log", || host.log().lines().any(is_told));
    }
}

/// The last fault that the host shows for an instance is in its log as well.
#[test]
fn a_guest_that_was_stopped_at_its_deadline_is_in_the_log() {
    let host = TestHost::start();
    for (name, batching) in [("alone", false), ("batched", true)] {
        let rpc = json!({"worker_threads": 1, "keepalive": 300, "batching": batching});
        let service = host.deploy(name, "faults", json!({"metadata": {"rpc": rpc}}));
        let problem = host.client().post(&service, br#"{"do":"loop"}"#).assert_problem(408, "deadline_exceeded");
        let request_id = format!(" request_id={}", problem["request_id"].as_str().expect("an id"));
        let is_told = |line: &str| {
            let run_ms = line.split_once(" run_ms=").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
            line.contains(" WARN processor: the guest was stopped: the call was not answered in time")
                && line.contains(&format!(" service={name} version=1 "))
                && line.contains(&request_id)
                && line.contains(" fault=deadline_exceeded")
                && run_ms.is_some_and(|ms| ms > 100)
        };
        host.wait_for("the line", || host.log().lines().filter(|line| is_told(line)).count() == 1);
    }
}

#[test]
fn memory() {
    let keys = json!({"sandbox": {"memory_mb": 16}});
    provoke(keys, &json!({"do": "alloc"}), 400, "processor_exception", "16 MiB (sandbox.memory_mb)", "out_of_memory");
}

#[test]
fn fuel() {
    let keys = json!({"sandbox": {"fuel": 50_000_000, "fuel_status": 471}});
    provoke(keys, &json!({"do": "loop"}), 471, "fuel_exhausted", "50000000", "fuel_exhausted");
}

#[test]
fn bad_answers() {
    for status in [101, 199, 600, 999] {
        let what = json!({"do": "headers", "headers": [], "status": status, "body": ""});
        provoke(json!({}), &what, 400, "processor_exception", "200 to 599", "bad_answer");
    }
    let split = json!({"do": "headers", "headers": [["x", "a\r\nset-cookie: b"]], "status": 200, "body": ""});
    provoke(json!({}), &split, 400, "processor_exception", "one line of text", "bad_answer");
    let long = json!({"do": "body", "bytes": 2000});
    provoke(
        json!({"sandbox": {"max_response_bytes": 1000}}),
        &long,
        400,
        "processor_exception",
        "max_response_bytes",
        "bad_answer",
    );
}

#[test]
fn a_loop_is_stopped_at_its_deadline_and_its_worker_is_whole_again() {
    for fuel in [json!(100_000_000_000_u64), json!("unlimited")] {
        let host = TestHost::start();
        let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 300}}, "sandbox": {"fuel": fuel}});
        let service = faults(&host, keys);
        let mut client = host.client();
        let response = client.post(&service, br#"{"do":"loop"}"#);
        let problem = response.assert_problem(408, "deadline_exceeded");
        assert!(problem["spent_ms"]["run"].as_f64().is_some_and(|ms| ms > 250.0), "{problem}");
        assert!(response.closes() && client.is_closed());
        assert_eq!(calls(&mut host.client(), &service), 1, "with fuel {fuel}");
    }
}

#[test]
fn a_sleep_is_stopped_at_its_deadline() {
    let host = TestHost::start();
    let service = faults(&host, json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 200}}}));
    host.client().post(&service, br#"{"do":"sleep","ms":60000}"#).assert_problem(408, "deadline_exceeded");
    assert_eq!(calls(&mut host.client(), &service), 1);
}

#[test]
fn a_processor_chooses_its_own_status_and_words() {
    let host = TestHost::start();
    let service = faults(&host, json!({}));
    let mut client = host.client();
    let failed = client.post(&service, br#"{"do":"status","status":422,"message":"age is missing","as":"error"}"#);
    assert_eq!((failed.status, failed.text().as_str()), (422, "age is missing"));
    assert_eq!(failed.header("x-content-type-options"), Some("nosniff"), "no browser takes its words for a page");
    let answered = client.post(&service, br#"{"do":"status","status":201,"message":"made","as":"response"}"#);
    assert_eq!((answered.status, answered.text().as_str()), (201, "made"));
    assert_eq!(calls(&mut client, &service), 3, "to decline is no fault");
}

#[test]
fn a_guest_cannot_touch_the_framing() {
    let host = TestHost::start();
    let service = faults(&host, json!({}));
    let headers = json!([
        ["content-length", "3"],
        ["transfer-encoding", "chunked"],
        ["connection", "close"],
        ["upgrade", "x"],
        ["trailer", "x"],
        ["date", "x"],
        ["server", "x"],
        ["set-cookie", "a=b"],
        ["x-mine", "kept"]
    ]);
    let what = json!({"do": "headers", "headers": headers, "status": 200, "body": "whole body"}).to_string();
    let mut client = host.client();
    for _ in 0..20 {
        let response = client.post(&service, what.as_bytes());
        assert_eq!((response.status, response.text().as_str()), (200, "whole body"));
        assert_eq!(response.header("x-mine"), Some("kept"));
        assert_eq!(response.header("connection"), Some("keep-alive"), "the host's own word, and not the guest's");
        for dropped in ["upgrade", "trailer", "server", "set-cookie", "transfer-encoding"] {
            assert_eq!(response.header(dropped), None, "{dropped}");
        }
    }
}

#[test]
fn what_a_guest_says_is_in_the_log_under_its_request_and_bounded() {
    let host = TestHost::start();
    let service = faults(&host, json!({"sandbox": {"log_bytes_per_request": 1000}}));
    let headers = [("authorization", service.token.as_str()), ("x-request-id", "find-me")];
    let response = host.client().send("POST", &service.path, &headers, br#"{"do":"log","lines":50,"bytes":99}"#);
    assert_eq!(response.status, 200);
    host.wait_for("the last line", || host.log().contains("lines dropped"));
    let log = host.log();
    let said = log.lines().filter(|line| line.contains("xxxx") && line.contains("find-me")).count();
    // Each line costs its 99 bytes and 64 for its metadata.
    assert_eq!(said, 6);
    assert_eq!(host.metric("bulkhead_log_dropped_total{service=\"faults\"}"), 44);
}

#[test]
fn fresh_isolation_gives_every_request_a_new_guest() {
    let host = TestHost::start();
    let service = faults(&host, json!({"sandbox": {"isolation": "fresh"}}));
    let mut client = host.client();
    for _ in 0..5 {
        assert_eq!(calls(&mut client, &service), 1);
    }
}

#[test]
fn a_guest_is_replaced_after_the_requests_it_may_answer() {
    let host = TestHost::start();
    let service = faults(&host, json!({"sandbox": {"max_requests_per_instance": 2}}));
    let mut client = host.client();
    let seen: Vec<u64> = (0..6).map(|_| calls(&mut client, &service)).collect();
    assert_eq!(seen, [1, 2, 1, 2, 1, 2]);
}

#[test]
fn a_processor_sees_its_request_and_not_its_callers_secret() {
    let host = TestHost::start();
    let service = faults(
        &host,
        json!({"processor_envs": [{"name": "LEVEL", "value": "high"}], "model_config": {"initialize": "ok"}}),
    );
    let headers = [("authorization", service.token.as_str()), ("x-request-id", "id-1"), ("x-custom", "seen")];
    let response = host.client().send("POST", "/api/predict/faults/deep/er?a=b&c", &headers, br#"{"do":"inspect"}"#);
    let seen = response.json();
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["path"], "/deep/er");
    assert_eq!(seen["query"], "a=b&c");
    assert_eq!(seen["request_id"], "id-1");
    assert_eq!(seen["env"], json!({"LEVEL": "high"}));
    assert!(seen["remaining_ms"].as_u64().is_some_and(|ms| ms > 1000 && ms <= 5000));
    let headers = seen["headers"].to_string();
    assert!(headers.contains("\"seen\"") && !headers.contains(&service.token), "{headers}");
}

/// Makes every worker busy. Each returned connection waits for one of the answers.
fn occupy(host: &TestHost, service: &Deployed, workers: usize, what: &[u8]) -> Vec<Client> {
    let busy = (0..workers)
        .map(|_| {
            let mut client = host.client();
            client.write(&request("POST", &service.path, &[("authorization", &service.token)], what));
            client
        })
        .collect();
    let line = "bulkhead_workers_busy{service=\"faults\",instance=\"0\"}";
    host.wait_for("every worker to be busy", || host.metric(line) == workers as u64);
    busy
}

#[test]
fn s450_at_once_when_every_worker_is_busy_and_the_queue_is_full() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 2, "max_queue_size": 1, "keepalive": 3000}}});
    let service = host.deploy("faults", "faults", keys);
    let mut clients = occupy(&host, &service, 2, br#"{"do":"sleep","ms":1500}"#);
    let mut queued = host.client();
    queued.write(&request("POST", &service.path, &[("authorization", &service.token)], br#"{"do":"flag"}"#));
    host.wait_for("one to wait", || host.metric("bulkhead_queue_depth{service=\"faults\",instance=\"0\"}") == 1);
    let mut turned = host.client();
    let response = turned.post(&service, br#"{"do":"flag"}"#);
    let problem = response.assert_problem(450, "queue_full");
    assert_eq!(response.reason, "Queue Full");
    assert!(problem["hint"].is_string() && problem["spent_ms"].is_object());
    assert!(!response.closes());
    clients.push(queued);
    for client in &mut clients {
        assert_eq!(client.read("POST").status, 200, "who waits in turn is served");
    }
    assert_eq!(turned.post(&service, br#"{"do":"flag"}"#).status, 200);
}

#[test]
fn a_deadline_that_passes_in_the_queue_costs_no_worker() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "max_queue_size": 4, "keepalive": 600}}});
    let service = host.deploy("faults", "faults", keys);
    let mut running = occupy(&host, &service, 1, br#"{"do":"loop"}"#);
    let problem = host.client().post(&service, br#"{"do":"flag"}"#);
    // The worker becomes free at the first deadline. The second call may or may not have time left.
    assert!(matches!(problem.status, 200 | 408), "{}", problem.text());
    running[0].read("POST").assert_problem(408, "deadline_exceeded");
}

#[test]
fn s499_when_the_client_leaves_while_its_guest_computes() {
    for trailing in ["", "\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let host = TestHost::start();
        let service = faults(&host, json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 60_000}}}));
        let mut clients = occupy(&host, &service, 1, br#"{"do":"loop"}"#);
        clients[0].write(trailing.as_bytes());
        drop(clients);
        let left = "bulkhead_requests_total{service=\"faults\",status=\"499\"}";
        host.wait_for("the 499", || host.metric(left) == 1);
        assert_eq!(calls(&mut host.client(), &service), 1, "after {trailing:?}");
    }
}

#[test]
fn s499_when_the_client_leaves_the_queue_or_in_the_middle_of_its_body() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "max_queue_size": 4, "keepalive": 20_000}}});
    let service = host.deploy("faults", "faults", keys);
    let running = occupy(&host, &service, 1, br#"{"do":"loop"}"#);
    let whole = request("POST", &service.path, &[("authorization", &service.token)], br#"{"do":"flag"}"#);
    let mut queued = host.client();
    queued.write(&whole);
    host.wait_for("one to wait", || host.metric("bulkhead_queue_depth{service=\"faults\",instance=\"0\"}") == 1);
    drop(queued);
    host.wait_for("the queue to be empty", || {
        host.metric("bulkhead_queue_depth{service=\"faults\",instance=\"0\"}") == 0
    });
    drop(running);
    let mut half = host.client();
    half.write(&whole[..whole.len() - 4]);
    drop(half);
    host.wait_for("three 499", || host.metric("bulkhead_requests_total{service=\"faults\",status=\"499\"}") == 3);
    assert_eq!(calls(&mut host.client(), &service), 1, "the queued call never ran");
}

#[test]
fn several_instances_each_have_workers_of_their_own() {
    let host = TestHost::start();
    let keys =
        json!({"metadata": {"instance": 2, "rpc": {"worker_threads": 1, "max_queue_size": 0, "keepalive": 5000}}});
    let service = host.deploy("faults", "faults", keys);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..2 {
        let mut client = host.client();
        client.write(&request(
            "POST",
            &service.path,
            &[("authorization", &service.token)],
            br#"{"do":"sleep","ms":1000}"#,
        ));
        let busy = || {
            (0..2)
                .map(|i| host.metric(&format!("bulkhead_workers_busy{{service=\"faults\",instance=\"{i}\"}}")))
                .sum::<u64>()
        };
        clients.push(client);
        host.wait_for("one more to be busy", || busy() == clients.len() as u64);
    }
    host.client().post(&service, br#"{"do":"flag"}"#).assert_problem(450, "queue_full");
    for client in &mut clients {
        assert_eq!(client.read("POST").status, 200);
    }
}
