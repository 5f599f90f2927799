//! Parses text to a JSON value. Unlike serde_json alone, it reports repeated keys, and shows the line that does not
//! parse.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{excerpt, mistakes::Mistakes, reader::join};

/// Parses a text. Repeated keys are noted as mistakes, and the last value is kept. A text that is not JSON is an error.
pub(super) fn parse(text: &str) -> Result<(Value, Mistakes), Mistakes> {
    // Some editors put a byte order mark before JSON.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let noted = RefCell::new(Mistakes::default());
    let mut reader = serde_json::Deserializer::from_str(text);
    let root = Node { path: String::new(), mistakes: &noted };
    let parsed = root.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let mut mistakes = noted.into_inner();
    match parsed {
        Ok(value) => Ok((value, mistakes)),
        Err(_) if text.trim().is_empty() => {
            mistakes.add("", "the file is empty");
            Err(mistakes)
        }
        Err(error) => {
            mistakes.add("", syntax(text, &error));
            Err(mistakes)
        }
    }
}

/// Describes a syntax error with its place, and with the line if it has a text.
fn syntax(text: &str, error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| in_words(what));
    // The parser's column is 0 if the text ends with a line.
    let (line, column) = (error.line(), error.column().max(1));
    match excerpt::line(text, line, column).as_str() {
        "" => format!("line {line}, column {column}: {what}"),
        shown => format!("line {line}, column {column}: {what}: {shown}"),
    }
}

/// Replaces the parser's messages for a text that ends too early with clearer ones.
fn in_words(what: &str) -> &str {
    match what {
        "EOF while parsing an object" => "the text ends inside an object; a `}` is missing",
        "EOF while parsing a list" => "the text ends inside a list; a `]` is missing",
        "EOF while parsing a string" => "the text ends inside a string; a `\"` is missing",
        "EOF while parsing a value" => "the text ends where a value is expected",
        other => other,
    }
}

/// A value that is being read. It has its path, so that a repeated key can be named. serde_json limits the depth.
struct Node<'a> {
    path: String,
    mistakes: &'a RefCell<Mistakes>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) =
            items.next_element_seed(Node { path: format!("{}[{}]", self.path, list.len()), mistakes: self.mistakes })?
        {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = join(&self.path, &key);
            let value = entries.next_value_seed(Node { path: path.clone(), mistakes: self.mistakes })?;
            if object.insert(key, value).is_some() {
                self.mistakes.borrow_mut().add(&path, "this key appears twice in the same object");
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes_of(text: &str) -> String {
        match parse(text) {
            Ok((_, mistakes)) | Err(mistakes) => mistakes.to_string(),
        }
    }

    #[test]
    fn values_come_out_as_serde_json_would_have_them() {
        let text = r#"{"a": [1, -2, 3.5, 1e3, "x\n", null, true], "b": {"c": {}}, "big": 18446744073709551615}"#;
        assert_eq!(parse(text), Ok((serde_json::from_str(text).unwrap(), Mistakes::default())));
        assert_eq!(parse("\u{feff}{}"), Ok((serde_json::json!({}), Mistakes::default())));
    }

    #[test]
    fn every_repeated_key_is_named_with_its_path() {
        assert_eq!(
            mistakes_of(r#"{"a": 1, "a": 1, "list": [{"x": 1, "x": 2}]}"#),
            "a: this key appears twice in the same object\nlist[0].x: this key appears twice in the same object"
        );
    }

    #[test]
    fn a_text_that_is_no_json_shows_its_line() {
        assert_eq!(
            mistakes_of("{\n  \"name\": \"a\"\n  \"model_path\": \"m\"\n}"),
            "line 3, column 3: expected `,` or `}`:   \"model_path\": \"m\""
        );
        let ends = "the text ends where a value is expected";
        assert_eq!(mistakes_of("{\"a\": 1,\n"), format!("line 2, column 1: {ends}"), "the last line has no text");
        assert!(mistakes_of("{} x").starts_with("line 1, column 4: trailing characters: {} x"));
        assert!(mistakes_of("{\"a\": ").starts_with("line 1, column 6: the text ends where a value is expected"));
        assert!(mistakes_of(&"[".repeat(10_000)).contains("recursion limit exceeded"));
        assert_eq!(mistakes_of(" \n"), "the file is empty");
    }
}
