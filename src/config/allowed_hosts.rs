//! The hosts that a service may send requests to: `sandbox.allow_hosts`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

use super::network::{Network, is_special, plain};

/// The hosts of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<Allowed>);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    host: Host,
    /// `None` for the port of the scheme.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case.
    Name(String),
    /// All names below this one, but not the name itself.
    Below(String),
    /// Addresses, which may be private. Names that lead to them must be listed as well.
    Network(Network),
}

/// The text is not an entry of the list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host name such as api.example.com, *.example.com or localhost:9000, or addresses such as \
     10.0.0.5:9000, [fd00::5]:9000 or 10.0.0.0/8"
)]
pub struct BadHost;

/// A host and a port that a request may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it stands in the request, without brackets.
    pub host: String,
    pub port: u16,
    pub is_https: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, is_https: _ } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Reads a port that a request can go to.
fn port_of(text: &str) -> Option<u16> {
    // A sign is no part of a port.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

impl FromStr for Allowed {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        // `fd00::5:9000` is an address, and was hardly meant as one: an IPv6 address has brackets here, but no network.
        let is_plain_ipv6 = text.matches(':').count() > 1 && !text.contains(['[', '/']);
        if is_plain_ipv6 {
            return Err(BadHost);
        }
        if let Some(network) = Network::parse(text) {
            return Ok(Self { host: Host::Network(network), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port_of(port).ok_or(BadHost)?)),
            None => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Some(network) = Network::parse(bare) {
            return Ok(Self { host: Host::Network(network), port });
        }
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // A name whose last label is a number would be read as an address by some resolvers.
        let ends_in_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if name.len() > 253 || !name.split('.').all(is_label) || ends_in_number {
            return Err(BadHost);
        }
        let name = name.to_ascii_lowercase();
        Ok(Self { host: if host.starts_with("*.") { Host::Below(name) } else { Host::Name(name) }, port })
    }
}

impl AllowedHosts {
    /// Parses the entries of a list.
    ///
    /// # Errors
    /// If one of them is none.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, BadHost> {
        entries.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the host and the port of a request, if it may go there.
    ///
    /// # Errors
    /// A sentence.
    pub fn target(&self, uri: &Uri) -> Result<Target, String> {
        let is_https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(other) => return Err(format!("the scheme {other} is neither http nor https")),
            None => return Err("the URL has no scheme, http or https".into()),
        };
        let authority = uri.authority().ok_or("the request names no host")?;
        if authority.as_str().contains('@') {
            return Err("the host is given with a user name".into());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = match authority.port() {
            Some(port) => port_of(port.as_str()).ok_or_else(|| format!("{port} is no port"))?,
            None if authority.as_str().ends_with(':') => return Err("the port is missing".into()),
            None if is_https => 443,
            None => 80,
        };
        let target = Target { host, port, is_https };
        let address = target.host.parse::<IpAddr>().ok();
        if self.0.iter().any(|allowed| allowed.takes(&target, address)) {
            Ok(target)
        } else {
            Err(format!("{target} is not in sandbox.allow_hosts"))
        }
    }

    /// Returns the addresses of a target that a connection may go to.
    pub fn reachable(&self, target: &Target, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let is_named = |address: IpAddr| {
            self.0.iter().any(|allowed| match &allowed.host {
                Host::Network(network) => {
                    allowed.takes_port(target) && (network.contains(address) || network.contains(plain(address)))
                }
                Host::Name(_) | Host::Below(_) => false,
            })
        };
        found.filter(|address| !is_special(address.ip()) || is_named(address.ip())).collect()
    }
}

impl Allowed {
    fn takes(&self, target: &Target, address: Option<IpAddr>) -> bool {
        self.takes_port(target)
            && match (&self.host, address) {
                (Host::Network(network), Some(address)) => network.contains(address),
                (Host::Network(_), None) | (Host::Name(_) | Host::Below(_), Some(_)) => false,
                (Host::Name(name), None) => *name == target.host,
                (Host::Below(name), None) => {
                    target.host.strip_suffix(name.as_str()).is_some_and(|start| start.len() > 1 && start.ends_with('.'))
                }
            }
    }

    fn takes_port(&self, target: &Target) -> bool {
        let usual = if target.is_https { 443 } else { 80 };
        // A network may be listed for the names that lead to it, whatever their ports.
        match (&self.host, self.port) {
            (Host::Network(network), None) if network.is_range() => true,
            (_, port) => port.unwrap_or(usual) == target.port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[&str]) -> AllowedHosts {
        AllowedHosts::parse(entries.iter().copied()).unwrap()
    }

    fn is_allowed(entries: &[&str], uri: &str) -> bool {
        uri.parse().is_ok_and(|uri| hosts(entries).target(&uri).is_ok())
    }

    #[test]
    fn a_name_is_allowed_as_it_is_listed() {
        assert!(is_allowed(&["api.example.com"], "https://api.example.com/a?b"));
        assert!(is_allowed(&["api.example.com"], "http://API.example.COM"));
        assert!(is_allowed(&["api.example.com:9000"], "http://api.example.com:9000/"));
        assert!(is_allowed(&["*.example.com"], "https://a.b.example.com"));
        for (entry, uri) in [
            ("api.example.com", "https://api.example.com:8443"),
            ("api.example.com", "https://api.example.com.evil.org"),
            ("api.example.com", "https://evil.org/api.example.com"),
            ("api.example.com", "https://x.api.example.com"),
            ("api.example.com", "https://user@api.example.com"),
            ("api.example.com", "ftp://api.example.com"),
            ("api.example.com:9000", "http://api.example.com"),
            ("*.example.com", "https://example.com"),
            ("*.example.com", "https://badexample.com"),
            ("*.example.com", "https://.example.com"),
            ("example.com", "https://93.184.216.34"),
            ("example.com", "/relative"),
        ] {
            assert!(!is_allowed(&[entry], uri), "{entry} {uri}");
        }
    }

    /// Other spellings of addresses are names here, and no listed name is one of them.
    #[test]
    fn an_address_is_allowed_only_if_it_is_listed() {
        let all_names = ["*.com", "localhost", "*.internal"];
        for uri in [
            "http://127.0.0.1",
            "http://0.0.0.0",
            "http://[::1]",
            "http://[::ffff:127.0.0.1]",
            "http://169.254.169.254",
            "http://2130706433",
            "http://0x7f000001",
            "http://0177.0.0.1",
            "http://127.1",
            "http://localhost.:80",
            "http://127.0.0.1:8081",
            "http://localhost@127.0.0.1",
            "http://127.0.0.1#@a.com",
            "http://localhost:+80",
            "http://localhost:0",
        ] {
            assert!(!is_allowed(&all_names, uri), "{uri}");
        }
        assert!(
            is_allowed(&["127.0.0.1:8080"], "http://127.0.0.1:8080")
                && !is_allowed(&["127.0.0.1:8080"], "http://127.0.0.1")
        );
        assert!(
            is_allowed(&["[::1]:9000"], "http://[::1]:9000") && is_allowed(&["10.0.0.0/8"], "http://10.9.9.9:1234")
        );
    }

    #[test]
    fn a_name_leads_to_private_addresses_only_if_these_are_listed() {
        let reachable = |entries: &[&str], found: &[&str]| {
            let hosts = hosts(entries);
            let target = hosts.target(&"http://db.example.com:9000".parse().unwrap()).unwrap();
            let found = found.iter().map(|address| address.parse().unwrap());
            hosts.reachable(&target, found).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let found = ["10.0.0.5:9000", "93.184.216.34:9000", "[::ffff:10.0.0.6]:9000"];
        assert_eq!(reachable(&["db.example.com:9000"], &found), ["93.184.216.34:9000"]);
        assert_eq!(
            reachable(&["db.example.com:9000", "10.0.0.5:9000"], &found),
            ["10.0.0.5:9000", "93.184.216.34:9000"]
        );
        assert_eq!(reachable(&["db.example.com:9000", "10.0.0.0/8"], &found).len(), 3);
    }

    #[test]
    fn what_is_no_host_is_no_entry() {
        for wrong in [
            "",
            "https://a.com",
            "a.com/x",
            "a b",
            "a.com:0",
            "a.com:99999",
            "*",
            "a.*.com",
            "127.1",
            "1",
            "[::1",
            "a..b",
            "a.com:+80",
            "::1",
            "fd00:0:0:0:0:0:0:5",
            "1:2:3:4:5:6:7:9000",
            "::1:9000",
            "10.0.0.5/8",
            "fd00::1/8",
        ] {
            assert_eq!(AllowedHosts::parse([wrong]), Err(BadHost), "{wrong}");
        }
    }
}
