//! Selection of upstreams: health checks, ejection, and the return of an upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::fake::Fake;
use super::{PATH, change, config, gateway, upstream};
use crate::host::TestHost;

/// Starts an upstream whose `/health` answers according to the switch, and that echoes all other requests.
fn switched(is_well: &Arc<AtomicBool>) -> Fake {
    let is_well = Arc::clone(is_well);
    Fake::start(move |mut peer| {
        while let Some(asked) = peer.request() {
            let (status, body) = match asked.request_line() {
                line if line.starts_with("GET /health ") && is_well.load(Ordering::SeqCst) => ("200 OK", Vec::new()),
                line if line.starts_with("GET /health ") => ("503 Not Well", Vec::new()),
                _ => ("200 OK", asked.body),
            };
            peer.say(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len()));
            peer.say(&body);
        }
    })
}

fn state(gateway: &TestHost, index: usize) -> Value {
    gateway.get_admin("/api/v1/upstreams").json()["clusters"][0]["upstreams"][index]["state"].clone()
}

fn served(fake: &Fake) -> usize {
    fake.asked().iter().filter(|asked| asked.request_line().starts_with("POST ")).count()
}

#[test]
fn an_unhealthy_upstream_gets_no_requests_until_it_is_well_again() {
    let (well, ill) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let fakes = [switched(&well), switched(&ill)];
    let check = json!({"health_check": {"path": "/health", "interval_ms": 20, "unhealthy_threshold": 2}});
    // The gateway is ready only after every upstream has been checked.
    let gateway = gateway(&[fakes[0].address, fakes[1].address], check);
    assert_eq!((state(&gateway, 0), state(&gateway, 1)), (json!("healthy"), json!("unhealthy")));
    assert_eq!(gateway.metric(&upstream("healthy", fakes[1].address)), 0);
    let send = |count: usize| {
        let mut client = gateway.client();
        for _ in 0..count {
            assert_eq!(client.send("POST", PATH, &[], b"x").text(), "x");
        }
    };
    send(30);
    assert_eq!((served(&fakes[0]), served(&fakes[1])), (30, 0));
    ill.store(true, Ordering::SeqCst);
    gateway.wait_for("it to be well again", || state(&gateway, 1) == "healthy");
    send(60);
    assert!(served(&fakes[1]) > 5, "{}", served(&fakes[1]));
    ill.store(false, Ordering::SeqCst);
    gateway.wait_for("it to be ill again", || state(&gateway, 1) == "unhealthy");
    let before = served(&fakes[1]);
    send(30);
    assert_eq!(served(&fakes[1]), before);
    let log = gateway.log();
    assert!(log.contains("upstream is healthy again") && log.contains("/health answered 503"), "{log}");
}

/// A gateway and the host behind it are often started at the same moment, and a whole interval would be a long wait.
#[test]
fn an_upstream_that_is_still_starting_is_asked_again_soon() {
    let is_up = Arc::new(AtomicBool::new(false));
    let fake = switched(&is_up);
    let gateway = gateway(&[fake.address], json!({"health_check": {"path": "/health", "interval_ms": 3_600_000}}));
    assert_eq!(state(&gateway, 0), "unhealthy");
    is_up.store(true, Ordering::SeqCst);
    gateway.wait_for("it to be found well", || state(&gateway, 0) == "healthy");
    assert_eq!(gateway.client().send("POST", PATH, &[], b"x").text(), "x");
}

#[test]
fn an_upstream_whose_requests_fail_is_left_out_for_a_while() {
    let good = Fake::echo();
    let fails = Fake::answering("HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n");
    let ejection = json!({"ejection": {"consecutive_failures": 3, "time_ms": 300, "max_time_ms": 300}});
    let gateway = gateway(&[good.address, fails.address], ejection);
    let mut client = gateway.client();
    let mut failed = 0;
    while gateway.metric(&upstream("ejections_total", fails.address)) == 0 {
        failed += usize::from(client.send("POST", PATH, &[], b"x").status == 502);
        assert!(failed <= 3, "it is asked on and on");
    }
    assert_eq!(failed, 3);
    assert_eq!(state(&gateway, 1), "ejected");
    assert_eq!(client.send("POST", PATH, &[], b"x").status, 200);
    gateway.wait_for("its time to be over", || state(&gateway, 1) == "healthy");
    gateway.wait_for("it to be asked again", || {
        client.send("POST", PATH, &[], b"x");
        fails.asked().len() > 3
    });
}

/// A host sends 503 for a single service, and 450 for a busy one.
#[test]
fn an_upstream_is_not_left_out_for_what_one_service_says() {
    let fake = Fake::answering("HTTP/1.1 503 Stopped\r\ncontent-length: 0\r\n\r\n");
    let other = Fake::answering("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n");
    let ejection = json!({"ejection": {"consecutive_failures": 1}});
    let gateway = gateway(&[fake.address, other.address], ejection);
    for _ in 0..20 {
        gateway.client().send("POST", PATH, &[], b"x");
    }
    assert_eq!((state(&gateway, 0), state(&gateway, 1)), (json!("healthy"), json!("healthy")));
}

#[test]
fn the_file_is_read_again_at_sighup_and_kept_when_it_has_mistakes() {
    let (one, other) = (Fake::echo(), Fake::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother"));
    let gateway = super::before(&one);
    let mut client = gateway.client();
    assert_eq!(client.send("POST", PATH, &[], b"x").text(), "x");
    change(&gateway, r#"{"clusters": {"c": {"upstreams": 5}}, "routes": {"*": "d"}}"#, "clusters.c.upstreams: found 5");
    assert!(gateway.log().contains("routes.*: found"), "every mistake is told: {}", gateway.log());
    assert_eq!(client.send("POST", PATH, &[], b"y").text(), "y");
    change(&gateway, &config(&[other.address], json!({})).to_string(), "has been read again");
    assert_eq!(client.send("POST", PATH, &[], b"z").text(), "other");
    assert_eq!(gateway.metric("bulkhead_requests_accepted_total{service=\"*\"}"), 3, "the account goes on");
}
