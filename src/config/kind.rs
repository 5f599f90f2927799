//! The kinds of values. A value is read and brought into its canonical spelling, or refused with a description of the
//! accepted values.

use http::Uri;
use serde_json::{Value, json};

use super::{cors, items, mistakes::Mistakes, name::ServiceName, token::Token};

/// The kind of a value. Numbers and booleans may come as strings, because they do in EAS files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Flag,
    Integer {
        least: u64,
        most: u64,
        unit: &'static str,
    },
    /// An amount of fuel, or the word `unlimited`.
    Fuel,
    Word(&'static [&'static str]),
    /// One of these words in upper or lower case. It is kept as it is spelt here.
    AnyCase(&'static [&'static str]),
    /// A list of words; `least` is the fewest.
    Words {
        of: &'static [&'static str],
        least: usize,
    },
    Name,
    Token,
    /// A path or URL, which is not opened here.
    Location,
    /// An `http` or `https` URL.
    Url,
    /// A path that stays inside a directory.
    Entry,
    /// The `processor_envs`.
    Variables,
    Hosts,
    /// The origins of web pages, or `*`.
    Origins,
    /// Names of headers, or `*`.
    HeaderNames,
    /// Any valid JSON. Keys inside are the user's own.
    Any,
}

/// The word that switches metering off.
pub(super) const UNLIMITED: &str = "unlimited";

/// Most characters of a wrong value that are repeated.
const SHOWN: usize = 40;

impl Kind {
    /// Reads a value into its canonical spelling. If it is wrong, the mistake is noted and the result is `None`.
    pub(super) fn read(self, path: &str, value: &Value, mistakes: &mut Mistakes) -> Option<Value> {
        let read = match self {
            Self::Flag => flag(value),
            Self::Integer { least, most, .. } => integer(value).filter(|n| (least..=most).contains(n)).map(Value::from),
            Self::Fuel if value.as_str() == Some(UNLIMITED) => Some(value.clone()),
            Self::Fuel => integer(value).filter(|n| *n > 0).map(Value::from),
            Self::Word(words) => value.as_str().filter(|text| words.contains(text)).map(Value::from),
            Self::AnyCase(words) => value
                .as_str()
                .and_then(|text| words.iter().find(|word| word.eq_ignore_ascii_case(text)))
                .map(|word| json!(word)),
            Self::Words { of, least } => {
                return self.list(path, value, least, mistakes, |path, item, mistakes| {
                    Self::Word(of).read(path, item, mistakes)
                });
            }
            Self::Name => value.as_str().filter(|text| ServiceName::parse(text).is_ok()).map(Value::from),
            Self::Token => value.as_str().filter(|text| Token::parse(text).is_ok()).map(Value::from),
            Self::Location => {
                value.as_str().filter(|text| !text.trim().is_empty() && !text.contains('\0')).map(Value::from)
            }
            Self::Url => value.as_str().filter(|text| is_url(text)).map(Value::from),
            Self::Entry => value.as_str().filter(|text| stays_inside(text)).map(Value::from),
            Self::Variables => {
                return self
                    .list(path, value, 0, mistakes, items::variable)
                    .map(|list| items::unique(path, list, mistakes));
            }
            Self::Hosts => return self.list(path, value, 0, mistakes, items::host),
            Self::Origins => {
                let list = self.list(path, value, 1, mistakes, cors::origin);
                return list.map(|list| cors::list(path, list, mistakes));
            }
            Self::HeaderNames => {
                let list = self.list(path, value, 0, mistakes, cors::header_name);
                return list.map(|list| cors::list(path, list, mistakes));
            }
            Self::Any => Some(value.clone()),
        };
        if read.is_none() {
            mistakes.add(path, format!("found {}, expected {}", self.shown(value), self.accepted()));
        }
        read
    }

