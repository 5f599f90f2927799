//! A JSON object and no other value. An implementation that serde derives also reads an array, by the order of the
//! fields, and names Rust types in its errors.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that is read from a JSON object only.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfObject<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_any(OfObject(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Two {
        one: u8,
        two: Vec<Object<One>>,
    }

    #[derive(Deserialize)]
    struct One {
        one: u8,
    }

    fn read(text: &str) -> Result<Two, String> {
        serde_json::from_str(text).map(|Object(two)| two).map_err(|error| error.to_string())
    }

    #[test]
    fn an_object_is_read_and_nothing_else() {
        let two = read(r#"{"one": 1, "two": [{"one": 2}]}"#).unwrap();
        assert_eq!((two.one, two.two[0].0.one), (1, 2));
        for text in ["[1, []]", "1", "null", "\"x\"", r#"{"one": 1, "two": [[2]]}"#] {
            let error = read(text).err().unwrap();
            assert!(error.contains("expected an object") && !error.contains("Two"), "{error}");
        }
    }
}
