//! Judges the first line of a request: RFC 9112 §3.

use super::head::HeadFault;

/// Bytes of the request target, as in the table of limits.
pub(in crate::front) const MAX_TARGET: usize = 8 << 10;

pub(super) const SHAPE: HeadFault = HeadFault::Malformed("the request line is not `METHOD target HTTP/1.1`");
pub(super) const NO_URI: HeadFault = HeadFault::Malformed("the request target is not a URI");

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
    Ok(())
}

pub(in crate::front) fn judge_method(method: &[u8]) -> Result<(), HeadFault> {
    match method {
        b"GET" | b"HEAD" | b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"OPTIONS" | b"TRACE" => Ok(()),
        b"CONNECT" => Err(HeadFault::NotImplemented("CONNECT is not offered")),
        method if !method.is_empty() && method.iter().all(|b| is_token(*b)) => {
            Err(HeadFault::NotImplemented("the method is not known"))
        }
        _ => Err(SHAPE),
    }
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
}
