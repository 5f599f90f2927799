//! Where a request goes.

use http::{Method, Uri};

use super::refusal::Refusal;

const PREDICT: &str = "/api/predict/";
/// What services can be made to answer.
const ANYWHERE: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// A request for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) service: &'a str,
    /// Where in the path the part after the service's name begins.
    pub(super) path_start: usize,
}

impl<'a> Route<'a> {
    pub(super) fn of(method: &Method, uri: &'a Uri) -> Result<Self, Refusal> {
        // TRACE, and OPTIONS of the host as a whole, are nowhere to be had.
        let elsewhere = || match *method == Method::TRACE || uri.path() == "*" {
            true => Refusal::MethodNotAllowed { allow: ANYWHERE.to_owned() },
            false => Refusal::NotFound,
        };
        let rest = uri.path().strip_prefix(PREDICT).ok_or_else(elsewhere)?;
        let service = rest.split('/').next().unwrap_or_default();
        if service.is_empty() {
            return Err(elsewhere());
        }
        Ok(Self { service, path_start: PREDICT.len() + service.len() })
    }
}

/// The request target as sent, which is what SDKs sign.
pub(super) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(uri: &'static str) -> Option<(String, usize)> {
        let uri = Uri::from_static(uri);
        Route::of(&Method::GET, &uri).ok().map(|route| (route.service.to_owned(), route.path_start))
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
    fn the_target_is_what_was_sent() {
        assert_eq!(target(&Uri::from_static("/api/predict/a%20b?x=%2F")), "/api/predict/a%20b?x=%2F");
    }
}
