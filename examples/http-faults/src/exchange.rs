//! The steps of an exchange, in a few functions.

use std::thread;
use std::time::Duration;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use wasip2::io::streams::{OutputStream, StreamError};

/// The largest piece that `blocking_write_and_flush` accepts.
const PIECE: usize = 4096;

/// An answer whose head has been sent.
pub(crate) struct Sending {
    pub(crate) stream: OutputStream,
    pub(crate) body: OutgoingBody,
}

/// Sends the head of an answer.
pub(crate) fn begin(answer: ResponseOutparam, status: u16, headers: &[(&str, &str)]) -> Sending {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a header that a component may set");
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("the only body");
    ResponseOutparam::set(answer, Ok(response));
    let stream = body.write().expect("the only stream");
    Sending { stream, body }
}

impl Sending {
    /// Writes all bytes; false if nobody reads them.
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        bytes.chunks(PIECE).all(|piece| self.stream.blocking_write_and_flush(piece).is_ok())
    }

    pub(crate) fn finish(self, trailers: Option<Fields>) {
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers).expect("as many bytes as the head says");
    }
}

/// Reads the body piece by piece, and gives each to `take` until it returns false. Returns the trailers.
pub(crate) fn read(request: &IncomingRequest, mut take: impl FnMut(Vec<u8>) -> bool) -> Option<Fields> {
    let body = request.consume().expect("the only consumer");
    let stream = body.stream().expect("the only reader");
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => {
                if !take(piece) {
                    break;
                }
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("the body breaks off: {}", error.to_debug_string()),
        }
    }
    drop(stream);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    trailers.get()?.ok()?.ok()?
}

/// Sends a GET; returns the status and the body of the answer, or the error.
pub(crate) fn fetch(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").expect("an absolute URI");
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    if request.set_scheme(Some(&scheme)).is_err() {
        return "no scheme".to_owned();
    }
    if request.set_authority(Some(authority)).is_err() {
        return "no authority".to_owned();
    }
    request.set_path_with_query(Some(path)).expect("a path");
    let answer = match outgoing_handler::handle(request, None) {
        Ok(future) => {
            future.subscribe().block();
            future.get().expect("it is ready").expect("it is taken once")
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => format!("{} {}", answer.status(), String::from_utf8_lossy(&whole(&answer))),
        Err(error) => format!("{error:?}"),
    }
}

fn whole(answer: &IncomingResponse) -> Vec<u8> {
    let (body, mut bytes) = (answer.consume().expect("the only consumer"), Vec::new());
    let stream = body.stream().expect("the only reader");
    while let Ok(piece) = stream.blocking_read(64 << 10) {
        bytes.extend(piece);
    }
    bytes
}

pub(crate) fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
