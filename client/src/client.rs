//! The client: the settings that all calls share, and the retry loop of a call.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep};

use crate::address::{self, Address};
use crate::authorization::Authorization;
#[cfg(feature = "compression")]
use crate::compress::Compressor;
use crate::direct::{self, Direct};
use crate::error::{Error, Refused};
use crate::exchange::{begin, exchange};
use crate::pool::{Connection, Pool};
use crate::request::{self, Request, Response};
use crate::retry::RetryPolicy;
#[cfg(feature = "tls")]
use crate::tls::Connector;

const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 100;
/// Four times the largest answer that a Bulkhead sends by default.
const MAX_RESPONSE: usize = 64 << 20;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("bulkhead-client/", env!("CARGO_PKG_VERSION")));
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Calls one service. Cloning gives another handle to the same connections.
///
/// It needs a Tokio runtime with I/O and time enabled.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    to: Destination,
    /// The path of every request, perhaps with a query.
    base: PathAndQuery,
    pool: Pool,
    authorization: Authorization,
    headers: HeaderMap,
    timeout: Duration,
    retry: RetryPolicy,
    /// The same policy for requests that can be repeated without harm.
    retry_of_repeatable: RetryPolicy,
    max_response: usize,
    #[cfg(feature = "compression")]
    compressor: Option<Compressor>,
}

enum Destination {
    One(Address),
    Direct(Direct),
}

impl Destination {
    /// The server for the next try; `last` is that of the try before.
    async fn address(&self, last: Option<&Address>, deadline: Instant) -> Result<Address, Error> {
        match self {
            Self::One(address) => Ok(address.clone()),
            Self::Direct(direct) => direct.next(last, deadline).await,
        }
    }
}

/// The terms of a call.
pub(crate) struct Terms {
    /// The time that the request asks the server to wait. It is added to the timeout of each try.
    pub(crate) wait: Duration,
    /// True if the request can be repeated without harm.
    pub(crate) repeatable: bool,
    pub(crate) body: Body,
}

/// The way in which a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Compressed, if the client compresses bodies.
    Compressible,
    AsItIs,
}

impl Terms {
    pub(crate) const SIMPLE: Self = Self { wait: Duration::ZERO, repeatable: true, body: Body::AsItIs };
}

/// The settings of a [`Client`]. [`build`](Self::build) reports invalid ones.
#[derive(Clone)]
pub struct ClientBuilder {
    endpoint: String,
    service: String,
    url: Option<String>,
    is_direct: bool,
    authorization: Result<Authorization, String>,
    headers: Result<HeaderMap, String>,
    timeout: Duration,
    connect_timeout: Duration,
    connections: usize,
    retry: RetryPolicy,
    max_response: usize,
    #[cfg(feature = "compression")]
    compressor: Option<Compressor>,
    #[cfg(feature = "tls")]
    tls: Result<Connector, String>,
}

impl Client {
    /// Creates a client for a service without a token, with the settings of the official SDKs; see
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    /// [`Error::Request`] if `endpoint` is not an address or `service` is not valid in a path.
    pub fn new(endpoint: &str, service: &str) -> Result<Self, Error> {
        Self::builder(endpoint, service).build()
    }

    /// Returns the default settings of a client for `service` at `endpoint`, such as `http://127.0.0.1:8080`.
    ///
    /// The name may follow its group (`group.service`), and a path may follow the name (`service/v1`), as in the SDKs.
    pub fn builder(endpoint: &str, service: &str) -> ClientBuilder {
        ClientBuilder {
            endpoint: endpoint.to_owned(),
            service: service.to_owned(),
            url: None,
            is_direct: false,
            authorization: Ok(Authorization::None),
            headers: Ok(HeaderMap::new()),
            timeout: TIMEOUT,
            connect_timeout: TIMEOUT,
            connections: CONNECTIONS,
            retry: RetryPolicy::default(),
            max_response: MAX_RESPONSE,
            #[cfg(feature = "compression")]
            compressor: None,
            #[cfg(feature = "tls")]
            tls: Ok(Connector::default()),
        }
    }

