use super::*;
use bulkhead_guest::stream;

fn ask(body: &Value) -> Result<Response, Error> {
    let mut chat = CannedChat::initialize(&Model::default()).unwrap();
    chat.process(Request::post(body.to_string()).with_path("/v1/chat/completions"))
}

/// Returns the documents of a stream, and its last event.
fn events(body: &Value) -> (Vec<Value>, String) {
    let caller = stream::simulate();
    ask(body).unwrap();
    let text = String::from_utf8(caller.received()).unwrap();
    assert!(text.ends_with("\n\n"), "every event has its blank line");
    let data = text.trim_end().split("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
    let mut data: Vec<&str> = data.collect();
    let last = data.pop().unwrap().to_owned();
    (data.into_iter().map(|data| serde_json::from_str(data).unwrap()).collect(), last)
}

#[test]
fn a_stream_has_the_same_text_as_a_whole_answer() {
    let question = json!({ "role": "user", "content": "hello there" });
    let whole = ask(&json!({ "messages": [question] })).unwrap();
    let whole: Value = serde_json::from_slice(&whole.body).unwrap();
    let expected = format!("hello there {TEXT}");
    assert_eq!(whole["choices"][0]["message"]["content"], expected);
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");

    let (chunks, last) = events(&json!({ "messages": [question], "stream": true }));
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!((text, &*last), (expected, "[DONE]"));
    let finishes: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
    assert_eq!(finishes.iter().filter(|finish| finish.is_string()).count(), 1);
    assert_eq!(*finishes[finishes.len() - 1], "stop");
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "nobody asked for it");
}

#[test]
fn usage_comes_in_a_chunk_of_its_own_if_it_is_asked_for() {
    let body = json!({
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }],
        "stream": true, "stream_options": { "include_usage": true }, "max_tokens": 3,
    });
    let (chunks, _) = events(&body);
    let [.., finish, usage] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(finish["choices"][0]["finish_reason"], "length");
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(3)));
}

#[test]
fn a_failure_in_the_middle_is_an_event_and_no_end() {
    let (chunks, last) = events(&json!({ "messages": [{ "content": "fail" }], "stream": true }));
    assert_eq!(chunks.len(), 1 + BEFORE_FAILURE);
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["error"]["type"], "server_error");
}

#[test]
fn a_mistake_in_the_request_has_a_status() {
    let response = ask(&json!({ "stream": true })).unwrap();
    assert_eq!(response.status, 400);
    assert!(String::from_utf8(response.body).unwrap().contains("missing field `messages`"));
}
