//! Requests and answers.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{HeaderName as Name, Method};

use crate::Error;

/// A request, without the headers that its [`Client`](crate::Client) sends with every request.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The first invalid part. It is reported when the request is sent, so that a request can be built in one
    /// expression.
    pub(crate) mistake: Option<String>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// Creates a POST of this body, as `application/octet-stream` unless a header says otherwise.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path: String::new(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: body.into(),
            mistake: None,
        }
    }

    /// Sets another method than POST.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the path after the service's name, such as `/v1/score`. It is sent unchanged: percent-encode where needed.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        self.path = format!("{slash}{path}");
        self
    }

    /// Sets the query, such as `uid=1`, without its question mark. It is sent unchanged.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        query.trim_start_matches('?').clone_into(&mut self.query);
        self
    }

    /// Sets a header. The client itself writes those for framing and routing, such as `Content-Length` and `Host`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Err(mistake) = insert(&mut self.headers, name, value) {
            self.mistake.get_or_insert(mistake);
        }
        self
    }

    /// Sets the content type.
    #[must_use]
    pub fn content_type(self, value: &str) -> Self {
        self.header(CONTENT_TYPE.as_str(), value)
    }
}

/// Sets a header, unless it is one that the client writes itself.
pub(crate) fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    const OURS: [HeaderName; 6] = [
        http::header::CONNECTION,
        http::header::CONTENT_LENGTH,
        http::header::HOST,
        http::header::TE,
        http::header::TRANSFER_ENCODING,
        http::header::UPGRADE,
    ];
    let parsed: Name = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
    if OURS.contains(&parsed) {
        return Err(format!("the header {name:?} is written by the client"));
    }
    // The value is not shown: it may be a secret.
    let value: HeaderValue = value.parse().map_err(|_| format!("the value of the header {name:?} is invalid"))?;
    headers.insert(parsed, value);
    Ok(())
}

impl Response {
    /// Returns the body as text.
    ///
    /// # Errors
    /// [`Error::Response`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|_| self.unreadable(crate::error::Unread::NotText))
    }

    /// Returns the id of the request in the server's log.
    pub fn request_id(&self) -> Option<&str> {
        self.headers.get("x-request-id")?.to_str().ok()
    }

    pub(crate) fn unreadable(&self, why: crate::error::Unread) -> Error {
        Error::Response(crate::error::Unreadable { status: self.status, why })
    }
}

impl AsRef<[u8]> for Response {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_with_one_slash_and_queries_with_none() {
        let request = Request::new("x").path("v1").query("?a=b");
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/v1", "a=b"));
        assert_eq!(Request::new("").path("").path, "");
    }

    #[test]
    fn the_first_mistake_is_kept() {
        let request = Request::new("").header("a b", "x").header("x", "a\nb");
        assert_eq!(request.mistake.as_deref(), Some("\"a b\" is not the name of a header"));
        let framing = Request::new("").header("Content-Length", "7");
        assert!(framing.mistake.unwrap().contains("written by the client"));
    }
}