    /// POSTs `body` and returns the answer if its status is 200.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Refused`] is any other status.
    pub async fn predict(&self, body: impl Into<Bytes>) -> Result<Response, Error> {
        self.call(&Request::new(body)).await
    }

    /// POSTs a text and returns the text of the answer if its status is 200.
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict), and [`Error::Response`] if the answer is not text.
    pub async fn predict_string(&self, text: impl Into<String>) -> Result<String, Error> {
        let response = self.predict(text.into()).await?;
        response.text().map(str::to_owned)
    }

    /// Sends any request and returns the answer if its status is 200.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Refused`] is any other status.
    pub async fn call(&self, request: &Request) -> Result<Response, Error> {
        self.call_on(request, &Terms { repeatable: false, body: Body::Compressible, ..Terms::SIMPLE }).await
    }

    /// As [`call`](Self::call), on these terms.
    pub(crate) async fn call_on(&self, request: &Request, terms: &Terms) -> Result<Response, Error> {
        if let Some(mistake) = &request.mistake {
            return Err(Error::Request(mistake.clone()));
        }
        let target = self.0.target(request)?;
        let body = self.0.body(&request.body, terms.body)?;
        let retry = if terms.repeatable { &self.0.retry_of_repeatable } else { &self.0.retry };
        let (mut tries, mut last) = (0, None);
        loop {
            tries += 1;
            let deadline = Instant::now() + self.0.timeout + terms.wait;
            let address = self.0.to.address(last.as_ref(), deadline).await?;
            // Built anew for each try: a signature contains the time, and the address may be another.
            let made = self.0.request(request, &target, &address, body.clone())?;
            let error = match exchange(&self.0.pool, &address, made, deadline, self.0.max_response).await {
                Ok(response) if response.status == 200 => return Ok(response),
                Ok(response) => Error::Refused(Box::new(Refused::from_response(response))),
                Err(error) => error,
            };
            let Some(pause) = retry.pause(&error, tries) else { return Err(error) };
            sleep(pause).await;
            last = Some(address);
        }
    }

    /// Sends a request without a body once, on a connection of its own. Returns the connection and the body of the
    /// answer, which may have no end.
    pub(crate) async fn stream(&self, request: &Request) -> Result<(Connection, Incoming), Error> {
        if let Some(mistake) = &request.mistake {
            return Err(Error::Request(mistake.clone()));
        }
        let target = self.0.target(request)?;
        let deadline = Instant::now() + self.0.timeout;
        let address = self.0.to.address(None, deadline).await?;
        let made = self.0.request(request, &target, &address, Bytes::new())?;
        begin(&self.0.pool, &address, made, deadline, self.0.max_response).await
    }

    /// Sends any request and returns the answer, whatever its status. The retry policy applies all the same.
    ///
    /// # Errors
    /// See [`Error`]; never [`Error::Refused`].
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        match self.call(request).await {
            Err(Error::Refused(refused)) => {
                let Refused { status, headers, body, .. } = *refused;
                Ok(Response { status, headers, body })
            }
            other => other,
        }
    }
}

