//! The target of a request: its form, and the bytes that are allowed in it (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! Allowed are the bytes of a URI, and bytes that clients commonly send unencoded and all parsers read alike: UTF-8,
//! `[`, `]`, `\`, `^`, `|`, `{`, `}`, in a path also `"`, in a query also a backtick. [`http::Uri`], which carries the
//! target from here on, accepts the same bytes and also `#`. It drops `#` and everything after it, so `#` is refused
//! here.

use std::fmt;

use super::authority::{self, AuthorityField};
use super::head::HeadFault;

/// Most bytes of a target.
pub(super) const MAX_TARGET: usize = 8 << 10;

const NO_FORM: HeadFault =
    HeadFault::Malformed("the request target is neither a path nor an absolute URL with http:// or https://");
const NO_OPTIONS: HeadFault = HeadFault::Malformed("the request target `*` is allowed only with OPTIONS");

/// The form of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A path with its query.
    Origin,
    /// A whole URL, as clients send it to a proxy. Its authority begins at `authority`, its path at `path`.
    Absolute { authority: usize, path: usize },
    /// `*`, the host as a whole.
    Asterisk,
}

impl Target {
    /// Recognises the form. Only the bytes of an authority are checked here; `judge_bytes` checks the others.
    pub(super) fn of(method: &[u8], target: &[u8]) -> Result<Self, HeadFault> {
        match target {
            [b'/', ..] => Ok(Self::Origin),
            b"*" if method == b"OPTIONS" => Ok(Self::Asterisk),
            b"*" => Err(NO_OPTIONS),
            _ => Self::absolute(target),
        }
    }

    fn absolute(target: &[u8]) -> Result<Self, HeadFault> {
        let has_scheme = |scheme: &&&str| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        };
        let Some(authority) = ["http://", "https://"].iter().find(has_scheme).map(|scheme| scheme.len()) else {
            return Err(NO_FORM);
        };
        let rest = &target[authority..];
        let path = authority + rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        authority::judge(&target[authority..path], AuthorityField::Target)?;
        Ok(Self::Absolute { authority, path })
    }

    /// Checks the bytes of path and query.
    pub(super) fn judge_bytes(self, target: &[u8]) -> Result<(), HeadFault> {
        let path = match self {
            Self::Origin => 0,
            Self::Absolute { path, .. } => path,
            Self::Asterisk => return Ok(()),
        };
        // Most targets have only bytes that are allowed everywhere, and this loop is fast.
        if target[path..].iter().all(|byte| TAKEN[usize::from(*byte)] & PLAIN != 0) {
            return Ok(());
        }
        let (mut part, mut has_high) = (Part::Path, false);
        for (at, byte) in target.iter().copied().enumerate().skip(path) {
            if TAKEN[usize::from(byte)] & part.bit() == 0 {
                return Err(HeadFault::TargetByte(BadByte { byte, at, part }));
            }
            if byte == b'?' {
                part = Part::Query;
            }
            has_high |= !byte.is_ascii();
        }
        if has_high && let Err(error) = str::from_utf8(&target[path..]) {
            let at = path + error.valid_up_to();
            let part = if target[path..at].contains(&b'?') { Part::Query } else { Part::Path };
            return Err(HeadFault::TargetByte(BadByte { byte: target[at], at, part }));
        }
        Ok(())
    }
}

/// A byte that must be percent-encoded in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadByte {
    byte: u8,
    /// Its position, counted from 0.
    at: usize,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Path,
    Query,
}

impl Part {
    const fn bit(self) -> u8 {
        match self {
            Self::Path => 1,
            Self::Query => 2,
        }
    }
}

impl fmt::Display for BadByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { byte, at, part } = *self;
        f.write_str("the request target has ")?;
        match byte {
            b' ' => f.write_str("a space")?,
            b'!'..=b'~' => write!(f, "`{}`", char::from(byte))?,
            0..=b'\x1f' | b'\x7f' => write!(f, "the control character 0x{byte:02X}")?,
            0x80.. => write!(f, "0x{byte:02X}, which is not UTF-8,")?,
        }
        let part = match part {
            Part::Path => "path",
            Part::Query => "query",
        };
        write!(f, " at byte {at}, in its {part}; there it must be percent-encoded, as %{byte:02X}")
    }
}

