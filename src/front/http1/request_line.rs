//! Checks the first line of a request: RFC 9112 §3.

use crate::front::head::{HeadFault, judge_method};
use crate::front::target::{MAX_TARGET, Target};

pub(super) const SHAPE: HeadFault = HeadFault::Malformed("the request line is not `METHOD target HTTP/1.1`");

/// Checks `METHOD SP target SP HTTP/d.d`. Further spaces between the first and the last count as part of the target, so
/// that the refusal names their position.
pub(super) fn judge(line: &[u8]) -> Result<(), HeadFault> {
    let Some((first, last)) = memchr::memchr(b' ', line).zip(memchr::memrchr(b' ', line)) else { return Err(SHAPE) };
    if first == last {
        return Err(SHAPE);
    }
    let (method, target, version) = (&line[..first], &line[first + 1..last], &line[last + 1..]);
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
    Target::of(method, target)?.judge_bytes(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let fault = |line: &str| judge(line.as_bytes()).err();
        for fine in [
            "GET / HTTP/1.1",
            "GET http://a/x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "TRACE /%zz HTTP/1.0",
            "GET /é?q=é HTTP/1.1",
        ] {
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
            "GET",
            "GET / HTTP/1.10",
            "GET / http/1.1",
            "GET / HTTP/x",
            "GET / HTTP/1.1 ",
            "GET\t/ HTTP/1.1",
            " GET / HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET * HTTP/1.1",
            "GET abc HTTP/1.1",
            "G=\":<>(e) / HTTP/1.1",
        ] {
            assert!(matches!(fault(bad), Some(HeadFault::Malformed(_))), "{bad}");
        }
        for bad in ["GET /a b HTTP/1.1", "GET /  HTTP/1.1", "GET /a#b HTTP/1.1", "GET /\r HTTP/1.1"] {
            assert!(matches!(fault(bad), Some(HeadFault::TargetByte(_))), "{bad}");
        }
    }
}
