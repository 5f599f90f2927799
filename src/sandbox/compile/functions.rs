//! Machine code of single functions, passed from the first compilation of a deploy to the second.
//!
//! A snapshot changes the initial memory of a component and leaves its functions as they are, so the first compilation
//! has most of the code for the second. A file has the entries one after the other: two `u32` lengths, key, value. The
//! host's own child writes the file, and only the next child reads it, under the same confinement.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use wasmtime::CacheStore;

/// Most bytes that are collected; the largest honest guests have 52 MB. Functions beyond that are compiled twice.
const MOST: usize = 128 << 20;

/// Collects functions as they are compiled.
#[derive(Debug, Default)]
pub(super) struct Learnt(Mutex<Vec<u8>>);

impl CacheStore for Learnt {
    fn get(&self, _: &[u8]) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let (Ok(key_length), Ok(value_length)) = (u32::try_from(key.len()), u32::try_from(value.len())) else {
            return false;
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() + key.len() + value.len() > MOST {
            return false;
        }
        for part in [&key_length.to_le_bytes(), &value_length.to_le_bytes(), key, &value] {
            entries.extend_from_slice(part);
        }
        true
    }
}

impl Learnt {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Provides the functions of an earlier compilation.
#[derive(Debug)]
pub(super) struct Known {
    entries: Vec<u8>,
    places: HashMap<Vec<u8>, Range<usize>>,
}

impl Known {
    /// Reads the entries up to the first incomplete one.
    pub(super) fn new(entries: Vec<u8>) -> Self {
        let mut places = HashMap::new();
        let mut at = 0;
        while let Some((key, value)) = entry(&entries, at) {
            at = value.end;
            places.insert(entries[key].to_vec(), value);
        }
        Self { entries, places }
    }
}

fn entry(entries: &[u8], at: usize) -> Option<(Range<usize>, Range<usize>)> {
    let length = |at: usize| {
        let bytes = entries.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let (key_length, value_length) = (length(at)?, length(at + 4)?);
    let key = at + 8..(at + 8).checked_add(key_length)?;
    let value = key.end..key.end.checked_add(value_length)?;
    (value.end <= entries.len()).then_some((key, value))
}

impl CacheStore for Known {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.places.get(key).map(|place| Cow::Borrowed(&self.entries[place.clone()]))
    }

    fn insert(&self, _: &[u8], _: Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_known() {
        let learnt = Learnt::default();
        assert!(learnt.insert(b"one", b"first".to_vec()) && learnt.insert(b"two", Vec::new()));
        let mut file = Vec::new();
        learnt.write(&mut file).unwrap();
        let known = Known::new(file.clone());
        assert_eq!(known.get(b"one").as_deref(), Some(b"first".as_slice()));
        assert_eq!(known.get(b"two").as_deref(), Some([].as_slice()));
        assert_eq!(known.get(b"three"), None);
        file.truncate(file.len() - 1);
        assert_eq!(Known::new(file).get(b"two"), None, "what is not whole is not known");
    }
}
