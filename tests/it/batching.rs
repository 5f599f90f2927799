//! Services that answer requests in batches: each request keeps its own answer, status, deadline and account.

use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost, terminate};
use crate::http::{Client, Response, request};

const QUEUED: &str = "bulkhead_queue_depth{service=\"svc\",instance=\"0\"}";
const BUSY: &str = "bulkhead_workers_busy{service=\"svc\",instance=\"0\"}";
const BATCHES: &str = "bulkhead_batch_size_count{service=\"svc\"}";

/// Deploys a service with one worker whose batches start when they are full. No deadline passes within a test unless
/// `rpc` sets one.
fn service(host: &TestHost, size: usize, rpc: Value, sandbox: Value) -> Deployed {
    let mut all = json!({"batching": true, "max_batch_size": size, "max_batch_timeout": 50_000, "worker_threads": 1,
        "keepalive": 60_000});
    for (key, value) in rpc.as_object().expect("an object") {
        all[key] = value.clone();
    }
    host.deploy("svc", "faults", json!({"metadata": {"rpc": all}, "sandbox": sandbox}))
}

/// Sends a request with this id and returns its client.
fn send(host: &TestHost, service: &Deployed, id: &str, deed: &Value) -> Client {
    let mut client = host.client();
    let headers = [("authorization", service.token.as_str()), ("x-request-id", id)];
    client.write(&request("POST", &service.path, &headers, deed.to_string().as_bytes()));
    client
}

/// Returns the answers to these requests, which form one batch. Their ids are their positions in it.
fn together(host: &TestHost, service: &Deployed, deeds: &[Value]) -> Vec<Response> {
    let mut clients: Vec<_> = (0_u64..)
        .zip(deeds)
        .map(|(index, deed)| {
            // Sent one after the other, so that this is their order in the batch.
            wait_until(host, QUEUED, index);
            send(host, service, &format!("r{index}"), deed)
        })
        .collect();
    clients.iter_mut().map(|client| client.read("POST")).collect()
}

fn wait_until(host: &TestHost, line: &str, value: u64) {
    host.wait_for(&format!("{line} to be {value}"), || host.metric(line) == value);
}

fn restarts(host: &TestHost, fault: &str) -> u64 {
    host.metric(&format!("bulkhead_instance_restarts_total{{service=\"svc\",fault=\"{fault}\"}}"))
}

/// Waits until the worker is free after a guest was lost, and returns the number of guests lost with that fault.
///
/// The loss is counted shortly after the callers of a batch are answered and its guest is stopped.
fn losses(host: &TestHost, fault: &str) -> u64 {
    wait_until(host, BUSY, 0);
    host.wait_for("the lost guest to be counted", || restarts(host, fault) > 0);
    restarts(host, fault)
}

/// Returns the number of requests that ran in batches.
fn batched(host: &TestHost) -> String {
    let text = host.get_admin("/metrics").text();
    let sum = text.lines().find_map(|line| line.strip_prefix("bulkhead_batch_size_sum{service=\"svc\"} "));
    sum.expect("batches are counted").to_owned()
}

fn batch() -> Value {
    json!({"do": "batch"})
}

#[test]
fn a_full_batch_is_one_call_and_everyone_gets_its_own_answer() {
    let host = TestHost::start();
    let service = service(&host, 3, json!({}), json!({}));
    let answers = together(&host, &service, &[batch(), batch(), batch()]);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json(), json!({"batch": 3, "request_id": format!("r{index}")}));
        assert_eq!(answer.header("x-request-id"), Some(format!("r{index}").as_str()));
    }
    assert_eq!((host.metric(BATCHES), batched(&host).as_str()), (1, "3.0"));
    host.wait_for("three lines in the log", || host.log().matches(" batch=3 fuel=").count() == 3);
}

#[test]
fn many_clients_at_once_are_never_mixed_up_and_no_batch_is_too_large() {
    let host = TestHost::start();
    let rpc = json!({"max_batch_timeout": 5, "worker_threads": 2});
    let service = service(&host, 4, rpc, json!({}));
    const CLIENTS: usize = 8;
    const TURNS: usize = 25;
    let largest = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (host, service) = (&host, &service);
                scope.spawn(move || {
                    let mut connection = host.client();
                    let mut largest = 0;
                    for turn in 0..TURNS {
                        let id = format!("c{client}-{turn}");
                        let headers = [("authorization", service.token.as_str()), ("x-request-id", id.as_str())];
                        let body = batch().to_string();
                        let answer = connection.send("POST", &service.path, &headers, body.as_bytes());
                        assert_eq!((answer.status, &answer.json()["request_id"]), (200, &json!(id)));
                        largest = largest.max(answer.json()["batch"].as_u64().expect("a number"));
                    }
                    largest
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("its answers are its own")).max()
    });
    assert!(largest.is_some_and(|largest| largest <= 4), "{largest:?}");
    assert_eq!(batched(&host), format!("{}.0", CLIENTS * TURNS));
}

