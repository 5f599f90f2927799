//! Where a request goes.

use http::Uri;

use super::refusal::Refusal;

const PREDICT: &str = "/api/predict/";

/// A request for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) service: &'a str,
    /// Where in the path the part after the service's name begins.
    pub(super) path_start: usize,
}

impl<'a> Route<'a> {
    pub(super) fn of(uri: &'a Uri) -> Result<Self, Refusal> {
        let rest = uri.path().strip_prefix(PREDICT).ok_or(Refusal::NotFound)?;
        let service = rest.split('/').next().unwrap_or_default();
        if service.is_empty() {
            return Err(Refusal::NotFound);
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
        Route::of(&uri).ok().map(|route| (route.service.to_owned(), route.path_start))
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
    fn the_target_is_what_was_sent() {
        assert_eq!(target(&Uri::from_static("/api/predict/a%20b?x=%2F")), "/api/predict/a%20b?x=%2F");
    }
}
