//! The query of a request to the control API. It is checked against the operation's parameters before it is used.

use std::str::FromStr;

use super::operation::{Accepts, Parameter};
use super::problem::Problem;
use crate::quoted::Quoted;

/// The number of entries on a page of a list. The maximum keeps an answer below a MiB.
pub(super) const LIMIT: Parameter = Parameter::whole("limit", "The maximum number of entries on a page.", 1, 1000, 100);
/// The beginning of a page of a list.
pub(super) const CURSOR: Parameter = Parameter::text("cursor", "The `next` of the previous page.");

/// Parameters that the operation knows, each at most once, with values of the right kind.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// Names the parameter, what is wrong with it and what would be accepted.
    pub(super) fn parse(text: &str, accepted: &[Parameter]) -> Result<Self, Problem> {
        let mut given: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                return Err(Problem::bad_request("the query is not percent-encoded UTF-8"));
            };
            let Some(parameter) = accepted.iter().find(|parameter| parameter.name == name) else {
                let names: Vec<_> = accepted.iter().map(|parameter| parameter.name).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(Problem::bad_request(format!(
                    "no parameter {} is accepted here; accepted: {known}",
                    Quoted(name)
                )));
            };
            if given.iter().any(|(known, _)| *known == name) {
                return Err(Problem::bad_request(format!("the query has the parameter {} twice", Quoted(name))));
            }
            if let Some(expected) = parameter.refuse(&value) {
                return Err(Problem::bad_request(format!("{name} is {}; accepted is {expected}", Quoted(value))));
            }
            given.push((name, value));
        }
        Ok(Self(given))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Parses a value with a grammar of its own, which `expected` describes.
    pub(super) fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let parse = |value: &str| {
            value
                .parse()
                .map_err(|_| Problem::bad_request(format!("{name} is {}; accepted is {expected}", Quoted(value))))
        };
        self.text(name).map(parse).transpose()
    }

    /// The value of [`LIMIT`], for an operation that has this parameter.
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.whole(&LIMIT)).unwrap_or(usize::MAX)
    }

    /// A number whose range has been checked, or the parameter's default.
    pub(super) fn whole(&self, parameter: &Parameter) -> u64 {
        let Accepts::Whole { default, .. } = parameter.accepts else { panic!("{} is no number", parameter.name) };
        self.text(parameter.name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}

/// Decodes percent-encoding, and `+` as a space.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Parameter = Parameter::whole("count", "", 1, 10, 5);
    const ACCEPTED: &[Parameter] =
        &[Parameter::text("prefix", ""), COUNT, Parameter::text("cursor", ""), Parameter::word("is", "", &["a", "b"])];

    fn refusal(text: &str) -> String {
        Query::parse(text, ACCEPTED).unwrap_err().detail().to_owned()
    }

    #[test]
    fn what_is_given_can_be_asked_for() {
        let query = Query::parse("prefix=a%2Fb+c&count=7&", ACCEPTED).unwrap();
        assert_eq!((query.text("prefix"), query.whole(&COUNT), query.text("cursor")), (Some("a/b c"), 7, None));
        assert_eq!(Query::parse("", ACCEPTED).unwrap().whole(&COUNT), 5);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        assert_eq!(refusal("conut=1"), r#"no parameter "conut" is accepted here; accepted: prefix, count, cursor, is"#);
        for count in ["0", "11", "-1", "x", "", "99999999999999999999"] {
            assert!(refusal(&format!("count={count}")).contains("accepted is a whole number from 1 to 10"), "{count}");
        }
        assert!(refusal("is=c").contains("accepted is a, b"));
        assert!(refusal("count=1&count=1").contains("twice"));
        for text in ["prefix=%", "prefix=%2", "prefix=%zz", "prefix=%ff"] {
            assert!(refusal(text).contains("percent-encoded"), "{text}");
        }
        let query = Query::parse("cursor=x", ACCEPTED).unwrap();
        assert!(query.parsed::<u64>("cursor", "a number").unwrap_err().detail().contains("accepted is a number"));
    }
}
