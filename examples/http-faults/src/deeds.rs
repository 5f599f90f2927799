use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use wasip2::http::types::{ErrorCode, Fields, IncomingRequest, ResponseOutparam};

use crate::exchange::{begin, fetch, pause, read};
use crate::proposals::{config::store, logging::logging};
use crate::values;

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Answers a request as its path says.
pub(crate) fn answer(request: &IncomingRequest, answer: ResponseOutparam) {
    let target = request.path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let given = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let number = |key: &str, default: u64| given(key).map_or(default, |value| value.parse().expect("a number"));
    let (pieces, bytes, pause_ms) = (number("pieces", 3), number("bytes", 5) as usize, number("pause_ms", 0));
    let piece = |index: u64| vec![b'a' + (index % 26) as u8; bytes];
    match path {
        // Sends back each piece of the body as it comes, and its trailers if it has some.
        "/echo" => {
            let sending = begin(answer, 200, &[("content-type", "application/octet-stream")]);
            let trailers = read(request, |piece| sending.write(&piece));
            sending.finish(trailers.map(|trailers| trailers.clone()));
        }
        // Says what the component sees of the request.
        "/request" => {
            if given("read").is_some() {
                read(request, |_| true);
            }
            let mut text = format!(
                "{:?} {target} {:?} {:?}\n",
                request.method(),
                request.scheme(),
                request.authority().unwrap_or_default()
            );
            for (name, value) in request.headers().entries() {
                text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
            }
            let sending = begin(answer, 200, &[("content-type", "text/plain"), ("x-mine", "kept"), ("server", "mine")]);
            sending.write(text.as_bytes());
            sending.finish(None);
        }
        // Reads the body, and never answers.
        "/swallow" => {
            read(request, |_| true);
            eprintln!("the body is read");
            pause(3_600_000);
        }
        // Answers before it has read the body, which it then does not read.
        "/early" => begin(answer, 200, &[]).finish(None),
        // Reads the body after its answer is complete.
        "/late" => {
            begin(answer, 200, &[]).finish(None);
            read(request, |_| true);
        }
        "/status" => begin(answer, number("code", 200) as u16, &[]).finish(None),
        "/events" => {
            let sending = begin(answer, 200, &[("content-type", "text/event-stream")]);
            for index in 0..pieces {
                if !sending.write(format!("data: {index}\n\n").as_bytes()) {
                    return;
                }
                pause(pause_ms);
            }
            sending.finish(None);
        }
        // Each event is the time at which it was written, in nanoseconds since 1970.
        "/ticks" => {
            let sending = begin(answer, 200, &[("content-type", "text/event-stream")]);
            for _ in 0..pieces {
                pause(pause_ms);
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
                if !sending.write(format!("data: {}\n\n", now.as_nanos()).as_bytes()) {
                    return;
                }
            }
            sending.finish(None);
        }
        "/trailers" => {
            let sending = begin(answer, 200, &[]);
            sending.write(&piece(0));
            let trailers = Fields::new();
            trailers.append("x-checksum", b"42").expect("a trailer");
            sending.finish(Some(trailers));
        }
        // Works on after its answer is complete.
        "/after" => {
            let sending = begin(answer, 200, &[]);
            sending.write(&piece(0));
            sending.finish(None);
            pause(pause_ms);
            eprintln!("the work after the answer is done");
        }
        // The head says `length`, and so many bytes follow.
        "/length" => {
            let length = number("length", 5).to_string();
            let sending = begin(answer, 200, &[("content-length", &length)]);
            sending.write(&piece(0));
            pause(pause_ms);
            sending.finish(None);
        }
        "/stream" => {
            let sending = begin(answer, 200, &[]);
            for index in 0..pieces {
                if !sending.write(&piece(index)) {
                    return;
                }
                pause(pause_ms);
            }
            match given("end").unwrap_or("ok") {
                "ok" => sending.finish(None),
                "trap" => std::process::abort(),
                "panic" => panic!("asked to panic in the middle of an answer"),
                "hang" => pause(3_600_000),
                // Gives the body up, which is no complete answer.
                "drop" => drop(sending),
                // Returns without finishing the body or giving it up.
                "forget" => mem::forget(sending),
                end => panic!("there is no end {end}"),
            }
        }
        // Sends a GET to the URI that the query is, `count` times if it is given as `count=N&URI`, and tells the outcome of
        // the last.
        "/fetch" => {
            let (count, uri) =
                query.strip_prefix("count=").and_then(|rest| rest.split_once('&')).unwrap_or(("1", query));
            let count = count.parse::<u32>().expect("a number");
            let outcome = (0..count).fold(String::new(), |_, _| fetch(uri));
            let sending = begin(answer, 200, &[("content-type", "text/plain")]);
            sending.write(outcome.as_bytes());
            sending.finish(None);
        }
        // Returns a value of the configuration, and logs that it did.
        "/config" => {
            let text = match store::get(query) {
                Ok(value) => {
                    value.unwrap_or_else(|| format!("none of {} values", store::get_all().unwrap_or_default().len()))
                }
                Err(error) => format!("{error:?}"),
            };
            logging::log(logging::Level::Warn, "config", &format!("{query} was read"));
            let sending = begin(answer, 200, &[]);
            sending.write(text.as_bytes());
            sending.finish(None);
        }
        // Does the operations on the key-value store that are the lines of the body.
        "/values" => {
            let mut text = Vec::new();
            read(request, |piece| {
                text.extend(piece);
                true
            });
            let told = values::run(&String::from_utf8_lossy(&text));
            let sending = begin(answer, 200, &[("content-type", "text/plain")]);
            sending.write(told.as_bytes());
            sending.finish(None);
        }
        // Returns the number of calls of this instance.
        "/calls" => {
            let sending = begin(answer, 200, &[]);
            sending.write((CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string().as_bytes());
            sending.finish(None);
        }
        // Copies headers for ever, which costs the host more than the component.
        "/churn" => loop {
            let fields = request.headers().clone();
            for _ in 0..200 {
                let _ = fields.append("x-more", &[b'v'; 100]);
            }
        },
        "/nothing" => drop(answer),
        "/error" => ResponseOutparam::set(answer, Err(ErrorCode::InternalError(Some("asked to fail".to_owned())))),
        _ => {
            let sending = begin(answer, 404, &[("content-type", "text/plain")]);
            sending.write(b"there is nothing at this path");
            sending.finish(None);
        }
    }
}
