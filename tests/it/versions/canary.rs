//! Canaries: a new version that gets a share of the requests.

use serde_json::{Value, json};

use super::{assert_refused, described, go_back, keys, mark_on, marked, modify, numbers, post, svc, versions};
use crate::host::TestHost;
use crate::http::Response;

fn canary(host: &TestHost, mark: u64, weight: Value) -> Response {
    modify(host, json!({"spec": {"processor_envs": marked(mark)}, "canary": weight}))
}

fn release(host: &TestHost, weight: Value) -> Response {
    post(host, "release", json!({"weight": weight}))
}

fn start() -> TestHost {
    let host = TestHost::start();
    host.deploy("svc", "faults", keys(1));
    host
}

/// Returns how many of `count` requests the guests of each mark answer.
fn shares(host: &TestHost, count: usize, marks: [u64; 2]) -> [usize; 2] {
    let mut client = host.client();
    let answered: Vec<u64> = (0..count).map(|_| mark_on(&mut client)).collect();
    assert!(answered.iter().all(|mark| marks.contains(mark)), "{answered:?}");
    marks.map(|mark| answered.iter().filter(|answered| **answered == mark).count())
}

#[test]
fn a_canary_gets_its_share_to_the_request_and_survives_a_restart() {
    let host = start();
    let answer = canary(&host, 2, json!(10));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        (&answer.json()["version"], &answer.json()["canary"]),
        (&json!(1), &json!({"version": 2, "weight": 10}))
    );
    assert_eq!(shares(&host, 100, [1, 2]), [90, 10]);
    assert_eq!(release(&host, json!(50)).status, 200);
    assert_eq!(shares(&host, 20, [1, 2]), [10, 10]);
    assert_eq!(host.metric("bulkhead_version_requests_total{service=\"svc\",version=\"1\",status=\"200\"}"), 100);
    assert_eq!(host.metric("bulkhead_version_requests_total{service=\"svc\",version=\"2\",status=\"200\"}"), 20);
    let logged = |version: u64| host.log().matches(&format!(" service=svc version={version} status=200 ")).count();
    host.wait_for("the log to tell the same", || (logged(1), logged(2)) == (100, 20));

    let listed = versions(&host);
    assert_eq!((&listed["current_version"], &listed["versions"][0]["canary_weight"]), (&json!(1), &json!(50)));
    let host = host.kill_and_restart();
    assert_eq!(versions(&host), listed);
    assert_eq!(shares(&host, 20, [1, 2]), [10, 10]);
    let instances = described(&host)["instances"].clone();
    assert_eq!((&instances[0]["version"], &instances[1]["version"]), (&json!(1), &json!(2)), "{instances}");
    assert_eq!((&instances[0]["index"], &instances[1]["index"]), (&json!(0), &json!(1)), "{instances}");
    assert_eq!(release(&host, json!(0)).status, 200);
    assert_eq!(shares(&host, 20, [1, 2]), [20, 0]);

    assert_eq!(release(&host, json!(100)).json()["version"], 2);
    assert_eq!(shares(&host, 20, [1, 2]), [0, 20]);
    assert_eq!(described(&host)["canary"], Value::Null);
    let host = host.kill_and_restart();
    assert_eq!(shares(&host, 20, [1, 2]), [0, 20]);
    assert_eq!(modify(&host, json!({"spec": {"processor_envs": marked(3)}})).json()["version"], 3);
}

#[test]
fn a_canary_that_is_dropped_leaves_the_current_version_and_stays_among_the_versions() {
    let host = start();
    assert_eq!(canary(&host, 2, json!(100)).status, 200);
    assert_eq!(shares(&host, 10, [1, 2]), [0, 10]);
    assert_eq!(post(&host, "release", json!({"abort": true})).status, 200);
    assert_eq!(shares(&host, 10, [1, 2]), [10, 0]);
    assert_eq!((&described(&host)["version"], numbers(&versions(&host))), (&json!(1), vec![2, 1]));
    let listed = versions(&host);
    let notes = ["0", "1"].map(|at| listed.pointer(&format!("/versions/{at}/note")));
    assert_eq!(notes, [Some(&json!("changed processor_envs; canary aborted")), Some(&json!("created"))]);
    assert_eq!(canary(&host, 3, json!(5)).json()["canary"], json!({"version": 3, "weight": 5}));
    assert_eq!(go_back(&host, 2).status, 200, "to the one that was dropped");
    assert_eq!(shares(&host, 10, [2, 3]), [10, 0]);
    assert_eq!(described(&host)["canary"], Value::Null, "going back ends a canary");
}

