//! What a shell is offered at TAB.

use std::ffi::OsString;

use clap_complete::engine::complete;
use serde_json::json;

use crate::cli::completion::completable;
use crate::cli::mock::{Mock, Reply, nobody};

/// The candidates for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let words: Vec<OsString> = words.iter().map(Into::into).collect();
    let last = words.len() - 1;
    let candidates = complete(&mut completable(&words), words, last, None).unwrap();
    candidates.iter().map(|candidate| candidate.get_value().to_str().unwrap().to_owned()).collect()
}

fn two_services() -> Mock {
    Mock::start(|seen| {
        let all = ["digits", "echo"];
        let services = all.iter().filter(|name| !seen.path.contains("prefix=d") || name.starts_with('d'));
        Reply::json(200, &json!({ "services": services.map(|name| json!({ "name": name })).collect::<Vec<_>>() }))
    })
}

#[test]
fn commands_and_options_come_from_the_definition() {
    let commands = offered(&["bulkhead", ""]);
    assert!(["invoke", "workers"].iter().all(|name| commands.iter().any(|command| command == name)), "{commands:?}");
    assert!(commands.iter().all(|command| !command.starts_with('-') && command != "compile"), "{commands:?}");
    assert_eq!(offered(&["bulkhead", "showw"]), ["showworkers"]);
    assert!(offered(&["bulkhead", "invoke", "--ti"]).contains(&"--timeout".to_owned()));
    assert_eq!(offered(&["bulkhead", "completions", "f"]), ["fish"]);
}

#[test]
fn names_of_services_come_from_the_server_that_the_words_name() {
    let mock = two_services();
    let server = ["--admin", &mock.url, "--admin-token", "t"];
    let with = |before: &[&str], after: &[&str]| offered(&[before, &server, after].concat());
    assert_eq!(with(&["bulkhead", "invoke"], &[""]), ["digits", "echo"]);
    assert_eq!(with(&["bulkhead", "--json", "dw"], &["d"]), ["digits"]);
    assert_eq!(with(&["bulkhead", "bench"], &["d"]), ["digits"]);
    assert_eq!(with(&["bulkhead", "mirror"], &["digits", "--target", ""]), ["digits", "echo"]);
    assert!(mock.lines().iter().all(|line| line.starts_with("GET /api/v1/services?")), "{:?}", mock.lines());
}

#[test]
fn without_an_answer_there_are_no_names_and_no_long_wait() {
    let (_kept, free) = nobody();
    let began = std::time::Instant::now();
    let free = free.to_string();
    let words = ["bulkhead", "invoke", "--admin", &free, "--admin-token", "t", ""];
    // The engine shows options where there is nothing else.
    assert!(offered(&words).iter().all(|word| word.starts_with('-')));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    let refusing = Mock::start(|_| Reply::status(401));
    let words = ["bulkhead", "invoke", "--admin", &refusing.url, "--admin-token", "t", ""];
    assert!(offered(&words).iter().all(|word| word.starts_with('-')));
    // Text that no name begins with is not sent.
    let sent = refusing.lines().len();
    assert!(offered(&["bulkhead", "invoke", "--admin", &refusing.url, "--admin-token", "t", "a&b"]).is_empty());
    assert_eq!(refusing.lines().len(), sent);
}
