//! The documents of the chat completions of OpenAI's API, as far as this example has them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const MODEL: &str = "canned";

#[derive(Deserialize)]
pub(crate) struct ChatRequest {
    messages: Vec<Message>,
    #[serde(default)]
    pub(crate) stream: bool,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct Message {
    content: Value,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// The reason why an answer ends.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Finish {
    Stop,
    Length,
}

impl ChatRequest {
    /// Returns the text of the last message. A message may also be a list of parts.
    pub(crate) fn last_message(&self) -> &str {
        let Some(Message { content }) = self.messages.last() else { return "" };
        let first_part = || content.get(0)?.get("text")?.as_str();
        content.as_str().or_else(first_part).unwrap_or_default()
    }

    pub(crate) fn most_tokens(&self) -> Option<usize> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// True if the last chunk should have the numbers of tokens.
    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }
}

/// The parts that all documents of one answer share.
pub(crate) struct Reply {
    id: String,
    created: u64,
    prompt_tokens: usize,
}

impl Reply {
    pub(crate) fn new(request_id: &str, created: u64, chat: &ChatRequest) -> Self {
        let prompt_tokens = chat.last_message().split_whitespace().count();
        Self { id: format!("chatcmpl-{request_id}"), created, prompt_tokens }
    }

    /// The document of an answer that is sent as a whole.
    pub(crate) fn whole(&self, text: &str, tokens: usize, finish: Finish) -> Value {
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": MODEL,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": text },
                "finish_reason": finish,
            }],
            "usage": self.tokens(tokens),
        })
    }

    /// One chunk of a stream.
    pub(crate) fn chunk(&self, delta: &Value, finish: Option<Finish>) -> Value {
        self.event(&json!([{ "index": 0, "delta": delta, "finish_reason": finish }]))
    }

    /// The chunk after the last one with text: the numbers of tokens, and no choices.
    pub(crate) fn usage(&self, tokens: usize) -> Value {
        let mut event = self.event(&json!([]));
        event["usage"] = self.tokens(tokens);
        event
    }

    fn event(&self, choices: &Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": MODEL,
            "choices": choices,
        })
    }

    fn tokens(&self, tokens: usize) -> Value {
        let prompt = self.prompt_tokens;
        json!({ "prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens })
    }
}

/// The list of models.
pub(crate) fn models() -> Value {
    json!({ "object": "list", "data": [{ "id": MODEL, "object": "model", "created": 0, "owned_by": "bulkhead" }] })
}

pub(crate) fn error(message: &str, kind: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
}