#[test]
fn what_no_canary_can_be_is_refused_and_changes_nothing() {
    let host = start();
    assert_refused(&release(&host, json!(10)), 409, "no_share", &["no canary", "no group"]);
    assert_refused(&post(&host, "release", json!({"abort": true})), 409, "no_canary", &[]);
    assert_refused(&canary(&host, 2, json!(101)), 400, "bad_request", &["101", "0 to 100"]);
    for weight in [json!(-1), json!("ten"), json!(1.5)] {
        assert_refused(&canary(&host, 2, weight), 400, "bad_request", &[]);
    }
    let other_token = modify(&host, json!({"spec": {"token": "other"}, "canary": 10}));
    assert_refused(&other_token, 409, "canary_token", &["token"]);
    assert_eq!(numbers(&versions(&host)), [1]);

    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
    assert_refused(&canary(&host, 2, json!(10)), 409, "not_running", &["stopped"]);
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);

    assert_eq!(canary(&host, 2, json!(10)).status, 200);
    for wrong in [json!(101), json!(1000)] {
        assert_refused(&release(&host, wrong), 400, "bad_request", &["0 to 100"]);
    }
    for wrong in [json!({}), json!({"weight": 5, "abort": true}), json!({"abort": false}), json!({"wait": 5})] {
        assert_refused(&post(&host, "release", wrong), 400, "bad_request", &[]);
    }
    let while_one_runs = modify(&host, json!({"spec": {"processor_envs": marked(3)}}));
    assert_refused(&while_one_runs, 409, "canary_under_way", &["version 2 is a canary with 10 %"]);
    assert!(while_one_runs.json()["hint"].as_str().unwrap().contains("--weight 100"));
    assert_refused(&canary(&host, 3, json!(10)), 409, "canary_under_way", &[]);
    assert_eq!(shares(&host, 100, [1, 2]), [90, 10], "it goes on");
}

#[test]
fn a_stopped_service_keeps_its_canary_and_a_deleted_one_does_not() {
    let host = start();
    assert_eq!(canary(&host, 2, json!(50)).status, 200);
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
    host.client().post(&svc(), b"{}").assert_problem(503, "no_healthy_upstream");
    assert_eq!(release(&host, json!(20)).status, 200);
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);
    assert_eq!(shares(&host, 100, [1, 2]), [80, 20]);
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").status, 200);
    host.client().post(&svc(), b"{}").assert_problem(404, "service_not_found");
    host.deploy("svc", "faults", keys(7));
    assert_eq!(shares(&host, 10, [7, 2]), [10, 0]);
}

#[test]
fn of_two_operators_at_once_one_deploys_the_canary_and_the_other_is_told() {
    let host = start();
    let statuses = std::thread::scope(|scope| {
        let (host, both) = (&host, [2, 3]);
        let both = both.map(|mark| scope.spawn(move || canary(host, mark, json!(10)).status));
        let mut statuses = both.map(|one| one.join().expect("it ends"));
        statuses.sort_unstable();
        statuses
    });
    assert_eq!(statuses, [200, 409]);
    assert_eq!(numbers(&versions(&host)), [2, 1]);
}

#[test]
fn a_canary_that_cannot_be_brought_up_leaves_the_current_version_alone() {
    let host = start();
    assert_refused(
        &modify(&host, json!({"spec": {"model_config": {"initialize": "fail"}}, "canary": 10})),
        400,
        "processor_refused",
        &[],
    );
    assert_eq!((&described(&host)["canary"], numbers(&versions(&host))), (&Value::Null, vec![1]));

    let other = host.upload("echo");
    assert_eq!(modify(&host, json!({"processor": other, "canary": 50})).status, 200);
    std::fs::remove_file(host.dir().join("data/artifacts").join(&other)).unwrap();
    let host = host.kill_and_restart();
    assert_eq!(shares(&host, 10, [1, 2]), [10, 0], "at the start of the host, too");
    let now = described(&host);
    assert!(now["message"].as_str().unwrap().contains("version 2, could not be started"), "{now}");
    assert_refused(&release(&host, json!(100)), 409, "version_incomplete", &["version 2", "its processor"]);
    assert_eq!(post(&host, "release", json!({"abort": true})).status, 200);
    assert_eq!(described(&host)["message"], "");
}
