//! Cross-origin requests: the headers that tell a browser which pages may call a service (Fetch standard, section "CORS
//! protocol").
//!
//! A service without `sandbox.cors` sends none of these headers. A preflight request is answered before authentication,
//! because browsers send it without the page's headers, and so without the token.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::{Cors, Origins};

const ANY: HeaderValue = HeaderValue::from_static("*");
/// Response headers that a page may read. The host's own are named, because `*` matches nothing in a request with
/// credentials.
const EXPOSED: &[u8] = b"x-request-id, retry-after, server-timing, x-bulkhead-fuel, www-authenticate, allow, *";

/// The CORS rules of a service, applied to the origin of one request.
pub(in crate::front) struct CrossOrigin {
    rules: Arc<Cors>,
    /// `Access-Control-Allow-Origin`; `None` for an origin that is not listed, and for a request without one.
    allowed: Option<HeaderValue>,
}

impl CrossOrigin {
    pub(in crate::front) fn of(rules: &Arc<Cors>, headers: &HeaderMap) -> Box<Self> {
        let allowed = match &rules.origins {
            Origins::Any => Some(ANY),
            Origins::Listed(origins) => {
                let asks = sole(headers, &ORIGIN);
                asks.and_then(|asks| origins.iter().find(|origin| *origin == asks).cloned())
            }
        };
        Box::new(Self { rules: Arc::clone(rules), allowed })
    }

    /// Returns the headers that answer a preflight request, besides those of every answer; `None` for other requests.
    pub(in crate::front) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<HeaderMap> {
        let is_preflight = *method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let mut answer = HeaderMap::new();
        if self.allowed.is_some() {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, self.rules.methods.clone());
            let asked = || sole(headers, &ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| are_names(asked));
            if let Some(names) = self.rules.headers.as_ref().or_else(asked) {
                answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            answer.insert(ACCESS_CONTROL_MAX_AGE, self.rules.max_age.clone());
        }
        Some(answer)
    }

