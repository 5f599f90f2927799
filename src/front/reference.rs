//! The reference page of statuses, made from the table of refusals and the front's own answers.

use bulkhead_pages::generated::{check, code, table};
use bulkhead_pages::source;

use super::listen::rejected::Why;
use crate::refusal::Connection;
use crate::refusal::reference::{connection, rows};
use crate::telemetry::ANSWERS;

#[test]
fn the_page_is_what_the_code_says() {
    let parts = [("refusals", rows()), ("connections", rejections()), ("answers", answers())];
    check("docs/reference/statuses.md", &parts);
}

/// Answers to connections from which no request is read.
fn rejections() -> String {
    let all = [Why::TooMany, Why::Draining];
    let named: Vec<String> = all.iter().map(source::variant).collect();
    let known = source::variants(include_str!("listen/rejected.rs"), "pub(in crate::front) enum Why {");
    source::assert_complete(&named, &known, "src/front/reference.rs");
    let when = |why| match why {
        Why::TooMany => "The address has `--max-connections-per-address` connections.",
        Why::Draining => "The host is ending and has no place for the connection.",
    };
    let closed = connection(Connection::Close);
    let row = |why: Why| ["503".to_owned(), code(why.told().0), closed.to_owned(), when(why).to_owned()];
    table(["status", "code", "connection", "when"], all.map(row))
}

/// The codes of answers that are no refusals.
fn answers() -> String {
    let codes = ANSWERS.iter().filter(|code| !code.is_empty());
    let row = |code_of: &&str| {
        let when = match *code_of {
            "processor_status" => "A processor answered with another status than 200, in an answer or in an error.",
            "upstream_status" => "At a gateway: an upstream answered, with another status than 200.",
            other => panic!("src/front/reference.rs says nothing about the code {other}"),
        };
        [code(code_of), when.to_owned()]
    };
    table(["code", "when"], codes.map(row))
}
