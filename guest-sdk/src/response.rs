/// The answer to the caller.
///
/// The host sets framing and hop-by-hop headers (`content-length`, `connection`, …) and drops those in `headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, 200 to 599.
    pub status: u16,
    /// The `Content-Type` header. Without one, the host sends `text/html; charset=utf-8`.
    pub content_type: Option<String>,
    /// Headers other than the content type.
    pub headers: Vec<(String, String)>,
    /// The body, uncompressed. The host compresses it for callers that accept that.
    pub body: Vec<u8>,
}

impl Response {
    /// Makes a 200 with this body and no content type.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, content_type: None, headers: Vec::new(), body: body.into() }
    }

    /// Makes a 200 with plain text.
    pub fn text(body: impl Into<String>) -> Self {
        Self::new(body.into()).with_content_type("text/plain; charset=utf-8")
    }

    /// Makes a 200 with a body that is already JSON, for example from `serde_json::to_vec`.
    pub fn json_bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::new(body).with_content_type("application/json")
    }

    /// Sets the status, 200 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets the content type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a header. An existing header of the same name stays.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructors_name_the_content_type() {
        assert_eq!(Response::new("x").content_type, None);
        assert_eq!(Response::text("x").content_type.as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(Response::json_bytes("{}").content_type.as_deref(), Some("application/json"));
    }

    #[test]
    fn a_response_is_built_in_one_expression() {
        let response =
            Response::text("busy").with_status(503).with_header("retry-after", "1").with_header("x-part", "a");
        assert_eq!(response.status, 503);
        assert_eq!(response.body, b"busy");
        assert_eq!(
            response.headers,
            [("retry-after".to_owned(), "1".to_owned()), ("x-part".to_owned(), "a".to_owned())]
        );
    }
}
