//! Answers chats with a prepared text, word by word, in the form of OpenAI's API: whole, or as server-sent events. It has
//! no model; it shows the shape of a processor that has one, and lets clients try streams.
//!
//! A message `fail` fails in the middle of the answer.

mod api;

use std::thread;
use std::time::{Duration, SystemTime};

use bulkhead_guest::{
    Error, Model, Processor, Request, Response,
    stream::{Event, Events},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{ChatRequest, Finish, Reply};

/// The prepared answer, after the words of the last message.
const TEXT: &str = "You said that. This answer was prepared, and comes word by word.";
/// Words after which an answer to `fail` fails.
const BEFORE_FAILURE: usize = 4;

struct CannedChat {
    pause: Duration,
}

/// The service file's `model_config`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Milliseconds between two words.
    #[serde(default)]
    pause_ms: u64,
}

impl Processor for CannedChat {
    fn initialize(model: &Model) -> Result<Self, Error> {
        let config: Config = match model.config.trim() {
            "" => Config::default(),
            text => serde_json::from_str(text)?,
        };
        Ok(Self { pause: Duration::from_millis(config.pause_ms) })
    }

    fn process(&mut self, request: Request) -> Result<Response, Error> {
        match (&*request.method, &*request.path) {
            ("GET", "/v1/models") => json_answer(200, &api::models()),
            ("POST", "/v1/chat/completions") => match serde_json::from_slice(&request.body) {
                Ok(chat) => self.answer(&request, &chat),
                Err(mistake) => json_answer(400, &api::error(&mistake.to_string(), "invalid_request_error")),
            },
            _ => json_answer(404, &api::error("try POST /v1/chat/completions", "invalid_request_error")),
        }
    }
}

impl CannedChat {
    fn answer(&self, request: &Request, chat: &ChatRequest) -> Result<Response, Error> {
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let reply = Reply::new(&request.request_id(), created, chat);
        let message = chat.last_message();
        let words = message.split_inclusive(' ').chain([" "]).chain(TEXT.split_inclusive(' '));
        let mut words = words.filter(|word| !word.is_empty()).collect::<Vec<_>>();
        let finish = match chat.most_tokens() {
            Some(most) if most < words.len() => Finish::Length,
            _ => Finish::Stop,
        };
        words.truncate(chat.most_tokens().unwrap_or(usize::MAX));
        if chat.stream {
            return self.stream(&reply, chat, &words, finish, message == "fail");
        }
        if message == "fail" {
            return json_answer(500, &api::error("asked to fail", "server_error"));
        }
        json_answer(200, &reply.whole(&words.concat(), words.len(), finish))
    }

    /// Streams the answer. The head is sent only now, so that mistakes in the request have a status.
    fn stream(
        &self,
        reply: &Reply,
        chat: &ChatRequest,
        words: &[&str],
        finish: Finish,
        fails: bool,
    ) -> Result<Response, Error> {
        let mut events = Events::begin()?;
        let mut send = |chunk: &Value| events.send(&Event::new(chunk.to_string()));
        send(&reply.chunk(&json!({ "role": "assistant", "content": "" }), None))?;
        for (index, word) in words.iter().enumerate() {
            if fails && index == BEFORE_FAILURE {
                // The clients read this as a failure. The end without `[DONE]` says that the answer is not complete.
                send(&api::error("asked to fail", "server_error"))?;
                return Ok(events.finish());
            }
            send(&reply.chunk(&json!({ "content": word }), None))?;
            if !self.pause.is_zero() {
                thread::sleep(self.pause);
            }
        }
        send(&reply.chunk(&json!({}), Some(finish)))?;
        if chat.wants_usage() {
            send(&reply.usage(words.len()))?;
        }
        events.send(&Event::new("[DONE]"))?;
        Ok(events.finish())
    }
}

fn json_answer(status: u16, body: &Value) -> Result<Response, Error> {
    Ok(Response::json_bytes(serde_json::to_vec(body)?).with_status(status))
}

bulkhead_guest::export!(CannedChat);

#[cfg(test)]
mod tests;