#[test]
fn a_batch_that_does_not_fill_leaves_at_its_time() {
    let host = TestHost::start();
    let service = service(&host, 16, json!({"max_batch_timeout": 20}), json!({}));
    let answers = together(&host, &service, &[batch()]);
    assert_eq!(answers[0].json()["batch"], 1);
}

#[test]
fn a_request_that_fails_alone_does_not_fail_its_batch() {
    let host = TestHost::start();
    let service = service(&host, 4, json!({}), json!({"max_response_bytes": 100}));
    let declines = json!({"do": "status", "status": 422, "message": "no such colour"});
    let answers = together(&host, &service, &[batch(), declines, json!({"do": "batch"}), json!({"do": "nothing"})]);
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 422, 200, 422]);
    assert_eq!((answers[1].text(), &answers[2].json()["batch"]), ("no such colour".to_owned(), &json!(4)));
    assert_eq!(restarts(&host, "panic"), 0, "to decline is no fault");

    let answers = together(&host, &service, &[batch(), json!({"do": "body", "bytes": 101}), batch(), batch()]);
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 400, 200, 200]);
    let problem = answers[1].assert_problem(400, "processor_exception");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("its body has 101 bytes")), "{problem}");
    assert_eq!((restarts(&host, "bad_answer"), answers[3].json()["batch"].clone()), (1, json!(4)));
}

#[test]
fn after_a_fault_the_others_are_answered_one_by_one_and_only_the_one_at_fault_is_told() {
    for snapshot in [true, false] {
        let host = TestHost::start();
        let sandbox = json!({"snapshot": snapshot, "fuel": 200_000_000});
        let service = service(&host, 4, json!({}), sandbox);
        let panics = json!({"do": "panic", "message": "out of cheese"});
        let burns = json!({"do": "burn", "rounds": 1_000_000_000});
        let answers = together(&host, &service, &[batch(), panics, batch(), burns]);
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 400, 200, 400]);
        assert_eq!(answers[0].json(), json!({"batch": 0, "request_id": "r0"}), "by itself");
        assert_eq!(answers[2].json(), json!({"batch": 0, "request_id": "r2"}));
        let problem = answers[1].assert_problem(400, "processor_exception");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("out of cheese")), "{problem}");
        answers[3].assert_problem(400, "fuel_exhausted");
        // The batch and the faulty request each lost one guest.
        assert_eq!((restarts(&host, "panic"), restarts(&host, "fuel_exhausted")), (2, 1));
        wait_until(&host, BUSY, 0);
        let next = together(&host, &service, &[batch(), batch(), batch(), batch()]);
        assert!(next.iter().all(|answer| answer.json()["batch"] == 4), "the service goes on");
    }
}

#[test]
fn a_wrong_number_of_answers_is_told_to_all() {
    let host = TestHost::start();
    let service = service(&host, 2, json!({}), json!({}));
    for answer in together(&host, &service, &[batch(), json!({"do": "batch", "miscount": true})]) {
        let problem = answer.assert_problem(400, "processor_exception");
        let told = "process-batch returned 1 results for 2 requests";
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{problem}");
    }
    assert_eq!(restarts(&host, "bad_answer"), 1);
}

#[test]
fn a_deadline_that_passes_while_the_batch_runs_is_that_requests_alone() {
    let host = TestHost::start();
    let rpc = json!({"keepalive": 4000, "max_batch_timeout": 3900});
    let service = service(&host, 2, rpc, json!({}));
    let mut early = send(&host, &service, "early", &batch());
    // The two deadlines are as far apart as the two requests.
    std::thread::sleep(Duration::from_secs(2));
    let mut late = send(&host, &service, "late", &json!({"do": "sleep", "ms": 3000}));
    let problem = early.read("POST").assert_problem(408, "deadline_exceeded");
    assert!(problem["spent_ms"]["queue"].as_f64().is_some_and(|ms| ms > 1000.0), "it waited for its batch: {problem}");
    assert_eq!(late.read("POST").json(), json!({"slept_ms": 3000}));
    assert_eq!(restarts(&host, "deadline_exceeded"), 0);
}

#[test]
fn a_batch_of_which_nobody_has_time_left_is_stopped() {
    let host = TestHost::start();
    let rpc = json!({"keepalive": 500, "max_batch_timeout": 400});
    let service = service(&host, 2, rpc, json!({}));
    for answer in together(&host, &service, &[json!({"do": "loop"}), batch()]) {
        answer.assert_problem(408, "deadline_exceeded");
    }
    assert_eq!(losses(&host, "deadline_exceeded"), 1);
}

