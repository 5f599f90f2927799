//! An HTTP client for requests that no library would send: wrong versions, partial requests, sudden disconnects.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const CONNECT: Duration = Duration::from_secs(5);
/// Longer than any deadline of the called services.
const ANSWER: Duration = Duration::from_secs(30);
/// Limits on the head and the body of an answer.
const MAX_HEAD: u64 = 64 << 10;
const MAX_BODY: usize = 64 << 20;

pub(crate) struct Connection(BufReader<TcpStream>);

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The headers; names are in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&address, CONNECT).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.get_mut().write_all(bytes).context("sending a request")
    }

    /// Reads one answer. The body ends by `content-length` or with the connection.
    pub(crate) fn receive(&mut self) -> Result<Response> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let Some(status) = status else { bail!("{status_line:?} is not a status line") };
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { bail!("{line:?} is not a header") };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        match response.header("content-length").map(str::parse::<usize>) {
            Some(Ok(length)) if length <= MAX_BODY => {
                response.body.resize(length, 0);
                self.0.read_exact(&mut response.body).context("the answer is truncated")?;
            }
            Some(length) => bail!("an answer of {length:?} bytes"),
            None => {
                (&mut self.0).take(MAX_BODY as u64).read_to_end(&mut response.body)?;
            }
        }
        Ok(response)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        (&mut self.0).take(MAX_HEAD).read_line(&mut line).context("no answer")?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => bail!("the connection ended before the answer"),
        }
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Makes the bytes of a request with a body.
pub(crate) fn request(method: &str, path: &str, token: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends one request on its own connection.
pub(crate) fn call(address: SocketAddr, request: &[u8]) -> Result<Response> {
    let mut connection = Connection::open(address)?;
    connection.send(request)?;
    connection.receive()
}
