//! Endpoints and URLs as users write them, parsed once.

use http::Uri;
use http::header::HeaderValue;
use http::uri::Scheme;

/// The address of a server. Calls share connections if their addresses are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) secure: bool,
    /// The host, without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The `Host` header: the authority as written, with brackets, without user information.
    pub(crate) authority: HeaderValue,
}

impl Address {
    /// Makes the address of a server that discovery names. An IPv6 address may have its brackets already.
    pub(crate) fn plain(host: &str, port: u16) -> Result<Self, String> {
        let is_bare = host.contains(':') && !host.starts_with('[');
        let bracketed = if is_bare { format!("[{host}]") } else { host.to_owned() };
        parse(&format!("http://{bracketed}:{port}")).map(|(address, _)| address)
    }

    /// Returns host and port, for messages.
    pub(crate) fn name(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Parses `http://host:port/path?query`. The scheme may be missing, as in the SDKs. The returned path is empty or
/// begins with a slash.
pub(crate) fn parse(url: &str) -> Result<(Address, String), String> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = whole.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    let secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err(format!("{url:?} is neither http nor https")),
    };
    if secure && !cfg!(feature = "tls") {
        return Err(format!("{url:?} needs the feature `tls` of bulkhead-client"));
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| format!("{url:?} names no host"))?;
    let written = authority.as_str().rsplit('@').next().unwrap_or_default();
    let header = HeaderValue::from_str(written).map_err(|_| format!("{url:?} names no host"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let ordinary = if secure { 443 } else { 80 };
    let port = match written.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']')) {
        Some(port) => port.parse().map_err(|_| format!("the port of {url:?} is not a number up to 65535"))?,
        None => ordinary,
    };
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let target = if target == "/" && !whole.ends_with('/') { "" } else { target };
    Ok((Address { secure, host, port, authority: header }, target.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_urls_are_taken_apart() {
        for (url, name, authority, target) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:8080", ""),
            ("127.0.0.1:8080/", "127.0.0.1:8080", "127.0.0.1:8080", "/"),
            ("http://a.example", "a.example:80", "a.example", ""),
            ("http://u:p@[::1]:9/p%20q?x=%2F", "[::1]:9", "[::1]:9", "/p%20q?x=%2F"),
        ] {
            let (address, found) = parse(url).unwrap();
            assert_eq!((address.name().as_str(), found.as_str()), (name, target), "{url}");
            assert_eq!(address.authority, authority);
        }
        for host in ["::1", "[::1]"] {
            assert_eq!(Address::plain(host, 5).unwrap().name(), "[::1]:5");
        }
        for wrong in ["", "ftp://a", "http://", "http://a b", "http://a:99999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn https_needs_a_feature() {
        let secure = parse("https://a.example");
        match cfg!(feature = "tls") {
            true => assert_eq!(secure.unwrap().0.port, 443),
            false => assert!(secure.unwrap_err().contains("feature `tls`")),
        }
    }
}
