//! What the component does for each path.

use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme, Trailers};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Answers as the path says.
pub(crate) async fn answer(request: Request) -> Result<Response, ErrorCode> {
    let target = request.get_path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let given = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let number = |key: &str, default: u64| given(key).map_or(default, |value| value.parse().expect("a number"));
    let (pieces, pause_ms) = (number("pieces", 3), number("pause_ms", 0));
    let (writer, reader) = wit_stream::new();
    match path {
        // Sends back each piece of the body as it comes, and its trailers.
        "/echo" => {
            let (body, trailers) = body_of(request);
            spawn_local(echo(body, writer));
            Ok(Response::new(Fields::new(), Some(reader), trailers).0)
        }
        // Makes the body of the request that of the answer, without reading it.
        "/pipe" => {
            let (body, trailers) = body_of(request);
            Ok(Response::new(Fields::new(), Some(body), trailers).0)
        }
        // Says what the component sees of the request.
        "/request" => {
            let mut text = format!(
                "{:?} {target} {:?} {:?}\n",
                request.get_method(),
                request.get_scheme(),
                request.get_authority().unwrap_or_default()
            );
            for (name, value) in request.get_headers().copy_all() {
                text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
            }
            Ok(text_of(text, writer, reader))
        }
        "/events" => {
            spawn_local(async move {
                let mut writer = writer;
                for index in 0..pieces {
                    if !write(&mut writer, format!("data: {index}\n\n")).await {
                        eprintln!("the reader has gone");
                        return;
                    }
                    pause(pause_ms).await;
                }
            });
            Ok(response(&[("content-type", "text/event-stream")], reader))
        }
        // Writes a piece, pauses, and ends as `end` says.
        "/end" => {
            let end = given("end").unwrap_or("well").to_owned();
            spawn_local(async move {
                let mut writer = writer;
                write(&mut writer, "piece".to_owned()).await;
                pause(pause_ms).await;
                match &*end {
                    "well" => {}
                    "trap" => std::process::abort(),
                    "panic" => panic!("asked to panic in the middle of an answer"),
                    "hang" => pause(3_600_000).await,
                    "spin" => spin(),
                    // Neither writes on nor gives the stream up.
                    "forget" => mem::forget(writer),
                    // Works on after the answer is complete.
                    "after" => {
                        drop(writer);
                        pause(pause_ms).await;
                        println!("the work after the answer is done");
                    }
                    end => panic!("there is no end {end}"),
                }
            });
            Ok(response(&[], reader))
        }
        // The head says `length`, and five bytes follow.
        "/length" => {
            let length = number("length", 5).to_string();
            spawn_local(async move {
                let mut writer = writer;
                write(&mut writer, "piece".to_owned()).await;
            });
            Ok(response(&[("content-length", &length)], reader))
        }
        "/trailers" => {
            let (trailers, later) = wit_future::new(|| Ok(None));
            spawn_local(async move {
                let mut writer = writer;
                write(&mut writer, "piece".to_owned()).await;
                drop(writer);
                let fields = Fields::from_list(&[("x-checksum".to_owned(), b"42".to_vec())]).expect("a trailer");
                let _ = trailers.write(Ok(Some(fields))).await;
            });
            Ok(Response::new(Fields::new(), Some(reader), later).0)
        }
        // Returns the number of calls of this instance.
        "/calls" => Ok(text_of((CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string(), writer, reader)),
        // Sends a GET to the URI that the query is, and tells the outcome.
        "/fetch" => {
            let told = match fetch(query).await {
                Ok(response) => {
                    let status = response.get_status_code();
                    let (_, result) = wit_future::new(|| Ok(()));
                    let (mut body, _trailers) = Response::consume_body(response, result);
                    let mut text = Vec::new();
                    while let Some(piece) = read(&mut body).await {
                        text.extend(piece);
                    }
                    format!("{status} {}", String::from_utf8_lossy(&text))
                }
                Err(error) => format!("{error:?}"),
            };
            Ok(text_of(told, writer, reader))
        }
        // Fails, and leaves a task behind that fails later.
        "/error-later" => {
            spawn_local(async move {
                pause(100).await;
                panic!("asked to panic after the answer");
            });
            Err(ErrorCode::InternalError(Some("asked to fail".to_owned())))
        }
        "/error" => Err(ErrorCode::InternalError(Some("asked to fail".to_owned()))),
        "/spin" => spin(),
        "/hang" => {
            pause(3_600_000).await;
            Ok(text_of(String::new(), writer, reader))
        }
        // Begins ever more waits, none of which it ends.
        "/flood" => loop {
            spawn_local(pause(3_600_000));
            pause(0).await;
            yield_now().await;
        },
        // Makes ever more streams.
        "/streams" => loop {
            mem::forget(wit_stream::new::<u8>());
        },
        // Has the host do more work than the component.
        "/churn" => loop {
            let fields = request.get_headers().clone();
            for _ in 0..200 {
                let _ = fields.append("x-more", &[b'v'; 100]);
            }
        },
        "/random" => loop {
            std::hint::black_box(wasip3::random::random::get_random_bytes(64 << 10));
        },
        _ => Ok(text_of("there is no such path".to_owned(), writer, reader)),
    }
}

fn spin() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

async fn pause(ms: u64) {
    monotonic_clock::wait_for(ms * 1_000_000).await;
}

async fn yield_now() {
    wasip3::wit_bindgen::yield_async().await;
}

fn fields(headers: &[(&str, &str)]) -> Fields {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Fields::from_list(&headers).expect("headers that a component may set")
}

fn no_trailers() -> FutureReader<Result<Option<Trailers>, ErrorCode>> {
    wit_future::new(|| Ok(None)).1
}

fn response(headers: &[(&str, &str)], body: StreamReader<u8>) -> Response {
    Response::new(fields(headers), Some(body), no_trailers()).0
}

/// An answer of one text.
fn text_of(text: String, mut writer: StreamWriter<u8>, reader: StreamReader<u8>) -> Response {
    spawn_local(async move {
        write(&mut writer, text).await;
    });
    response(&[("content-type", "text/plain")], reader)
}

/// Writes a text; false if nobody reads it.
async fn write(writer: &mut StreamWriter<u8>, text: String) -> bool {
    writer.write_all(text.into_bytes()).await.is_empty()
}

fn body_of(request: Request) -> (StreamReader<u8>, FutureReader<Result<Option<Trailers>, ErrorCode>>) {
    let (_, result) = wit_future::new(|| Ok(()));
    Request::consume_body(request, result)
}

/// Reads the next piece of a body; `None` at its end.
async fn read(body: &mut StreamReader<u8>) -> Option<Vec<u8>> {
    let (status, piece) = body.read(Vec::with_capacity(64 << 10)).await;
    (!piece.is_empty() || !matches!(status, StreamResult::Dropped)).then_some(piece)
}

async fn echo(mut body: StreamReader<u8>, mut writer: StreamWriter<u8>) {
    while let Some(piece) = read(&mut body).await {
        if !writer.write_all(piece).await.is_empty() {
            return;
        }
    }
}

async fn fetch(uri: &str) -> Result<Response, ErrorCode> {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("http", uri));
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let request = Request::new(Fields::new(), None, no_trailers(), None).0;
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(path)).expect("a path");
    client::send(request).await
}
