//! Group V: request lines and versions.

use super::{GET_ONLY, LOCKED, OPEN, Row, refused, turned_down, understood, understood_once};

pub(super) fn rows() -> Vec<Row> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let mut rows = Vec::new();
    for version in ["2.0", "3.0", "1.2", "0.9"] {
        rows.push(refused("V1", 505, "http_version_not_supported", line(&format!("GET {OPEN} HTTP/{version}"))));
    }
    for version in ["HTTP/1.10", "http/1.1", "HTTPS/1.1", "FTP/1.1", "HTTP/x", "HTTP/1.1 ", "HTTP/1,1", "HTTP/+1.1"] {
        rows.push(refused("V2", 400, "bad_request", line(&format!("GET {OPEN} {version}"))));
    }
    rows.push(refused("V3", 400, "bad_request", "GET /\r\n"));
    // HTTP/2 is off on this port.
    rows.push(refused("V4", 505, "http_version_not_supported", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    rows.push(refused("V5", 400, "bad_request", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice()));
    rows.push(refused("V5", 400, "bad_request", b"\x00\xff\xfegarbage\r\n\r\n".as_slice()));
    rows.push(understood_once("V6", b"abc", format!("POST {OPEN} HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")));
    rows.push(understood_once("V6", b"", format!("GET {OPEN} HTTP/1.0\r\n\r\n")));
    // An HTTP/1.0 client may keep its connection if it asks for it.
    rows.push(understood(
        "V6",
        b"abc",
        format!("POST {OPEN} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"),
    ));
    rows.extend(hosts());
    rows.extend(targets());
    rows.extend(methods());
    rows
}

fn hosts() -> Vec<Row> {
    let with = |hosts: &str| format!("GET {OPEN} HTTP/1.1\r\n{hosts}\r\n");
    let mut rows = Vec::new();
    for bad in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a/b@c\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a,b\r\nhost: c\r\n",
        "Host: user@a\r\n",
        "Host: a:b\r\n",
        "Host: a:65536\r\n",
        "Host: a:80:80\r\n",
        "Host: [::1\r\n",
        "Host: [a]\r\n",
        "Host: :80\r\n",
    ] {
        rows.push(refused("V7", 400, "bad_request", with(bad)));
    }
    for fine in ["Host: a\r\n", "hOsT:a:80\r\n", "Host: [::1]:8080\r\n"] {
        rows.push(understood("V7", b"", with(fine)));
    }
    rows.extend(absolute_targets());
    rows
}

/// Rows with a whole URL, as sent by a client that takes the host for a proxy. Its authority counts instead of `Host`
/// (RFC 9112 §3.2.2), but `Host` must still be present and well-formed.
fn absolute_targets() -> Vec<Row> {
    let absolute = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\n{host}\r\n");
    let mut rows = Vec::new();
    for origin in
        ["http://a", "http://A:80", "HTTP://a", "hTtP://other", "https://a", "HTTPS://a:443", "http://[::1]:1"]
    {
        for host in ["Host: a\r\n", "Host: elsewhere:80\r\n"] {
            rows.push(understood("V8", b"", absolute(&format!("{origin}{OPEN}"), host)));
        }
    }
    rows.push(understood("V8", b"", absolute(&format!("http://a{OPEN}?x=http://b/"), "Host: a\r\n")));
    for nothing in ["http://a", "http://a/", "http://a?x", "http://evil/x"] {
        rows.push(turned_down("V8", 404, "not_found", absolute(nothing, "Host: a\r\n")));
    }
    for bad in [
        "http://",
        "http://:80",
        "http://u@a",
        "http://u:p@a",
        "https://a@",
        "http://a:b",
        "http://a:b:c",
        "ftp://a",
        "http:",
        "//",
    ] {
        let (status, code) = if bad == "//" { (404, "not_found") } else { (400, "bad_request") };
        let row = if bad == "//" { turned_down } else { refused };
        rows.push(row("V8", status, code, absolute(&format!("{bad}{OPEN}"), "Host: a\r\n")));
    }
    for host in ["", "Host:\r\n", "Host: a@b\r\n", "Host: a\r\nHost: a\r\n"] {
        rows.push(refused("V8", 400, "bad_request", absolute(&format!("http://a{OPEN}"), host)));
    }
    rows.push(understood_once("V8", b"", format!("GET http://a{OPEN} HTTP/1.0\r\n\r\n")));
    rows
}

