//! The authority of a request, which names the host that the request is for: RFC 3986 §3.2, RFC 9110 §4.2 and §7.2.
//!
//! An authority stands in `Host`, in an absolute-form target, or in `:authority`. The rules are the same in all three
//! places.

use std::fmt;
use std::net::Ipv6Addr;

use super::head::HeadFault;

/// The place where a request names its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthorityField {
    Host,
    Target,
    PseudoHeader,
}

/// An invalid authority: its place, and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadAuthority {
    named: AuthorityField,
    why: &'static str,
}

impl fmt::Display for BadAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.named {
            AuthorityField::Host => "the Host header ",
            AuthorityField::Target => "the authority of the request target ",
            AuthorityField::PseudoHeader => "the authority of the request (:authority) ",
        })?;
        f.write_str(self.why)?;
        f.write_str("; a host with an optional port is expected, such as example.com:8080 or [::1]")
    }
}

/// Checks for `host [ ":" port ]`. User information is refused: a request must not carry it (RFC 9110 §4.2.4).
pub(super) fn judge(authority: &[u8], named: AuthorityField) -> Result<(), HeadFault> {
    let bad = |why| Err(HeadFault::Authority(BadAuthority { named, why }));
    if authority.contains(&b'@') {
        return bad("has user information before an `@`");
    }
    let (host, port) = split(authority);
    if host.is_empty() {
        return bad("names no host");
    }
    let is_host = match host {
        [b'[', address @ .., b']'] => is_ipv6(address),
        name => name.iter().all(|b| is_of_a_name(*b)),
    };
    if !is_host {
        return bad("has a character that a host cannot have");
    }
    // An empty port is the default one.
    let is_port = |port: &[u8]| {
        port.iter().all(u8::is_ascii_digit)
            && (port.is_empty() || str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok()))
    };
    if !port.is_none_or(is_port) {
        return bad("has a port that is not a number up to 65535");
    }
    Ok(())
}

/// Compares two valid authorities. A missing port means the default port of the scheme.
pub(super) fn is_same(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let ((host, port), (other_host, other_port)) = (split(one), split(other));
    let number = |port: Option<&[u8]>| {
        let port = port.filter(|port| !port.is_empty()).unwrap_or(default_port);
        str::from_utf8(port).ok().and_then(|port| port.parse::<u16>().ok())
    };
    host.eq_ignore_ascii_case(other_host) && number(port) == number(other_port)
}

/// Splits an authority into host and port.
fn split(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    // An address in brackets has colons of its own.
    let from = authority.iter().rposition(|b| *b == b']').map_or(0, |end| end + 1);
    match authority[from..].iter().position(|b| *b == b':') {
        Some(colon) => (&authority[..from + colon], Some(&authority[from + colon + 1..])),
        None => (authority, None),
    }
}

/// True for an IPv6 address with or without a zone. A zone means something on the client's machine only (RFC 6874).
fn is_ipv6(address: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(address) else { return false };
    let (address, zone) = text.split_once('%').unwrap_or((text, ""));
    address.parse::<Ipv6Addr>().is_ok() && zone.bytes().all(is_of_a_name)
}

/// True for a byte of a host name: unreserved, percent-encoded, or a delimiter (RFC 3986 §3.2.2).
fn is_of_a_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(authority: &str) -> Option<String> {
        match judge(authority.as_bytes(), AuthorityField::Host) {
            Ok(()) => None,
            Err(HeadFault::Authority(bad)) => Some(bad.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_authority_is_a_host_with_an_optional_port() {
        for fine in
            ["a", "A.b-c_d", "a:80", "a:", "127.0.0.1:0", "[::1]", "[fe80::1%25eth0]:65535", "svc.ns.svc", "a%2db"]
        {
            assert_eq!(why(fine), None, "{fine}");
        }
        for (bad, expected) in [
            ("", "names no host"),
            (":80", "names no host"),
            ("u@a", "user information"),
            ("u:p@a:80", "user information"),
            ("@", "user information"),
            ("a:b", "a port"),
            ("a:80:80", "a port"),
            ("a:65536", "a port"),
            ("a:-1", "a port"),
            ("[::1]:x", "a port"),
            ("a b", "a host cannot have"),
            ("a/b", "a host cannot have"),
            ("a\\b", "a host cannot have"),
            ("a,b", ""),
            ("[", "a host cannot have"),
            ("[]", "a host cannot have"),
            ("[::1", "a host cannot have"),
            ("[::1]a", "a host cannot have"),
            ("a[::1]", "a host cannot have"),
            ("[a]", "a host cannot have"),
            ("é", "a host cannot have"),
            ("a\t", "a host cannot have"),
        ] {
            // A comma is a delimiter like others (RFC 3986 §2.2).
            if expected.is_empty() {
                assert_eq!(why(bad), None, "{bad}");
                continue;
            }
            let why = why(bad).unwrap_or_else(|| panic!("{bad} passes"));
            assert!(why.starts_with("the Host header ") && why.contains(expected), "{bad}: {why}");
        }
    }

    #[test]
    fn hosts_are_compared_as_their_scheme_does() {
        for (one, other) in [("a", "A"), ("a", "a:80"), ("a:", "a:80"), ("a:080", "A:80"), ("[::1]", "[::1]:80")] {
            assert!(is_same(one.as_bytes(), other.as_bytes(), b"80"), "{one} {other}");
        }
        for (one, other) in [("a", "b"), ("a", "a:443"), ("a:81", "a"), ("a", "a.")] {
            assert!(!is_same(one.as_bytes(), other.as_bytes(), b"80"), "{one} {other}");
        }
        assert!(is_same(b"a", b"a:443", b"443"));
    }
}