    /// The accepted values, as the end of "expected …".
    pub(super) fn accepted(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Integer { least, most, unit: "" } => format!("an integer from {least} to {most}"),
            Self::Integer { least, most, unit } => format!("an integer from {least} to {most} ({unit})"),
            Self::Fuel => format!("an integer of at least 1, or \"{UNLIMITED}\""),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::AnyCase(words) => format!("one of {}, in upper or lower case", words.join(", ")),
            Self::Words { of, least: 0 } => format!("a list of {}", of.join(", ")),
            Self::Words { of, least } => format!("a list of at least {least} of {}", of.join(", ")),
            Self::Name => ServiceName::ACCEPTED.to_owned(),
            Self::Token => Token::ACCEPTED.to_owned(),
            Self::Location => "a path or a URL, not empty".to_owned(),
            Self::Url => "an http or https URL such as https://hooks.example.com/done".to_owned(),
            Self::Entry => "a relative path without `..`".to_owned(),
            Self::Variables => "a list of {\"name\": …, \"value\": …}".to_owned(),
            Self::Hosts => "a list of host names".to_owned(),
            Self::Origins => "a list of at least one origin such as https://app.example.com, or [\"*\"]".to_owned(),
            Self::HeaderNames => "a list of names of headers, or [\"*\"]".to_owned(),
            Self::Any => "any JSON value".to_owned(),
        }
    }

    /// True if an override on the command line is text for this kind, even if it parses as JSON.
    pub(super) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Word(_) | Self::AnyCase(_) | Self::Name | Self::Token | Self::Location | Self::Url | Self::Entry
        )
    }

    /// A wrong value, short enough for one line. Of a secret, only the type of the value is shown.
    pub(super) fn shown(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::String(text)) if text.is_empty() => "an empty string".to_owned(),
            (Self::Token, Value::String(text)) => format!("a string of {} characters", text.chars().count()),
            (Self::Token, Value::Number(_)) => "a number".to_owned(),
            (_, Value::String(text)) if text.chars().nth(SHOWN).is_some() => {
                json!(text.chars().take(SHOWN).chain(['…']).collect::<String>()).to_string()
            }
            (_, Value::Array(list)) => format!("a list of {}", list.len()),
            (_, Value::Object(_)) => "an object".to_owned(),
            (_, plain) => plain.to_string(),
        }
    }

    fn list(
        self,
        path: &str,
        value: &Value,
        least: usize,
        mistakes: &mut Mistakes,
        read_item: impl Fn(&str, &Value, &mut Mistakes) -> Option<Value>,
    ) -> Option<Value> {
        let Some(items) = value.as_array().filter(|items| items.len() >= least) else {
            mistakes.add(path, format!("found {}, expected {}", self.shown(value), self.accepted()));
            return None;
        };
        // A wrong item is left out, and the others are read as well, so that all mistakes are found.
        let mut list: Vec<Value> = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            list.extend(read_item(&format!("{path}[{at}]"), item, mistakes));
        }
        Some(Value::Array(list))
    }
}

fn is_url(text: &str) -> bool {
    let uri = text.parse::<Uri>();
    uri.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some())
}

fn flag(value: &Value) -> Option<Value> {
    let flag = match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => match number.as_f64()? {
            0.0 => false,
            1.0 => true,
            _ => return None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(flag.into())
}

/// An integer, also as `5.0` and `"5"`.
fn integer(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok().or_else(|| whole(text.trim().parse().ok()?)),
        _ => None,
    }
}

/// The integer that a float is. From 2^53 on, a float no longer tells which integer was meant.
fn whole(number: f64) -> Option<u64> {
    let exact = number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number);
    exact.then_some(number as u64)
}