fn methods() -> Vec<Row> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let mut rows = vec![
        // The host is not a proxy, so CONNECT is an unknown method.
        refused("V9", 501, "not_implemented", line("CONNECT a:443 HTTP/1.1")),
        // The host has no options of its own that the services do not have.
        turned_down("V10", 405, "method_not_allowed", line("OPTIONS * HTTP/1.1")),
        turned_down("V10", 405, "method_not_allowed", line(&format!("OPTIONS {OPEN} HTTP/1.1"))),
        turned_down("V12", 405, "method_not_allowed", line("TRACE / HTTP/1.1")),
        turned_down("V12", 405, "method_not_allowed", line(&format!("TRACE {OPEN} HTTP/1.1"))),
        refused("V14", 400, "bad_request", line("G=\":<>(e) / HTTP/1.1")),
        turned_down(
            "V15",
            405,
            "method_not_allowed",
            format!("POST {GET_ONLY} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        ),
        understood("V15", b"", line(&format!("GET {GET_ONLY} HTTP/1.1"))),
        // HEAD is allowed wherever GET is.
        understood("V15", b"", line(&format!("HEAD {GET_ONLY} HTTP/1.1"))),
        // Refusals of HEAD have no body on the wire either.
        turned_down("V15", 401, "unauthorized", line(&format!("HEAD {LOCKED} HTTP/1.1"))),
        turned_down("V15", 404, "not_found", line("HEAD / HTTP/1.1")),
        understood("V15", b"", line(&format!("HEAD {OPEN} HTTP/1.1"))),
        refused("V7", 400, "bad_request", "HEAD / HTTP/1.1\r\n\r\n"),
    ];
    for unknown in ["FROB", "get", "Post", "PROPFIND", "QUERY"] {
        rows.push(refused("V13", 501, "not_implemented", line(&format!("{unknown} {OPEN} HTTP/1.1"))));
    }
    rows
}

fn targets() -> Vec<Row> {
    let get = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut rows = Vec::new();
    for bad in ["*", "abc", "api/predict/open", "?x", "\\api", "//", "http:/api/predict/open"] {
        // Two slashes begin an ordinary path, which just does not exist.
        let row = if bad == "//" { turned_down } else { refused };
        let (status, code) = if bad == "//" { (404, "not_found") } else { (400, "bad_request") };
        rows.push(row("V11", status, code, get(bad.as_bytes())));
    }
    for line in ["GET  / HTTP/1.1", "GET\t/ HTTP/1.1", "GET /  HTTP/1.1", "GET /a b HTTP/1.1", " GET / HTTP/1.1"] {
        rows.push(refused("V16", 400, "bad_request", format!("{line}\r\nHost: a\r\n\r\n")));
    }
    // UTF-8 is accepted unencoded in both protocols. Latin-1 and truncated characters are not.
    for fine in ["/é", "?q=é", "/日本?x=日本"] {
        rows.push(understood("V17", b"", get(format!("{OPEN}{fine}").as_bytes())));
    }
    for bad in [b"/\0".as_slice(), b"/\x7f", b"/\x0b", b"/\xe9", b"/\xff", b"/?\xc3", b"/a#b", b"/?a#b"] {
        let id = if bad.contains(&b'#') || !bad.is_ascii() { "V17" } else { "V16" };
        rows.push(refused(id, 400, "bad_request", get(bad)));
    }
    // Paths are never resolved: a path names a service, or it is not found.
    for elsewhere in ["/../../etc/passwd", "//api/predict/open", "/%2e%2e%2fetc", "/%00", "/%zz", "/api/predict//open"]
    {
        rows.push(turned_down("V18", 404, "not_found", get(elsewhere.as_bytes())));
    }
    for nobody in ["..", "%2e%2e", "..%2fopen", "open%00", "OPEN", "open;x", "open%2fx", "."] {
        rows.push(turned_down("V18", 404, "service_not_found", get(format!("/api/predict/{nobody}").as_bytes())));
    }
    rows.push(understood("V18", b"", get(format!("{OPEN}/../../../etc/passwd?%00").as_bytes())));
    for lines in [1, 2, 5] {
        rows.push(understood("V19", b"", ["\r\n".repeat(lines).as_bytes(), &get(OPEN.as_bytes())].concat()));
    }
    for length in [8 << 10, 9000, 60_000, 66_000, 400_000] {
        rows.push(refused("V20", 414, "target_too_long", get(format!("/{}", "a".repeat(length)).as_bytes())));
    }
    let longest = format!("{OPEN}?{}", "a".repeat((8 << 10) - OPEN.len() - 1));
    rows.push(understood("V20", b"", get(longest.as_bytes())));
    rows.extend(odd_targets(get));
    rows
}

/// Characters that are not allowed in a URI, but are neither control characters nor spaces. They are not in the table
/// of threats. hyper refuses some of them itself, without a body and without a count, so the host's own check must come
/// first.
fn odd_targets(get: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Row> {
    let mut rows = Vec::new();
    for bad in ["<", ">", "`"] {
        rows.push(refused("V21", 400, "bad_request", get(format!("{OPEN}/{bad}").as_bytes())));
    }
    for bad in ["\"", "<", ">"] {
        rows.push(refused("V21", 400, "bad_request", get(format!("{OPEN}?{bad}").as_bytes())));
    }
    // Browsers and scripts send these unencoded, and all parsers read them alike.
    for fine in ["/{a}", "/|", "/[1]", "/\\", "/^", "?{\"a\"}=[1]|\\^`".trim_matches('"')] {
        let fine = fine.replace('"', "'");
        rows.push(understood("V21", b"", get(format!("{OPEN}{fine}").as_bytes())));
    }
    rows
}