    /// Writes the CORS headers that every answer of the service has, refusals included.
    pub(in crate::front) fn each_header(&self, mut write: impl FnMut(&HeaderName, &[u8])) {
        // With `*` the answer is the same for all origins, so caches need no `Vary`.
        if self.rules.origins != Origins::Any {
            write(&VARY, b"origin");
        }
        let Some(allowed) = &self.allowed else { return };
        write(&ACCESS_CONTROL_ALLOW_ORIGIN, allowed.as_bytes());
        if self.rules.credentials {
            write(&ACCESS_CONTROL_ALLOW_CREDENTIALS, b"true");
        }
        write(&ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }

    /// True for the headers that the host sets itself. A processor's own are dropped: browsers refuse an answer with
    /// two values.
    pub(in crate::front) fn is_ours(name: &HeaderName) -> bool {
        *name == ACCESS_CONTROL_ALLOW_ORIGIN || *name == ACCESS_CONTROL_ALLOW_CREDENTIALS
    }
}

/// Returns the value of a header that was sent exactly once.
fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// True for a list of header names. Nothing else is echoed.
fn are_names(list: &HeaderValue) -> bool {
    let is_name = |name: &[u8]| HeaderName::from_bytes(name.trim_ascii()).is_ok();
    list.as_bytes().split(|byte| *byte == b',').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServiceFile;

    fn rules(cors: &serde_json::Value) -> Arc<Cors> {
        let file = serde_json::json!({ "name": "a", "processor_path": "a.wasm", "sandbox": { "cors": cors } });
        ServiceFile::from_value(&file).unwrap().spec().sandbox().cors.clone().unwrap()
    }

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    /// Returns the headers of an answer, without `Access-Control-Expose-Headers`.
    fn said(cors: &CrossOrigin) -> Vec<(String, String)> {
        let mut said = Vec::new();
        cors.each_header(|name, value| said.push((name.to_string(), String::from_utf8(value.to_vec()).unwrap())));
        said.retain(|(name, _)| *name != ACCESS_CONTROL_EXPOSE_HEADERS.as_str());
        said
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_listed_origin_is_said_back_and_no_other_is() {
        let rules = rules(&serde_json::json!({ "origins": ["https://a.example", "null"], "credentials": false }));
        let of = |origin: &'static str| said(&CrossOrigin::of(&rules, &headers(&[(ORIGIN, origin)])));
        for origin in ["https://a.example", "null"] {
            assert_eq!(of(origin), [pair("vary", "origin"), pair("access-control-allow-origin", origin)]);
        }
        for origin in ["https://b.example", "http://a.example", "https://a.example:443", "https://A.example", ""] {
            assert_eq!(of(origin), [pair("vary", "origin")], "{origin}");
        }
        assert_eq!(said(&CrossOrigin::of(&rules, &HeaderMap::new())), [pair("vary", "origin")]);
        let mut twice = headers(&[(ORIGIN, "https://a.example")]);
        twice.append(ORIGIN, HeaderValue::from_static("https://a.example"));
        assert_eq!(said(&CrossOrigin::of(&rules, &twice)), [pair("vary", "origin")]);
    }

    #[test]
    fn any_origin_gets_the_answer_that_all_get() {
        let rules = rules(&serde_json::json!({ "origins": ["*"] }));
        for headers in [HeaderMap::new(), headers(&[(ORIGIN, "https://a.example")])] {
            assert_eq!(said(&CrossOrigin::of(&rules, &headers)), [pair("access-control-allow-origin", "*")]);
        }
    }

    #[test]
    fn cookies_are_let_through_where_the_service_says_so() {
        let rules = rules(&serde_json::json!({ "origins": ["https://a.example"], "credentials": true }));
        let cors = CrossOrigin::of(&rules, &headers(&[(ORIGIN, "https://a.example")]));
        assert!(said(&cors).contains(&pair("access-control-allow-credentials", "true")));
        let other = CrossOrigin::of(&rules, &headers(&[(ORIGIN, "https://b.example")]));
        assert_eq!(said(&other), [pair("vary", "origin")]);
    }

    #[test]
    fn a_preflight_is_told_methods_headers_and_for_how_long() {
        let asks = headers(&[
            (ORIGIN, "https://a.example"),
            (ACCESS_CONTROL_REQUEST_METHOD, "POST"),
            (ACCESS_CONTROL_REQUEST_HEADERS, "authorization,x-mine"),
        ]);
        let listed = rules(&serde_json::json!({
            "origins": ["https://a.example"], "methods": ["POST"], "headers": ["Authorization", "content-type"], "max_age_s": 7
        }));
        let answer = CrossOrigin::of(&listed, &asks).preflight(&Method::OPTIONS, &asks).unwrap();
        let expected = headers(&[
            (ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, content-type"),
            (ACCESS_CONTROL_MAX_AGE, "7"),
        ]);
        assert_eq!(answer, expected);

        // `*` would not include Authorization, so the requested names are echoed.
        let open = rules(&serde_json::json!({ "origins": ["*"] }));
        let answer = CrossOrigin::of(&open, &asks).preflight(&Method::OPTIONS, &asks).unwrap();
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "authorization,x-mine");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST", "those of sandbox.methods");

        let stranger = headers(&[(ORIGIN, "https://b.example"), (ACCESS_CONTROL_REQUEST_METHOD, "POST")]);
        let answer = CrossOrigin::of(&listed, &stranger).preflight(&Method::OPTIONS, &stranger);
        assert_eq!(answer, Some(HeaderMap::new()), "it is answered, and told nothing");
    }

    #[test]
    fn other_requests_are_no_preflights() {
        let open = rules(&serde_json::json!({ "origins": ["*"] }));
        let whole = headers(&[(ORIGIN, "https://a.example"), (ACCESS_CONTROL_REQUEST_METHOD, "POST")]);
        let cors = CrossOrigin::of(&open, &whole);
        assert!(cors.preflight(&Method::OPTIONS, &whole).is_some());
        assert!(cors.preflight(&Method::POST, &whole).is_none());
        for part in [&[(ORIGIN, "https://a.example")][..], &[(ACCESS_CONTROL_REQUEST_METHOD, "POST")]] {
            assert!(cors.preflight(&Method::OPTIONS, &headers(part)).is_none(), "{part:?}");
        }
    }
}
