//! The parameters of a request to a queue, read by type. A name that begins with `_` is a parameter, any other is a
//! tag.

mod nearest;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration::parse_timeout;
use super::query;
use super::refused::Refused;
use crate::queue::Tags;
use crate::quoted::Quoted;

/// Most indexes of one request.
pub(super) const MOST_INDEXES: usize = 1000;
/// Most pairs of one request, repeated ones included. It bounds the work of finding repeated names.
const MOST_PAIRS: usize = 100;
/// Most tags of one request.
const MOST_TAGS: usize = 32;
/// Most bytes of a tag's name.
const LONGEST_TAG_NAME: usize = 64;
/// Most bytes of a tag's value.
const LONGEST_TAG_VALUE: usize = 256;

/// One kind of request: the parameters that it has, and whether it has tags.
#[derive(Debug)]
pub(super) struct Kind {
    /// The name with its article, for messages.
    pub(super) name: &'static str,
    pub(super) parameters: &'static [&'static str],
    pub(super) tags: Tagged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tagged {
    Yes,
    No,
}

/// Parameters and tags, each name once.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// True if the request has no parameters.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decodes a query or a form.
    ///
    /// # Errors
    /// Refuses what is not percent-encoded, and a name with two different values. The same pair twice counts as one.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let pairs = query::pairs(text).map_err(|undecodable| bad(undecodable.to_string()))?;
        if pairs.len() > MOST_PAIRS {
            let count = pairs.len();
            return Err(bad(format!("there are {count} parameters and tags; accepted are at most {MOST_PAIRS}")));
        }
        let mut given: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs {
            match given.iter().find(|(known, _)| *known == name) {
                None => given.push((name, value)),
                Some((_, first)) if *first == value => {}
                Some((_, first)) => {
                    let (name, first, value) = (Quoted(name), Quoted(first), Quoted(value));
                    return Err(bad(format!("{name} is given as {first} and as {value}; accepted is one value")));
                }
            }
        }
        Ok(Self(given))
    }

    /// Checks that a request of this kind has all the names that are given.
    ///
    /// # Errors
    /// Names the first one that it does not have, and the nearest parameter or all of them.
    pub(super) fn check(&self, kind: &Kind) -> Result<(), Refused> {
        let is_accepted = |name: &str| match is_parameter(name) {
            true => kind.parameters.contains(&name),
            false => kind.tags == Tagged::Yes,
        };
        match self.0.iter().find(|(name, _)| !is_accepted(name)) {
            None => Ok(()),
            Some((name, _)) => Err(bad(nearest::unknown(name, kind))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refused> {
        self.read(name, format_args!("true, false, 1 or 0"), |text| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    pub(super) fn whole(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Refused> {
        let accepted = format_args!("a whole number from {} to {}", range.start(), range.end());
        self.read(name, accepted, |text| whole(text).filter(|number| range.contains(number)))
    }

    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, Refused> {
        self.text(name).map(|text| parse_timeout(text).map_err(|why| bad(format!("{name}: {why}")))).transpose()
    }

    /// Reads numbers with commas between them. A number that is given again is left out.
    pub(super) fn indexes(&self, name: &str) -> Result<Option<Vec<u64>>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let count = text.split(',').count();
        if count > MOST_INDEXES {
            return Err(bad(format!("{name} has {count} indexes; accepted are at most {MOST_INDEXES}")));
        }
        let (mut indexes, mut known) = (Vec::with_capacity(count), BTreeSet::new());
        for text in text.split(',') {
            let Some(index) = whole(text).filter(|index| *index > 0) else {
                return Err(bad(format!(
                    "{name} has {}; accepted are whole numbers from 1 to {}, with commas between them",
                    Quoted(text),
                    u64::MAX
                )));
            };
            if known.insert(index) {
                indexes.push(index);
            }
        }
        Ok(Some(indexes))
    }

    pub(super) fn tags(&self) -> Result<Tags, Refused> {
        let tags = || self.0.iter().filter(|(name, _)| !is_parameter(name));
        let count = tags().count();
        if count > MOST_TAGS {
            return Err(bad(format!("there are {count} tags; accepted are at most {MOST_TAGS}")));
        }
        for (name, value) in tags() {
            let (name_length, value_length) = (name.len(), value.len());
            if !(1..=LONGEST_TAG_NAME).contains(&name_length) {
                let name = Quoted(name);
                return Err(bad(format!(
                    "the tag {name} has a name of {name_length} bytes; accepted are 1 to {LONGEST_TAG_NAME}"
                )));
            }
            if name.contains('\0') {
                let name = Quoted(name);
                return Err(bad(format!("the tag {name} has a zero byte in its name; accepted is any other text")));
            }
            if value_length > LONGEST_TAG_VALUE {
                let name = Quoted(name);
                return Err(bad(format!(
                    "the tag {name} has a value of {value_length} bytes; accepted are at most {LONGEST_TAG_VALUE}"
                )));
            }
        }
        Ok(tags().map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }

    /// Reads a value with a grammar of its own, which `accepted` describes.
    pub(super) fn read<T>(
        &self,
        name: &str,
        accepted: fmt::Arguments<'_>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(bad(format!("{name} is {}; accepted is {accepted}", Quoted(text)))),
        }
    }
}

fn is_parameter(name: &str) -> bool {
    name.starts_with('_')
}

/// Parses decimal digits without a sign.
pub(super) fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub(super) fn bad(sentence: String) -> Refused {
    Refused::BadRequest(sentence)
}
