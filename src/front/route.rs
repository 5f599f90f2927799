//! Routing by method and path.

use http::{Method, Uri};

use crate::refusal::Refusal;

const PREDICT: &str = "/api/predict/";
/// The `Allow` header for a method that no path accepts: the methods that services can be set to accept.
const ANYWHERE: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// The discovery paths of newer and older SDKs. In direct mode, SDKs ask there for the addresses of a service.
const UPSTREAMS: [&str; 2] =
    ["/api/v1/servicediscovery/upstreams/", "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// A call of a service.
    Predict {
        service: &'a str,
        /// The offset in the path at which the part after the service's name begins.
        path_start: usize,
    },
    /// A discovery request. The host itself answers it with the addresses of the service.
    Upstreams { service: &'a str },
}

impl<'a> Route<'a> {
    pub(super) fn of(method: &Method, uri: &'a Uri) -> Result<Self, Refusal> {
        let Some(rest) = uri.path().strip_prefix(PREDICT) else { return Self::elsewhere(method, uri) };
        let service = rest.split('/').next().unwrap_or_default();
        if service.is_empty() {
            return Self::elsewhere(method, uri);
        }
        Ok(Self::Predict { service, path_start: PREDICT.len() + service.len() })
    }

    /// Routes a request whose path names no service to call.
    fn elsewhere(method: &Method, uri: &'a Uri) -> Result<Self, Refusal> {
        let path = uri.path();
        let not_allowed = |allow: &str| Err(Refusal::MethodNotAllowed { allow: allow.to_owned() });
        // TRACE, and OPTIONS of the host as a whole (`*`), are never allowed.
        if *method == Method::TRACE || path == "*" {
            return not_allowed(ANYWHERE);
        }
        match UPSTREAMS.iter().find_map(|prefix| path.strip_prefix(prefix)) {
            None => Err(Refusal::NotFound),
            Some(name) => match first_name(name) {
                "" => Err(Refusal::NotFound),
                _ if !matches!(*method, Method::GET | Method::HEAD) => not_allowed("GET, HEAD"),
                service => Ok(Self::Upstreams { service }),
            },
        }
    }
}

/// Returns the service name, which ends at the first slash, plain or as `%2F`. The Go and the Java SDK ask for `svc/v1`
/// if their user configured that, and some encode the slash. No service name contains either form.
fn first_name(name: &str) -> &str {
    let end = name.bytes().enumerate().position(|(at, byte)| match byte {
        b'/' => true,
        b'%' => name.as_bytes().get(at + 1..at + 3).is_some_and(|code| code.eq_ignore_ascii_case(b"2f")),
        _ => false,
    });
    &name[..end.unwrap_or(name.len())]
}

/// Returns the request target as it was sent, the form that SDKs sign.
pub(super) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(uri: &'static str) -> Option<(String, usize)> {
        let uri = Uri::from_static(uri);
        match Route::of(&Method::GET, &uri) {
            Ok(Route::Predict { service, path_start }) => Some((service.to_owned(), path_start)),
            Ok(Route::Upstreams { .. }) | Err(_) => None,
        }
    }

    #[test]
    fn services_are_below_predict() {
        assert_eq!(route("/api/predict/echo"), Some(("echo".into(), 17)));
        assert_eq!(route("/api/predict/echo/v1/x?y=z"), Some(("echo".into(), 17)));
        assert_eq!(route("http://host/api/predict/a/"), Some(("a".into(), 14)));
        for elsewhere in
            ["/", "/api/predict", "/api/predict/", "/api/predict//x", "/API/predict/echo", "//api/predict/echo"]
        {
            assert_eq!(route(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn what_no_service_answers_is_refused_by_its_method() {
        for (method, uri) in [(Method::TRACE, "/"), (Method::OPTIONS, "*")] {
            let refusal = Route::of(&method, &Uri::from_static(uri)).map(|_| ()).unwrap_err();
            assert!(matches!(refusal, Refusal::MethodNotAllowed { .. }), "{method}");
        }
    }

    #[test]
    fn upstreams_are_asked_for_on_both_paths_with_get_and_head() {
        for prefix in UPSTREAMS {
            let uri: Uri = format!("{prefix}echo?internal=true").parse().unwrap();
            for method in [Method::GET, Method::HEAD] {
                let route = Route::of(&method, &uri).ok();
                assert_eq!(route, Some(Route::Upstreams { service: "echo" }), "{method} {uri}");
            }
            let refused = Route::of(&Method::POST, &uri).unwrap_err();
            assert!(matches!(refused, Refusal::MethodNotAllowed { allow } if allow == "GET, HEAD"));
            for more in ["echo/", "echo/v1", "echo/v1/x", "echo%2Fv1", "echo%2fv1/x", "echo//"] {
                let uri: Uri = format!("{prefix}{more}").parse().unwrap();
                let route = Route::of(&Method::GET, &uri).ok();
                assert_eq!(route, Some(Route::Upstreams { service: "echo" }), "{uri}");
            }
            for nothing in ["", "/", "/echo", "%2Fecho"] {
                let uri: Uri = format!("{prefix}{nothing}").parse().unwrap();
                assert!(matches!(Route::of(&Method::GET, &uri), Err(Refusal::NotFound)), "{uri}");
            }
        }
    }

    #[test]
    fn the_target_is_what_was_sent() {
        assert_eq!(target(&Uri::from_static("/api/predict/a%20b?x=%2F")), "/api/predict/a%20b?x=%2F");
    }
}
