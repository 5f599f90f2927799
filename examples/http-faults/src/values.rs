//! Operations on the key-value store, one a line: `set a 1`, `get a`, `add n 5`. The outcome of each is a line, too.

use std::fmt::Debug;

use crate::proposals::keyvalue::atomics::{self, Cas, CasError};
use crate::proposals::keyvalue::{batch, store};

/// Does the operations of a text.
pub(crate) fn run(text: &str) -> String {
    text.lines().map(|line| operate(line) + "\n").collect()
}

fn operate(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    if let ["open", name] = words[..] {
        return told(store::open(name).map(|_| "opened"));
    }
    let bucket = match store::open("default") {
        Ok(bucket) => bucket,
        Err(error) => return format!("{error:?}"),
    };
    let value =
        |value: Option<Vec<u8>>| value.map_or("none".to_owned(), |value| String::from_utf8_lossy(&value).into());
    match words[..] {
        ["get", key] => told(bucket.get(key).map(value)),
        ["set", key, text] => told(bucket.set(key, text.as_bytes()).map(|()| "set")),
        // Sets a value of this many bytes.
        ["fill", key, bytes] => {
            let bytes = vec![b'x'; bytes.parse().expect("a number")];
            told(bucket.set(key, &bytes).map(|()| "set"))
        }
        // Sets this many values of one byte at once.
        ["many", start, count] => {
            let count = count.parse::<u32>().expect("a number");
            let entries: Vec<_> = (0..count).map(|index| (format!("{start}{index:06}"), b"x".to_vec())).collect();
            told(batch::set_many(&bucket, &entries).map(|()| "set"))
        }
        ["delete", ref keys @ ..] if keys.len() > 1 => {
            let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            told(batch::delete_many(&bucket, &keys).map(|()| "deleted"))
        }
        ["delete", key] => told(bucket.delete(key).map(|()| "deleted")),
        ["exists", key] => told(bucket.exists(key)),
        ["read", ref keys @ ..] => {
            let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            told(batch::get_many(&bucket, &keys).map(|found| {
                found.into_iter().map(|(key, found)| format!("{key}={}", value(found))).collect::<Vec<_>>().join(" ")
            }))
        }
        // The number of keys, the last of them, and the number of pages.
        ["count"] => {
            let (mut count, mut last, mut pages, mut cursor) = (0, String::new(), 0, None);
            loop {
                let page = match bucket.list_keys(cursor.as_deref()) {
                    Ok(page) => page,
                    Err(error) => return format!("{error:?}"),
                };
                pages += 1;
                count += page.keys.len();
                last = page.keys.last().cloned().unwrap_or(last);
                cursor = page.cursor;
                if cursor.is_none() {
                    return format!("{count} keys to {last:?} in {pages} pages");
                }
            }
        }
        ["add", key, delta] => told(atomics::increment(&bucket, key, delta.parse().expect("a number"))),
        // Replaces a value, unless it is changed in between, as `between` does it.
        ["swap", key, text, between] => {
            let cas = match Cas::new(&bucket, key) {
                Ok(cas) => cas,
                Err(error) => return format!("{error:?}"),
            };
            if between != "-" {
                bucket.set(key, between.as_bytes()).expect("a change in between");
            }
            match atomics::swap(cas, text.as_bytes()) {
                Ok(()) => "swapped".to_owned(),
                Err(CasError::StoreError(error)) => format!("{error:?}"),
                Err(CasError::CasFailed(again)) => {
                    let now = again.current().map(value).expect("a value");
                    told(atomics::swap(again, text.as_bytes()).map(|()| format!("swapped after {now}")))
                }
            }
        }
        _ => format!("there is no operation {line:?}"),
    }
}

fn told<T: ToString, E: Debug>(outcome: Result<T, E>) -> String {
    outcome.map_or_else(|error| format!("{error:?}"), |outcome| outcome.to_string())
}
