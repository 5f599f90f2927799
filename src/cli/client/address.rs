//! Addresses of servers, and the errors for servers that cannot be reached.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ureq::Timeout;
use ureq::http::Uri;

use super::connector::is_end;
use crate::cli::failure::Failure;

/// Parses an address into `http://host:port/prefix`, without a slash at the end. `host:port` alone means http.
pub(crate) fn base(text: &str) -> Result<String, Failure> {
    let wrong = |why: &str| {
        Failure::Usage(format!(
            "the admin address {why}; it looks like http://127.0.0.1:8081 or https://bulkhead.example.org"
        ))
    };
    let text = text.trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
    let Some(authority) = uri.authority() else { return Err(wrong("has no host")) };
    if authority.as_str().contains('@') {
        return Err(wrong("must not contain a user name; the token is set separately"));
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
        return Err(wrong("is not an http or https URL"));
    }
    if uri.query().is_some() {
        return Err(wrong("must not have a query"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// True if the URL's host is this machine's loopback.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The failure for a request without an answer. `patience` is the longest time that the answer was waited for.
pub(crate) fn unreachable(server: &str, patience: Duration, error: &ureq::Error) -> Failure {
    if let ureq::Error::Http(_) | ureq::Error::BadUri(_) = error {
        return Failure::Usage(format!("`{server}` cannot be asked: {error}"));
    }
    let cannot_reach = |cause: &str| format!("cannot reach {server}: {cause}");
    let refused = matches!(error, ureq::Error::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused);
    let plain = server.starts_with("https://") && is_no_tls(error);
    let hint = match () {
        () if refused && is_loopback(server) => Some("is `bulkhead serve` running?"),
        () if plain => Some("try http:// instead of https://"),
        () => None,
    };
    let what = match error {
        _ if plain => format!("{server} does not speak TLS"),
        ureq::Error::Io(_) if refused => cannot_reach("connection refused"),
        ureq::Error::Io(cause) if is_end(cause) => {
            format!("{server} closed the connection before its answer was complete")
        }
        ureq::Error::Io(cause) => cannot_reach(&cause.to_string()),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => cannot_reach("no connection in time"),
        ureq::Error::Timeout(_) => format!("no answer from {server} within {}", humantime::format_duration(patience)),
        ureq::Error::HostNotFound => cannot_reach("no such host"),
        ureq::Error::Protocol(cause) => format!("{server} does not speak HTTP as expected: {cause}"),
        other => cannot_reach(&other.to_string()),
    };
    Failure::Unreachable { what, hint }
}

/// True if the error means that the server does not speak TLS. The library has no error type for this, only this text.
fn is_no_tls(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(_) | ureq::Error::Rustls(_)) && error.to_string().contains("InvalidContentType")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (text, url) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
            ("https://example.org/bulkhead/", "https://example.org/bulkhead"),
        ] {
            assert_eq!(base(text).unwrap(), url);
        }
        for text in ["", "http://", "ftp://example.org", "http://me:secret@example.org", "http://a b", "http://a?b=c"] {
            let error = base(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn loopback_is_told_from_elsewhere() {
        for url in ["http://localhost:1", "http://127.0.0.9", "http://[::1]:8081"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://localhost.example.org", "http://10.0.0.1", "https://example.org"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
