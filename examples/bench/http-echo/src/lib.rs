//! Answers with the request's body, for hosts of `wasi:http`. Uses the bindings directly: an async runtime would add to
//! the measured time.

#[cfg(target_family = "wasm")]
mod echo {
    use wasip2::exports::http::incoming_handler::Guest;
    use wasip2::http::types::{
        ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    };
    use wasip2::io::streams::StreamError;

    /// The largest piece that `blocking_write_and_flush` accepts.
    const PIECE: usize = 4096;

    struct Echo;

    impl Guest for Echo {
        fn handle(request: IncomingRequest, answer: ResponseOutparam) {
            let Some(body) = read(&request) else {
                return ResponseOutparam::set(answer, Err(ErrorCode::InternalError(None)));
            };
            let headers = Fields::new();
            // Without this header the host would send the body in chunks, and the client would have to join them.
            let _ = headers.append("content-length", body.len().to_string().as_bytes());
            let response = OutgoingResponse::new(headers);
            let out = response.body();
            ResponseOutparam::set(answer, Ok(response));
            if let Ok(out) = out {
                write(&out, &body);
                let _ = OutgoingBody::finish(out, None);
            }
        }
    }

    fn read(request: &IncomingRequest) -> Option<Vec<u8>> {
        let body = request.consume().ok()?;
        let stream = body.stream().ok()?;
        let mut bytes = Vec::new();
        loop {
            match stream.blocking_read(1 << 20) {
                Ok(piece) if bytes.is_empty() => bytes = piece,
                Ok(piece) => bytes.extend(piece),
                Err(StreamError::Closed) => break,
                Err(_) => return None,
            }
        }
        drop(stream);
        IncomingBody::finish(body);
        Some(bytes)
    }

    fn write(out: &OutgoingBody, body: &[u8]) {
        let Ok(stream) = out.write() else { return };
        for piece in body.chunks(PIECE) {
            if stream.blocking_write_and_flush(piece).is_err() {
                return;
            }
        }
    }

    wasip2::http::proxy::export!(Echo);
}
