//! Uploads that exceed the size limit or differ from their declared length: B7, C18.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::figures::{must, tell};
use crate::host::TestHost;
use crate::http::{Client, Response};

const LIMIT: usize = 64 << 20;

/// The way in which the length of an upload is declared.
enum Length {
    Declared(usize),
    Chunked,
}

/// Uploads `bytes` under `name`, which may differ from their hash.
fn put(host: &TestHost, name: &str, length: Length, bytes: &[u8]) -> Response {
    let mut client = Client::connect(host.admin);
    let told = match length {
        Length::Declared(length) => format!("content-length: {length}"),
        Length::Chunked => "transfer-encoding: chunked".into(),
    };
    let authorization = format!("authorization: Bearer {}", host.admin_token);
    let path = format!("/api/v1/artifacts/{name}");
    client.write(format!("PUT {path} HTTP/1.1\r\nhost: a\r\n{authorization}\r\n{told}\r\n\r\n").as_bytes());
    match length {
        // The host may have refused the upload and closed the connection.
        Length::Declared(_) => client.try_write(bytes),
        Length::Chunked => {
            for piece in bytes.chunks(1 << 20) {
                client.try_write(format!("{:x}\r\n", piece.len()).as_bytes());
                client.try_write(&[piece, b"\r\n"].concat());
            }
            client.try_write(b"0\r\n\r\n");
        }
    }
    client.read("PUT")
}

fn name(bytes: &[u8]) -> String {
    bulkhead::hex::hex(&Sha256::digest(bytes))
}

fn left_over(host: &TestHost) -> usize {
    std::fs::read_dir(host.dir().join("data/artifacts")).unwrap().count()
}

#[test]
fn what_is_larger_than_an_upload_may_be_is_refused_however_it_comes() {
    let host = TestHost::start();
    let whole = vec![7; LIMIT + 1];
    let any = "ab".repeat(32);
    let mut refused = 0;
    let mut refuse = |answer: &Response| {
        answer.assert_problem(413, "body_too_large");
        refused += 1;
    };
    refuse(&put(&host, &any, Length::Declared(LIMIT + 1), b""));
    refuse(&put(&host, &any, Length::Declared(usize::MAX >> 2), b"little"));
    refuse(&put(&host, &any, Length::Chunked, &whole));
    assert_eq!(left_over(&host), 0);
    let most = put(&host, &name(&whole[..LIMIT]), Length::Chunked, &whole[..LIMIT]);
    assert_eq!(most.status, 201, "exactly the limit: {}", most.text());
    must("uploads.too_large", "3 of 3 refused, 413", refused, refused == 3);
}

#[test]
fn a_length_that_lies_is_no_upload() {
    let host = TestHost::start();
    let bytes = b"a few bytes";
    // Too few bytes: once the client has closed, the host stops waiting and keeps nothing.
    let mut client = Client::connect(host.admin);
    let authorization = format!("Bearer {}", host.admin_token);
    let head =
        format!("PUT /api/v1/artifacts/{} HTTP/1.1\r\nhost: a\r\nauthorization: {authorization}\r\n", name(bytes));
    client.write(format!("{head}content-length: 12\r\n\r\n").as_bytes());
    client.write(bytes);
    client.finish();
    assert!(client.read_to_end().is_none_or(|answer| answer.status == 400));
    // Too many bytes: the upload has the declared length, and the bytes after it are not a request.
    let mut client = Client::connect(host.admin);
    client.write(format!("{head}content-length: 10\r\n\r\n").as_bytes());
    client.write(bytes);
    assert_eq!(client.read("PUT").status, 400, "ten of its bytes have another name");
    client.finish();
    assert!(client.read_to_end().is_none_or(|answer| answer.status == 400));
    assert_eq!(left_over(&host), 0);
    assert_eq!(host.upload_bytes(bytes), name(bytes), "told rightly it is kept");
}

/// A component with much data is as large as it looks, so it is accepted. Its cost for the host is reported.
#[test]
fn a_component_of_much_data_costs_no_more_than_it_has() {
    let host = TestHost::start();
    let before = peak_kib(&host);
    let size = 56 << 20;
    let mut seed = 1_u32;
    let random: Vec<u8> = (0..size)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let mut deployed = 0;
    for data in [vec![0; size], random] {
        let component = bulkhead_hostile::of_data(&data);
        let answer = host.try_deploy_bytes("data", &component, json!({"metadata": {"rpc": {"worker_threads": 1}}}));
        assert!(matches!(answer.status, 201 | 400), "{}", answer.text());
        if answer.status == 201 {
            deployed += 1;
            let token = answer.json()["token"].as_str().expect("a token").to_owned();
            let service = crate::host::Deployed { path: "/api/predict/data".into(), token };
            assert_eq!(host.client().post(&service, b"").status, 200);
            assert!(host.call_admin("DELETE", "/api/v1/services/data", b"").status < 300);
        }
    }
    tell("uploads.data_deployed", "2 of 2: it is no bomb", deployed, deployed == 2);
    let grown = peak_kib(&host).saturating_sub(before) >> 10;
    must("uploads.data_grown_mib", "at most 128 MiB for components of 56 MiB", grown, grown <= 128);
}

pub(super) fn peak_kib(host: &TestHost) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
