//! Judges the first line of a request: RFC 9112 §3.

use http::Uri;

use super::head::HeadFault;

/// Bytes of the request target, as in the table of limits.
pub(super) const MAX_TARGET: usize = 8 << 10;

const SHAPE: HeadFault = HeadFault::Malformed("the request line is not `METHOD target HTTP/1.1`");

/// `METHOD SP target SP HTTP/d.d`.
pub(super) fn judge(line: &[u8]) -> Result<(), HeadFault> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(SHAPE);
    };
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => {}
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(HeadFault::VersionNotSupported);
        }
        _ => return Err(SHAPE),
    }
    if target.len() > MAX_TARGET {
        return Err(HeadFault::TargetTooLong);
    }
    judge_method(method)?;
    if target.iter().any(|b| !b.is_ascii_graphic() || *b == b'#') {
        return Err(HeadFault::Malformed("the request target has a character that must be percent-encoded"));
    }
    let form_is_known =
        target.starts_with(b"/") || target.starts_with(b"http://") || (target == b"*" && method == b"OPTIONS");
    if !form_is_known {
        return Err(HeadFault::Malformed("the request target is not a path"));
    }
    // What hyper cannot read it would refuse by itself: without a body, and without anybody's count.
    let is_plain = target.starts_with(b"/") && target.iter().all(|b| is_plain(*b));
    if is_plain || Uri::try_from(target).is_ok() {
        Ok(())
    } else {
        Err(HeadFault::Malformed("the request target is not a URI"))
    }
}

pub(super) fn judge_method(method: &[u8]) -> Result<(), HeadFault> {
    match method {
        b"GET" | b"HEAD" | b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"OPTIONS" | b"TRACE" => Ok(()),
        b"CONNECT" => Err(HeadFault::NotImplemented("CONNECT is not offered")),
        method if !method.is_empty() && method.iter().all(|b| is_token(*b)) => {
            Err(HeadFault::NotImplemented("the method is not known"))
        }
        _ => Err(SHAPE),
    }
}

/// Whether this may stand anywhere in a path or a query (RFC 3986 §3.3, §3.4), as far as that is ever needed.
fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"/-._~%?=&+,:@!$'()*;".contains(&b)
}

pub(super) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let fault = |line: &str| judge(line.as_bytes()).err();
        for fine in ["GET / HTTP/1.1", "GET http://a/x HTTP/1.1", "OPTIONS * HTTP/1.1", "TRACE /%zz HTTP/1.0"] {
            assert_eq!(fault(fine), None, "{fine}");
        }
        for version in ["2.0", "3.0", "1.2", "0.9"] {
            assert_eq!(fault(&format!("GET / HTTP/{version}")), Some(HeadFault::VersionNotSupported));
        }
        assert_eq!(fault("PRI * HTTP/2.0"), Some(HeadFault::VersionNotSupported));
        for unknown in ["FROB / HTTP/1.1", "get / HTTP/1.1", "CONNECT a:443 HTTP/1.1"] {
            assert!(matches!(fault(unknown), Some(HeadFault::NotImplemented(_))), "{unknown}");
        }
        for bad in [
            "GET /",
            "GET / HTTP/1.10",
            "GET / http/1.1",
            "GET / HTTP/x",
            "GET  / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET * HTTP/1.1",
            "GET abc HTTP/1.1",
            "GET /é HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "G=\":<>(e) / HTTP/1.1",
        ] {
            assert!(matches!(fault(bad), Some(HeadFault::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn what_passes_is_a_uri_for_hyper_too() {
        let fault = |target: &str| judge(format!("GET {target} HTTP/1.1").as_bytes()).is_err();
        for b in 0..=127_u8 {
            for place in ["/", "/a?b=", "http://a/"] {
                let target = format!("{place}{}c", b as char);
                let passes = !fault(&target);
                assert!(!passes || Uri::try_from(&*target).is_ok(), "{target:?}");
                assert!(passes || !is_plain(b), "{target:?}");
            }
        }
        for bad in ["/<", "/?\"", "http://", "http://a:b:c/", "http://[/"] {
            assert!(fault(bad), "{bad}");
        }
    }
}
