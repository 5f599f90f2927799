//! The headers of a call as its processor sees them.

use std::fmt;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// The prefix of names that only the host may set, because processors trust these headers.
const OURS: &str = "x-bulkhead-";

/// The headers of a request, in the order of their arrival. Headers that are not for a processor are hidden.
///
/// Hidden headers stay in the map and are skipped when it is read: removing an entry from a [`HeaderMap`] moves the
/// last one into its place, and processors see the order.
#[derive(Clone, Default)]
pub struct Headers {
    all: HeaderMap,
    withholds_authorization: bool,
    /// Headers that described the encoded body, hidden once the body is decoded.
    packing: &'static [HeaderName],
}

impl Headers {
    /// Returns the headers as received, for the host itself.
    pub fn received(&self) -> &HeaderMap {
        &self.all
    }

    /// Hides `Authorization`: a processor must not see its callers' secrets.
    pub fn withhold_authorization(&mut self) {
        self.withholds_authorization = true;
    }

    /// Hides `Content-Encoding`: it named no coding, or the body is not encoded.
    pub fn withhold_encoding(&mut self) {
        static ENCODING: [HeaderName; 1] = [CONTENT_ENCODING];
        self.packing = &ENCODING;
    }

    /// Records that the body was decoded, and its new length.
    pub fn unpacked(&mut self, length: usize) {
        static PACKING: [HeaderName; 3] = [CONTENT_ENCODING, TRANSFER_ENCODING, CONTENT_MD5];
        self.packing = &PACKING;
        self.all.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }

    /// Returns the first value of a header; the name may be in any case.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        if self.withholds(name) { None } else { self.all.get(name) }
    }

    /// Iterates over the headers that a processor sees. Those with the same name are together, in the place of the
    /// first.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.all.iter().filter(|(name, _)| !self.withholds(name.as_str()))
    }

    fn withholds(&self, name: &str) -> bool {
        let is = |withheld: &HeaderName| name.eq_ignore_ascii_case(withheld.as_str());
        let is_ours = name.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS));
        is_ours || self.withholds_authorization && is(&AUTHORIZATION) || self.packing.iter().any(is)
    }
}

impl From<HeaderMap> for Headers {
    fn from(all: HeaderMap) -> Self {
        Self { all, ..Self::default() }
    }
}

/// Shows only what a processor sees, so that no secret gets into a log.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> Headers {
        let mut all = HeaderMap::new();
        for (name, value) in lines {
            all.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        all.into()
    }

    fn names(headers: &Headers) -> Vec<&str> {
        headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn what_is_withheld_leaves_the_order_of_the_others() {
        let mut headers = headers(&[
            ("host", "a"),
            ("authorization", "secret"),
            ("x-first", "1"),
            ("x-bulkhead-fuel", "7"),
            ("content-encoding", "gzip"),
            ("content-length", "30"),
            ("x-second", "2"),
            ("content-md5", "x"),
            ("x-third", "3"),
        ]);
        headers.withhold_authorization();
        headers.unpacked(100);
        assert_eq!(names(&headers), ["host", "x-first", "content-length", "x-second", "x-third"]);
        assert_eq!(headers.get("content-length").unwrap(), "100");
        assert_eq!(headers.received().len(), 9);
    }

    #[test]
    fn a_name_in_any_case_is_withheld_as_well() {
        let mut headers = headers(&[
            ("authorization", "secret"),
            ("x-bulkhead-fuel", "7"),
            ("content-encoding", "gzip"),
            ("x-bulkheads", "mine"),
        ]);
        assert_eq!(headers.get("AUTHORIZATION").unwrap(), "secret", "a public service's callers may send one");
        headers.withhold_authorization();
        headers.withhold_encoding();
        for name in ["authorization", "Authorization", "X-Bulkhead-Fuel", "x-bulkhead-", "Content-Encoding"] {
            assert_eq!(headers.get(name), None, "{name}");
        }
        assert_eq!(
            (headers.get("X-Bulkheads").unwrap(), names(&headers)),
            (&"mine".parse().unwrap(), vec!["x-bulkheads"])
        );
        assert!(!format!("{headers:?}").contains("secret"));
    }
}