impl Inner {
    /// Returns the request target as it is sent and signed.
    fn target(&self, request: &Request) -> Result<PathAndQuery, Error> {
        let mut target = format!("{}{}", self.base.path(), request.path);
        if request.path.contains('?') {
            return Err(Error::Request(format!("the path {:?} contains a query; pass it to `query`", request.path)));
        }
        let queries =
            self.base.query().into_iter().chain([request.query.as_str()].into_iter().filter(|q| !q.is_empty()));
        for (index, query) in queries.enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(query);
        }
        target.parse().map_err(|error| Error::Request(format!("{target:?} is not a valid path: {error}")))
    }

    #[cfg_attr(not(feature = "compression"), expect(unused_variables, reason = "nothing can be compressed"))]
    fn body(&self, body: &Bytes, sent: Body) -> Result<Bytes, Error> {
        #[cfg(feature = "compression")]
        if let (Some(compressor), Body::Compressible) = (self.compressor, sent) {
            return compressor.compress(body).map_err(Error::Request);
        }
        Ok(body.clone())
    }

    fn request(
        &self,
        request: &Request,
        target: &PathAndQuery,
        address: &Address,
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>, Error> {
        let mut headers = self.headers.clone();
        headers.extend(request.headers.clone());
        headers.entry(CONTENT_TYPE).or_insert(BYTES);
        headers.entry(USER_AGENT).or_insert(AGENT);
        headers.insert(HOST, address.authority.clone());
        self.authorization.apply(&mut headers, &body, target.as_str(), SystemTime::now());
        let mut made = http::Request::new(Full::new(body));
        *made.method_mut() = request.method.clone();
        *made.uri_mut() = target.clone().into();
        *made.headers_mut() = headers;
        Ok(made)
    }
}

impl ClientBuilder {
    /// Signs every request with this token, as the official SDKs do; the token itself is not sent.
    #[doc(alias = "set_token")]
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        // An empty token means no token, as in the SDKs.
        self.authorization = Ok(match token {
            "" => Authorization::None,
            token => Authorization::Signed(token.to_owned()),
        });
        self
    }

    /// Sends this token unchanged, as `curl -H 'Authorization: <token>'` does.
    #[must_use]
    pub fn raw_token(mut self, token: &str) -> Self {
        self.authorization = Authorization::shown("", token);
        self
    }

    /// Sends this token as `Authorization: Bearer <token>`.
    #[must_use]
    pub fn bearer_token(mut self, token: &str) -> Self {
        self.authorization = Authorization::shown("Bearer ", token);
        self
    }

    /// Calls this URL, query included, instead of `/api/predict/<service>` at the endpoint.
    #[must_use]
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    /// Asks the endpoint every three seconds for the addresses of the service's instances, and calls these in turn by
    /// their weights: the SDKs' endpoint type `DIRECT`.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.is_direct = true;
        self
    }

    /// Sets the timeout of one try, from waiting for a connection to the last byte of the answer [default: 5 s]. A call
    /// with retries takes longer, by the further tries and the pauses between them.
    #[doc(alias = "set_timeout")]
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the timeout for making a connection [default: 5 s]. It counts within the timeout of the try.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the retry policy [default: up to three retries where they are safe].
    #[doc(alias = "set_retry_count")]
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets the maximum number of connections, busy and idle [default: 100]. A call waits for one within its timeout.
    #[doc(alias = "set_max_connection_count")]
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// Sets the maximum size of an answer's body [default: 64 MiB]. A larger one is an [`Error::Response`].
    #[must_use]
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Adds a header to every request.
    #[doc(alias = "add_extra_headers")]
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            request::insert(&mut headers, name, value)?;
            Ok(headers)
        });
        self
    }

    /// Sets the compression of request bodies. The service must be configured to expect it.
    #[cfg(feature = "compression")]
    #[must_use]
    pub fn compressor(mut self, compressor: Compressor) -> Self {
        self.compressor = Some(compressor);
        self
    }

    /// Trusts these certificate authorities, given as PEM, besides those that browsers know: a company's own, for
    /// example.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn root_certificates(mut self, pem: &[u8]) -> Self {
        self.tls = self.tls.and_then(|tls| tls.trusting(pem));
        self
    }

    /// Builds the client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Request`] if a setting is invalid.
    pub fn build(self) -> Result<Client, Error> {
        let wrong = |why: String| Error::Request(why);
        if self.connections == 0 {
            return Err(wrong("max_connections is 0".to_owned()));
        }
        let (address, base) = match &self.url {
            Some(url) => address::parse(url).map_err(wrong)?,
            None => {
                let (address, path) = address::parse(&self.endpoint).map_err(wrong)?;
                (address, predict_path(path.trim_end_matches('/'), &self.service).map_err(wrong)?)
            }
        };
        let base = if base.is_empty() { "/" } else { &base };
        let base = base.parse().map_err(|error| wrong(format!("{base:?} is not a valid path: {error}")))?;
        #[cfg(feature = "tls")]
        let tls = self.tls.map_err(wrong)?;
        let pool = |connections, connect_timeout| {
            let pool = Pool::new(connections, connect_timeout);
            #[cfg(feature = "tls")]
            let pool = pool.with_tls(tls.clone());
            pool
        };
        let to = match (self.is_direct, &self.url) {
            (false, _) => Destination::One(address),
            (true, None) => Destination::Direct(Direct::new(address, &self.service, pool(1, direct::PATIENCE))),
            (true, Some(_)) => return Err(wrong("use either a URL or direct mode".to_owned())),
        };
        Ok(Client(Arc::new(Inner {
            to,
            base,
            pool: pool(self.connections, self.connect_timeout),
            authorization: self.authorization.map_err(wrong)?,
            headers: self.headers.map_err(wrong)?,
            timeout: self.timeout,
            retry_of_repeatable: self.retry.clone().of_repeatable(),
            retry: self.retry,
            max_response: self.max_response,
            #[cfg(feature = "compression")]
            compressor: self.compressor,
        })))
    }
}