/// Marks the ASCII bytes that are allowed in every part and begin no other part.
const PLAIN: u8 = 4;

/// For each byte, the parts in which it is allowed, and [`PLAIN`].
const TAKEN: [u8; 256] = {
    let (path, query) = (Part::Path.bit(), Part::Query.bit());
    let mut taken = [0; 256];
    let mut byte = 0x21;
    while byte < 256 {
        taken[byte] = match byte as u8 {
            b'#' | b'<' | b'>' | 0x7f => 0,
            b'"' => path,
            b'`' => query,
            b'?' | 0x80.. => path | query,
            _ => path | query | PLAIN,
        };
        byte += 1;
    }
    taken
};

#[cfg(test)]
mod tests {
    use http::Uri;
    use http::uri::PathAndQuery;

    use super::*;

    fn judge(method: &str, target: &[u8]) -> Result<Target, HeadFault> {
        let form = Target::of(method.as_bytes(), target)?;
        form.judge_bytes(target).map(|()| form)
    }

    fn told(target: &[u8]) -> String {
        match judge("GET", target) {
            Err(HeadFault::TargetByte(bad)) => bad.to_string(),
            other => panic!("{:?}: {other:?}", String::from_utf8_lossy(target)),
        }
    }

    /// The two parsers of a target must agree. A target that passes here becomes a `Uri` with nothing lost. A target
    /// that does not pass would be no `Uri`, or a shorter one.
    #[test]
    fn every_byte_is_judged_as_the_uri_judges_it() {
        for byte in 0..=0xff_u8 {
            for before in ["/a", "/a?b"] {
                let target = [before.as_bytes(), &[byte], b"c"].concat();
                let whole = PathAndQuery::try_from(&target[..]).ok().filter(|kept| kept.as_str().as_bytes() == target);
                assert_eq!(judge("GET", &target).is_ok(), whole.is_some(), "0x{byte:02x} after {before}");
            }
        }
        for fine in ["/é", "/a?q=日本", "/\u{10ffff}", "http://a/é?é"] {
            assert!(judge("GET", fine.as_bytes()).is_ok() && fine.parse::<Uri>().is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_byte_that_is_refused_is_named_with_its_place() {
        assert_eq!(
            told(b"/a?q=\"x\""),
            "the request target has `\"` at byte 5, in its query; there it must be percent-encoded, as %22"
        );
        assert_eq!(
            told(b"/a b"),
            "the request target has a space at byte 2, in its path; there it must be percent-encoded, as %20"
        );
        assert!(told(b"http://h/\x01").starts_with("the request target has the control character 0x01 at byte 9, "));
        assert!(told(b"/\xc3\xa9?\xe9").contains("0xE9, which is not UTF-8, at byte 4, in its query"));
        assert!(told(b"/\xe9").contains("at byte 1, in its path"));
        assert!(told(b"/a#b").contains("`#` at byte 2, in its path; there it must be percent-encoded, as %23"));
        assert!(told(b"/a?b?c>").contains("`>` at byte 6, in its query"));
    }

    #[test]
    fn a_target_has_one_of_three_forms() {
        assert_eq!(judge("GET", b"//a"), Ok(Target::Origin));
        assert_eq!(judge("OPTIONS", b"*"), Ok(Target::Asterisk));
        for (fine, path) in
            [("http://a/x", 8), ("HTTP://a/x", 8), ("hTTps://a:443/x", 13), ("http://[::1]:80?x", 15), ("http://a", 8)]
        {
            let authority = fine.find("//").unwrap() + 2;
            assert_eq!(judge("GET", fine.as_bytes()), Ok(Target::Absolute { authority, path }), "{fine}");
        }
        for bad in ["*", "", "?x", "abc", "a:443", "ftp://a/", "http:/a", "http:a", "\\a", "*x", "mailto:a@b"] {
            assert!(matches!(judge("GET", bad.as_bytes()), Err(HeadFault::Malformed(_))), "{bad}");
        }
        for bad in ["http://", "http:///x", "http://u@a/", "http://a:b/", "https://a b/", "http://[::1/", "http://?x"] {
            assert!(matches!(judge("GET", bad.as_bytes()), Err(HeadFault::Authority(_))), "{bad}");
        }
    }
}
