//! Where a server is, and what to say when it is not there.

use std::io;
use std::net::IpAddr;

use ureq::http::Uri;

use super::connector::is_end;
use crate::cli::failure::Failure;

/// `http://host:port/prefix` without a slash at the end. `host:port` alone is taken for http.
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
        return Err(wrong("must not hold a user name; the token has a place of its own"));
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
        return Err(wrong("is not an http or https URL"));
    }
    if uri.query().is_some() {
        return Err(wrong("must not have a query"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether a URL points at this machine itself.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Says in words why no answer came.
pub(crate) fn unreachable(server: &str, error: &ureq::Error) -> Failure {
    if let ureq::Error::Http(_) | ureq::Error::BadUri(_) = error {
        return Failure::Usage(format!("`{server}` cannot be asked: {error}"));
    }
    let refused = matches!(error, ureq::Error::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused);
    let hint = (refused && is_loopback(server)).then_some("is `bulkhead serve` running?");
    let cause = match error {
        ureq::Error::Io(_) if refused => "connection refused".to_owned(),
        ureq::Error::Io(cause) if is_end(cause) => "it closed the connection before it had answered".to_owned(),
        ureq::Error::Io(cause) => cause.to_string(),
        ureq::Error::Timeout(timeout) => format!("no answer in time ({timeout})"),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Protocol(cause) => format!("it does not speak HTTP as expected: {cause}"),
        other => other.to_string(),
    };
    Failure::Unreachable { server: server.to_owned(), cause, hint }
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