fn predict_path(prefix: &str, service: &str) -> Result<String, String> {
    let name = service.trim_end_matches('/');
    if name.is_empty() || name.starts_with('/') || name.contains(['?', '#']) {
        return Err(format!("{service:?} is not the name of a service"));
    }
    Ok(format!("{prefix}/api/predict/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(builder: ClientBuilder, request: &Request) -> String {
        builder.build().ok().unwrap().0.target(request).unwrap().as_str().to_owned()
    }

    #[test]
    fn targets_are_put_together() {
        let plain = || Client::builder("http://h:1", "echo");
        let request = Request::new("").path("v1").query("uid=a+b");
        assert_eq!(target(plain(), &Request::new("")), "/api/predict/echo");
        assert_eq!(target(plain(), &request), "/api/predict/echo/v1?uid=a+b");
        assert_eq!(
            target(Client::builder("h:1/", "group.echo/v2/"), &request),
            "/api/predict/group.echo/v2/v1?uid=a+b"
        );
        assert_eq!(
            target(Client::builder("http://h/behind/a/proxy", "echo"), &Request::new("")),
            "/behind/a/proxy/api/predict/echo"
        );
        let custom = plain().url("http://other:2/my/path?x=1");
        assert_eq!(target(custom.clone(), &Request::new("")), "/my/path?x=1");
        assert_eq!(target(custom, &request), "/my/path/v1?x=1&uid=a+b");
        assert_eq!(target(plain().url("http://other:2"), &Request::new("")), "/");
    }

    #[test]
    fn settings_that_are_no_good_are_named() {
        let plain = || Client::builder("http://h:1", "echo");
        for (builder, what) in [
            (Client::builder("ftp://h", "echo"), "neither http nor https"),
            (Client::builder("http://h", ""), "not the name of a service"),
            (Client::builder("http://h", "a b"), "is not a valid path"),
            (Client::builder("http://h", "a?b"), "not the name of a service"),
            (plain().max_connections(0), "max_connections"),
            (plain().raw_token("a\nb"), "the token"),
            (plain().header("host", "x").header("x", "y"), "written by the client"),
            (plain().direct().url("http://h/x"), "direct mode"),
        ] {
            let error = builder.build().err().unwrap();
            assert!(error.code() == 511 && error.to_string().contains(what), "{error}");
        }
    }
}
