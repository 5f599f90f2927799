//! Hostile answers on the wire: no header that is reserved for the host, and no message that differs from its declared
//! length.

use serde_json::json;

use super::deploy_component;
use crate::figures::{must, rounds};
use crate::host::TestHost;
use crate::http::request;

/// The headers that the guests of H4 try to set. The host sets some of them itself, but never to these values.
const STEERING: &[(&str, &str)] = &[
    ("content-length", "1"),
    ("content-length", "abc"),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "gzip"),
    ("connection", "close"),
    ("upgrade", "websocket"),
    ("trailer", "x"),
    ("keep-alive", "timeout=1"),
    ("date", "yesterday"),
    ("server", "other"),
    ("set-cookie", "a=b"),
    ("www-authenticate", "Basic"),
    ("alt-svc", "h3=\":1\""),
    ("x-request-id", "forged"),
    ("x-bulkhead-fuel", "0"),
];

#[test]
fn no_guest_steers_its_connection() {
    let host = TestHost::start();
    let guests: Vec<_> = bulkhead_hostile::all().into_iter().filter(|guest| guest.id.starts_with("H4-")).collect();
    assert_eq!(guests.len(), STEERING.len());
    let pipelined = rounds(20, 700);
    for guest in &guests {
        let name = guest.id.to_ascii_lowercase();
        let service = deploy_component(&host, &name, &guest.component, json!({}), 5000).unwrap();
        let mut client = host.client();
        let one = request("POST", &service.path, &[("authorization", &service.token)], b"body");
        client.write(&one.repeat(pipelined));
        for count in 1..=pipelined as u32 {
            let answer = client.read("POST");
            assert_eq!((answer.status, answer.body.as_slice()), (200, count.to_le_bytes().as_slice()), "{name}");
            for (header, value) in STEERING {
                assert_ne!(answer.header(header), Some(*value), "{name} sent {header}");
            }
        }
    }
    let pairs = guests.len() * pipelined;
    must("hostile.answers.pipelined", "each answer whole, none steered by its guest", pairs, true);
}

#[test]
fn a_body_where_there_can_be_none_is_not_sent() {
    let host = TestHost::start();
    for status in [204, 205, 304] {
        let component = bulkhead_hostile::processor(&format!(
            "(func $answer (result i32)
                (drop (call $polite)) (i32.store16 (i32.const 1028) (i32.const {status})) (i32.const 1024))"
        ));
        let service = deploy_component(&host, &format!("s{status}"), &component, json!({}), 5000).unwrap();
        let mut client = host.client();
        for _ in 0..3 {
            let answer = client.post(&service, b"");
            assert_eq!((answer.status, answer.body.as_slice()), (status, [].as_slice()));
        }
        let next = client.send("GET", &service.path, &[("authorization", &service.token)], b"");
        assert_eq!(next.body, 4_u32.to_le_bytes(), "after {status} the connection is in step");
    }
}
