//! The end of a gateway, and its behaviour when a host ends.

use serde_json::json;

use super::{PATH, gateway};
use crate::gateway::fake::Fake;
use crate::host::{TestHost, terminate};
use crate::http::request;

#[test]
fn sigterm_finishes_what_is_under_way() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let fake = Fake::start(move |mut peer| {
        peer.request();
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        wait.lock().unwrap().recv().unwrap();
        peer.say("half");
        peer.wait_until_gone();
    });
    let mut gateway = super::before(&fake);
    let (mut client, mut idle) = (gateway.client(), gateway.client());
    assert_eq!(idle.send("GET", "/nowhere", &[], b"").status, 404);
    client.write(&request("POST", PATH, &[], b"x"));
    client.wait_for_bytes();
    terminate(gateway.pid());
    gateway.wait_for("the drain to begin", || gateway.get_admin("/readyz").status == 503);
    assert!(idle.is_closed(), "one that rests is closed at once");
    go.send(()).unwrap();
    assert_eq!(client.read("POST").text(), "halfhalf");
    assert!(client.is_closed());
    assert!(gateway.end().success());
    let log = gateway.log();
    assert!(log.contains("the gateway has ended accepted=1 settled=1"), "{log}");
}

#[test]
fn a_drain_is_over_when_its_time_is() {
    let fake = Fake::start(|mut peer| {
        peer.request();
        peer.wait_until_gone();
    });
    let mut gateway = TestHost::start_gateway(&super::config(&[fake.address], json!({})), &["--grace", "200ms"]);
    let mut client = gateway.client();
    client.write(&request("POST", PATH, &[], b"x"));
    gateway.wait_for("it to be forwarded", || fake.asked().len() == 1);
    terminate(gateway.pid());
    assert!(gateway.end().success());
    assert!(client.is_closed());
    let log = gateway.log();
    assert!(log.contains("status=503 code=draining") && log.contains("accepted=1 settled=1"), "{log}");
}

/// Two hosts under constant load, of which one is killed and restarted. At most the requests that were being sent to
/// the killed host fail.
#[test]
fn a_host_that_dies_is_passed_over() {
    let hosts = [TestHost::start(), TestHost::start()];
    let keys = json!({"token": "t"});
    for host in &hosts {
        host.deploy("s", "echo", keys.clone());
    }
    let check = json!({"health_check": {"interval_ms": 20}, "ejection": {"consecutive_failures": 1}});
    let gateway = gateway(&[hosts[0].data, hosts[1].data], check);
    let mut client = gateway.client();
    let mut send = |count: usize| {
        (0..count)
            .filter(|i| {
                let body = format!("body {i}");
                let response = client.send("POST", PATH, &[("authorization", "t")], body.as_bytes());
                assert!(response.status == 503 || response.text() == body, "{}", response.text());
                response.status == 503
            })
            .count()
    };
    assert_eq!(send(100), 0);
    hosts[1].kill();
    assert!(send(100) <= 1, "more failed than was on its way");
    let [survivor, dead] = hosts;
    let log = gateway.log();
    assert!(log.contains(&format!("upstream={}", survivor.data)), "{log}");
    drop(dead.kill_and_restart());
    drop(gateway);
    assert!(survivor.metric("bulkhead_requests_total{service=\"s\",status=\"200\"}") >= 100);
}