/// Regression test: when the grace period is over, no caller waits for the batch any more. The log said that all
/// clients had disconnected.
#[test]
fn a_batch_whose_grace_is_over_is_stopped_for_that_reason() {
    let host = TestHost::start();
    let rpc = json!({"batching": true, "max_batch_size": 2, "max_batch_timeout": 50_000, "worker_threads": 1,
        "keepalive": 60_000});
    let service =
        host.deploy("svc", "faults", json!({"metadata": {"rpc": rpc, "eas": {"termination_grace_period": 0}}}));
    let mut clients =
        [send(&host, &service, "first", &json!({"do": "loop"})), send(&host, &service, "second", &batch())];
    wait_until(&host, BUSY, 1);
    let body = json!({"spec": {"metadata": {"rpc": {"worker_threads": 2}}}}).to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes()).status, 200);
    for client in &mut clients {
        client.read("POST").assert_problem(503, "draining");
    }
    assert_eq!(losses(&host, "grace_over"), 1);
    assert_eq!(restarts(&host, "client_closed"), 0);
    host.wait_for("the log to say so", || {
        let log = host.log();
        log.lines().any(|line| line.contains("the guest was stopped") && line.contains("fault=grace_over"))
    });
}

#[test]
fn who_leaves_while_waiting_is_taken_out_and_the_rest_is_one_batch() {
    let host = TestHost::start();
    let service = service(&host, 2, json!({}), json!({}));
    let gone = send(&host, &service, "gone", &json!({"do": "panic"}));
    wait_until(&host, QUEUED, 1);
    drop(gone);
    wait_until(&host, QUEUED, 0);
    let answers = together(&host, &service, &[batch(), batch()]);
    assert!(answers.iter().all(|answer| answer.json()["batch"] == 2), "{}", answers[0].text());
    assert_eq!(host.metric("bulkhead_requests_total{service=\"svc\",status=\"499\"}"), 1);
}

#[test]
fn who_leaves_during_the_run_is_499_and_when_all_have_left_the_guest_is_stopped() {
    let host = TestHost::start();
    let service = service(&host, 2, json!({}), json!({}));
    let first = send(&host, &service, "first", &json!({"do": "loop"}));
    wait_until(&host, QUEUED, 1);
    let second = send(&host, &service, "second", &batch());
    wait_until(&host, BUSY, 1);
    drop(first);
    host.wait_for("the first to be counted", || {
        host.metric("bulkhead_requests_total{service=\"svc\",status=\"499\"}") == 1
    });
    assert_eq!(host.metric(BUSY), 1, "the other one still waits for its answer");
    drop(second);
    assert_eq!(losses(&host, "client_closed"), 1);
}

#[test]
fn the_queue_is_full_at_exactly_its_size() {
    let host = TestHost::start();
    let service = service(&host, 2, json!({"max_queue_size": 3}), json!({}));
    let mut running: Vec<Client> = Vec::new();
    for index in 0..2 {
        wait_until(&host, QUEUED, index);
        running.push(send(&host, &service, "runs", &json!({"do": "sleep", "ms": 2000})));
    }
    wait_until(&host, BUSY, 1);
    let mut waiting: Vec<Client> = Vec::new();
    for index in 0..3 {
        wait_until(&host, QUEUED, index);
        waiting.push(send(&host, &service, "waits", &batch()));
    }
    wait_until(&host, QUEUED, 3);
    let mut client = host.client();
    client.post(&service, b"{}").assert_problem(450, "queue_full");
    assert!(running.iter_mut().all(|client| client.read("POST").status == 200));
    assert!(waiting.iter_mut().take(2).all(|client| client.read("POST").json()["batch"] == 2));
    let mut next = send(&host, &service, "next", &batch());
    assert_eq!(next.read("POST").json()["batch"], 2, "it goes with the one that was left");
    assert_eq!(waiting[2].read("POST").status, 200);
}

#[test]
fn a_request_that_waits_for_its_batch_is_answered_before_the_host_ends() {
    let mut host = TestHost::start();
    let service = service(&host, 2, json!({"max_batch_timeout": 1000}), json!({}));
    let mut client = send(&host, &service, "last", &batch());
    wait_until(&host, QUEUED, 1);
    terminate(host.pid());
    assert!(host.end().success());
    assert_eq!(client.read("POST").json(), json!({"batch": 1, "request_id": "last"}));
}

#[test]
fn log_lines_belong_to_the_request_that_says_them() {
    let host = TestHost::start();
    let service = service(&host, 2, json!({}), json!({}));
    let says = |bytes: usize| json!({"do": "log", "bytes": bytes});
    let answers = together(&host, &service, &[says(3), says(4)]);
    assert!(answers.iter().all(|answer| answer.status == 200));
    for (id, text) in [("r0", ": xxx "), ("r1", ": xxxx ")] {
        let said = |line: &str| line.contains(text) && line.contains(&format!("request_id={id}"));
        host.wait_for(&format!("the line of {id}"), || host.log().lines().any(said));
    }
}

#[test]
fn a_processor_without_a_batch_entry_is_told_what_to_export() {
    let host = TestHost::start();
    let refused = host.try_deploy("svc", "echo", json!({"metadata": {"rpc": {"batching": true}}}));
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    for part in ["metadata.rpc.batching is true", "does not export process-batch", "export_batch!"] {
        assert!(refused.text().contains(part), "{}", refused.text());
    }
    let alone = host.deploy("alone", "faults", json!({}));
    let answer = host.client().post(&alone, batch().to_string().as_bytes());
    assert_eq!(answer.json()["batch"], 0, "an entry that the service does not use");
}
