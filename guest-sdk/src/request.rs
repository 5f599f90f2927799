use std::{fmt::Display, time::Duration};

use crate::{Level, call::Call};

/// One call.
///
/// Headers, the request's id and the time left are fetched from the host when they are needed, so a call that does not
/// read them does not pay for them. Native builds have no host: [`Request::post`] or [`Request::get`] makes a request
/// that holds these values itself, so a processor's unit tests need no Wasm.
#[derive(Clone, Debug)]
pub struct Request {
    /// The HTTP method, as sent.
    pub method: String,
    /// The path after the service's name: empty, or beginning with `/`. Not decoded.
    pub path: String,
    /// The query string after `?`, not decoded.
    pub query: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The body, decompressed.
    pub body: Vec<u8>,
    pub(crate) call: Call,
}

impl Request {
    /// Returns the first header of that name, in any case. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.call.header(name)
    }

    /// Returns all headers in the order of arrival; those with the same name are together, in the place of the first.
    /// `Authorization` is left out, except in public services. The headers that described a compressed body are left
    /// out once it is decoded.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        self.call.headers()
    }

    /// Returns the id under which the host logs this call.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.call.request_id()
    }

    /// Returns the time until the host stops this call.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.call.remaining()
    }

    /// Writes a log line of this call. Outside of batches, [`log`](crate::log()) does the same.
    pub fn log(&self, level: Level, message: impl Display) {
        self.call.select();
        crate::log(level, message);
    }
}

/// Requests for unit tests; only native builds have these.
#[cfg(not(target_family = "wasm"))]
impl Request {
    /// Makes a `POST` with this body, no headers, and five seconds left.
    pub fn post(body: impl Into<Vec<u8>>) -> Self {
        Self::given("POST", body.into())
    }

    /// Makes a `GET` without headers or body, with five seconds left.
    #[must_use]
    pub fn get() -> Self {
        Self::given("GET", Vec::new())
    }

    fn given(method: &str, body: Vec<u8>) -> Self {
        Self {
            method: method.to_owned(),
            path: String::new(),
            query: None,
            content_type: None,
            body,
            call: Call::default(),
        }
    }

    /// Sets the method.
    #[must_use]
    pub fn with_method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// Sets the path after the service's name. It begins with `/`.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the query string, without its `?`.
    #[must_use]
    pub fn with_query(mut self, query: impl Into<String>) -> Self {
        self.query = Some(query.into());
        self
    }

    /// Sets the content type, as the field and as a header.
    #[must_use]
    pub fn with_content_type(self, content_type: impl Into<String>) -> Self {
        self.with_header("content-type", content_type)
    }

    /// Adds a header. A `content-type` also fills the field of that name, as it does on the host.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(value.clone());
        }
        self.call.headers.push((name, value));
        self
    }

    /// Sets the id of the request; `test` unless set.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.call.request_id = id.into();
        self
    }

    /// Sets the time that [`remaining`](Self::remaining) returns. It does not run down.
    #[must_use]
    pub fn with_remaining(mut self, time: Duration) -> Self {
        self.call.remaining = time;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_any_case() {
        let request = Request::post("").with_header("X-Tenant", "blue");
        assert_eq!(request.header("x-tenant").as_deref(), Some("blue"));
        assert_eq!(request.header("x-other"), None);
    }

    #[test]
    fn the_first_of_equal_headers_is_found() {
        let request = Request::get().with_header("accept", "a").with_header("accept", "b");
        assert_eq!(request.header("accept").as_deref(), Some("a"));
        assert_eq!(request.headers().len(), 2);
    }

    #[test]
    fn the_content_type_is_a_field_and_a_header() {
        let request = Request::post("{}").with_content_type("application/json");
        assert_eq!(request.content_type.as_deref(), Some("application/json"));
        assert_eq!(request.header("Content-Type").as_deref(), Some("application/json"));
    }

    #[test]
    fn a_test_says_what_the_host_would() {
        let request = Request::get()
            .with_path("/v1")
            .with_query("a=1")
            .with_method("PUT")
            .with_request_id("r-7")
            .with_remaining(Duration::from_millis(20));
        assert_eq!(request.path, "/v1");
        assert_eq!(request.query.as_deref(), Some("a=1"));
        assert_eq!(request.method, "PUT");
        assert_eq!(request.request_id(), "r-7");
        assert_eq!(request.remaining(), Duration::from_millis(20));
    }
}
