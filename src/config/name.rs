//! The name of a service. It is part of URLs, metric labels and directory names, so it is a short plain word.

use std::{borrow::Borrow, error, fmt, str::FromStr, sync::Arc};

use serde::Serialize;

/// The name of a service. It is cheap to clone, because every call carries one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServiceName(Arc<str>);

/// The error for a text that is not a service name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl ServiceName {
    /// The pattern of a name, for schemas. [`ServiceName::parse`] has the same rule in code.
    pub(crate) const PATTERN: &str = "^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$";
    pub const ACCEPTED: &'static str = "1 to 63 of a-z, 0-9, `-` and `_`, with a letter or a digit at both ends";

    pub fn parse(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = (1..=63).contains(&bytes.len())
            && bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || matches!(byte, b'-' | b'_'));
        if good { Ok(Self(text.into())) } else { Err(BadName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::parse(text)
    }
}

/// Makes it possible to look up a name in a map with the text of a URL.
impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ServiceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a service name is {}", ServiceName::ACCEPTED)
    }
}

impl error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_words() {
        let longest = "a".repeat(63);
        for good in ["a", "7", "digits", "a-b_c", "0x", &longest] {
            assert_eq!(ServiceName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", "_", "Digits", "a.b", "a/b", "a b", "ä", "a\n", &too_long] {
            assert_eq!(ServiceName::parse(bad), Err(BadName), "{bad:?}");
        }
    }
}