fn stays_inside(path: &str) -> bool {
    let absolute = path.starts_with(['/', '\\']) || path.get(1..2) == Some(":");
    !path.is_empty() && !absolute && !path.contains('\0') && path.split(['/', '\\']).all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, value: impl Into<Value>) -> Result<Value, String> {
        let mut mistakes = Mistakes::default();
        let read = kind.read("k", &value.into(), &mut mistakes);
        if mistakes.is_empty() { Ok(read.expect("no mistake, so there is a value")) } else { Err(mistakes.to_string()) }
    }

    const SMALL: Kind = Kind::Integer { least: 1, most: 10, unit: "ms" };

    #[test]
    fn integers_come_as_numbers_floats_and_strings() {
        for five in [json!(5), json!(5.0), json!("5"), json!(" 5 "), json!("5.0"), json!(0.5e1)] {
            assert_eq!(read(SMALL, five), Ok(json!(5)));
        }
        for wrong in [
            json!(0),
            json!(11),
            json!(-1),
            json!(5.5),
            json!("five"),
            json!(""),
            json!(true),
            json!([5]),
            json!("NaN"),
            json!("inf"),
            json!(1e300),
        ] {
            assert!(read(SMALL, wrong).unwrap_err().ends_with("expected an integer from 1 to 10 (ms)"));
        }
    }

    #[test]
    fn large_integers_keep_every_digit_or_are_refused() {
        assert_eq!(read(Kind::Fuel, json!(u64::MAX)), Ok(json!(u64::MAX)));
        assert_eq!(read(Kind::Fuel, json!("18446744073709551615")), Ok(json!(u64::MAX)));
        assert_eq!(read(Kind::Fuel, json!("unlimited")), Ok(json!("unlimited")));
        assert!(read(Kind::Fuel, json!(1.8e19)).is_err());
        assert!(read(Kind::Fuel, json!(0)).is_err());
    }

    #[test]
    fn flags_come_in_every_spelling_seen() {
        for yes in [json!(true), json!("true"), json!("True"), json!(1), json!("1")] {
            assert_eq!(read(Kind::Flag, yes), Ok(json!(true)));
        }
        for no in [json!(false), json!("false"), json!(0), json!(0.0)] {
            assert_eq!(read(Kind::Flag, no), Ok(json!(false)));
        }
        for wrong in [json!("yes"), json!(2), json!([]), json!("")] {
            assert!(read(Kind::Flag, wrong).is_err());
        }
    }

    #[test]
    fn a_word_in_any_case_gets_the_case_of_the_table() {
        let kind = Kind::AnyCase(&["Standard", "Async"]);
        for spelling in ["Async", "async", "ASYNC", "aSyNc"] {
            assert_eq!(read(kind, json!(spelling)), Ok(json!("Async")), "{spelling}");
        }
        for wrong in [json!("Asyn"), json!(" async"), json!(""), json!(1), json!(["Async"])] {
            assert!(
                read(kind, wrong).unwrap_err().ends_with("expected one of Standard, Async, in upper or lower case")
            );
        }
    }

    #[test]
    fn every_wrong_item_of_a_list_is_named() {
        let words = Kind::Words { of: &["GET", "POST"], least: 1 };
        assert_eq!(read(words, json!(["POST", "GET"])), Ok(json!(["POST", "GET"])));
        assert_eq!(
            read(words, json!(["get", "POST", 3])),
            Err("k[0]: found \"get\", expected one of GET, POST\nk[2]: found 3, expected one of GET, POST".to_owned())
        );
        assert_eq!(
            read(words, json!([])),
            Err("k: found a list of 0, expected a list of at least 1 of GET, POST".to_owned())
        );
    }

    #[test]
    fn an_entry_stays_inside_its_directory() {
        for good in ["model.onnx", "a/b/c", "..a/b", "a..b"] {
            assert!(read(Kind::Entry, json!(good)).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "..", "a/../../b", "..\\x", "C:\\x", "\\x", "a\0"] {
            assert!(read(Kind::Entry, json!(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_values_are_shortened_and_tokens_not_shown() {
        let said = read(Kind::Name, json!("A".repeat(500))).unwrap_err();
        assert!(said.len() < 200 && said.contains("AAA…"), "{said}");
        let said = read(Kind::Token, json!("s3cret with a space")).unwrap_err();
        assert_eq!(said, "k: found a string of 19 characters, expected 1 to 512 visible ASCII characters");
    }
}
