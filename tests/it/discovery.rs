//! Service discovery, as SDKs request it in direct mode, on the paths of newer and older SDKs.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::host::TestHost;
use crate::http::Client;

const PATHS: [&str; 2] = ["/api/v1/servicediscovery/upstreams/", "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/"];

fn listed(client: &mut Client, service: &str) -> Value {
    let [new, old] = PATHS.map(|path| {
        let response = client.send("GET", &format!("{path}{service}?internal=true"), &[], b"");
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        response.json()
    });
    assert_eq!(new, old);
    assert_eq!(new["correlative"], json!([service]));
    new["endpoints"]["items"].clone()
}

fn item(service: &str, address: SocketAddr, weight: u32) -> Value {
    json!([{"app": service, "ip": address.ip().to_string(), "port": address.port(), "weight": weight}])
}

#[test]
fn a_service_is_where_the_client_reached_the_host_as_long_as_it_runs() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({}));
    host.deploy("wide", "echo", json!({"metadata": {"instance": 3}}));
    let mut client = host.client();
    assert_eq!(listed(&mut client, "echo"), item("echo", host.data, 100));
    assert_eq!(listed(&mut client, "wide"), item("wide", host.data, 300), "one address, and three instances behind it");

    host.call_admin("POST", "/api/v1/services/echo/stop", b"");
    assert_eq!(listed(&mut client, "echo"), json!([]));
    host.call_admin("POST", "/api/v1/services/echo/start", b"");
    assert_eq!(listed(&mut client, "echo"), item("echo", host.data, 100));
}

/// The name may be followed by a path of the service. Python's SDK removes the path first, Go's and Java's do not.
#[test]
fn who_asks_for_a_path_of_a_service_is_told_where_the_service_is() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({"metadata": {"group": "all"}}));
    let mut client = host.client();
    for path in PATHS {
        for (asked, name) in [
            ("echo/v1", "echo"),
            ("echo/v1/x?internal=true", "echo"),
            ("echo/", "echo"),
            ("echo%2Fv1", "echo"),
            ("echo%2fv1%2Fx", "echo"),
            ("all.echo/v1", "all.echo"),
            ("all/v1", "all"),
        ] {
            let response = client.send("GET", &format!("{path}{asked}"), &[], b"");
            assert_eq!(response.status, 200, "{path}{asked}");
            let listing = response.json();
            assert_eq!(listing["correlative"], json!([name]), "{asked}");
            assert_eq!(listing["endpoints"]["items"], item(name, host.data, 100), "{asked}");
        }
    }
}

#[test]
fn a_group_is_where_its_members_are() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({"metadata": {"group": "all"}}));
    let mut client = host.client();
    for name in ["all", "all.echo"] {
        assert_eq!(listed(&mut client, name), item(name, host.data, 100));
    }
    host.call_admin("POST", "/api/v1/services/echo/stop", b"");
    for name in ["all", "all.echo"] {
        assert_eq!(listed(&mut client, name), json!([]));
    }
    let path = format!("{}all.nobody", PATHS[0]);
    client.send("GET", &path, &[], b"").assert_problem(404, "service_not_found");
}

#[test]
fn who_asks_wrongly_is_told() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    for path in PATHS {
        let nobody = client.send("GET", &format!("{path}nobody"), &[], b"");
        let problem = nobody.assert_problem(404, "service_not_found");
        assert!(problem["detail"].as_str().unwrap().contains("nobody"), "{problem}");
        for nothing in ["", "/", "/echo"] {
            client.send("GET", &format!("{path}{nothing}"), &[], b"").assert_problem(404, "not_found");
        }
        client.send("GET", &format!("{path}nobody/v1"), &[], b"").assert_problem(404, "service_not_found");
        let posted = client.send("POST", &format!("{path}echo"), &[], b"x");
        posted.assert_problem(405, "method_not_allowed");
        assert_eq!(posted.header("allow"), Some("GET, HEAD"));
        let head = client.send("HEAD", &format!("{path}echo"), &[], b"");
        assert!(head.status == 200 && head.body.is_empty() && head.header("content-length").is_some());
        // An unexpected body must not be read as the next request.
        let with_body = client.send("GET", &format!("{path}echo"), &[], b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(with_body.status, 200);
        if with_body.closes() {
            client = host.client();
        }
        assert_eq!(client.send("GET", &format!("{path}echo"), &[], b"").status, 200);
    }
    assert!(host.metric("bulkhead_requests_total{service=\"\",status=\"200\"}") >= 6, "they are in the host's account");
}

#[test]
fn a_host_behind_another_address_says_that_one() {
    let host = TestHost::start_with(&["--advertise", "192.0.2.7:8080"], "");
    host.deploy("echo", "echo", json!({}));
    assert_eq!(listed(&mut host.client(), "echo"), item("echo", "192.0.2.7:8080".parse().unwrap(), 100));
}
