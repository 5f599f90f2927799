//! Operations on a queue, read from the method, the query and the headers of a request.

mod kinds;
mod start;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{HeaderMap, Method};

use self::kinds::{ATTRIBUTES, COMMIT, COUNT, DELETE, END, GET, PUT, SEARCH, TRUNCATE, WATCH};
pub(crate) use self::start::Start;
use super::headers::{self, PRIORITY};
use super::parameters::{Parameters, bad, whole};
use super::refused::Refused;
use crate::queue::{HIGHEST_PRIORITY, Tags};
use crate::quoted::Quoted;

/// The longest wait of a get. A longer `_timeout_` is cut to it.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Most items of a get.
pub(crate) const LONGEST_LIST: u64 = 1000;
/// The largest window of a watch.
pub(crate) const LARGEST_WINDOW: u64 = 1000;
/// The window of a watch without `_window_`. Clients of EAS always send one, 5 in their tests.
pub(crate) const DEFAULT_WINDOW: u64 = 5;

/// The methods that a queue accepts, for `Allow`.
const METHODS: &str = "GET, POST, PUT, DELETE";

/// The place that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path<'p> {
    /// The input queue, and the path after the service's name. A put gives that path to the processor.
    Input(&'p str),
    Sink,
}

/// A request to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put {
        tags: Tags,
        priority: u8,
    },
    Get {
        index: Start,
        /// Most items, from 1 to [`LONGEST_LIST`].
        length: usize,
        /// The wait for the first item, at most [`LONGEST_WAIT`].
        timeout: Duration,
        /// True if the items are removed from the queue: the default, except for a GET without parameters.
        auto_delete: bool,
        /// True if the answer is the data of the item alone. `length` is 1 then.
        raw: bool,
        tags: Tags,
    },
    Attributes,
    Count {
        priority: Option<u8>,
        tags: Tags,
    },
    Search {
        item: Sought,
    },
    Commit {
        indexes: Vec<u64>,
    },
    /// The body has the reason, see [`super::negative::parse`].
    NegativeCommit {
        indexes: Vec<u64>,
    },
    /// Extends the leases of items. EAS has no such operation.
    Extend {
        indexes: Vec<u64>,
    },
    Delete {
        indexes: Vec<u64>,
    },
    /// Removes the items with an index below `before`.
    Truncate {
        before: u64,
    },
    End {
        force: bool,
    },
    Watch {
        index: Start,
        /// Most items that are delivered and not yet committed, from 1 to [`LARGEST_WINDOW`].
        window: usize,
        /// True if the items are sent without their data.
        index_only: bool,
        /// True if an item is committed when it has been sent. `window` has no meaning then.
        auto_commit: bool,
        /// True if the progress of items that are being worked on is sent as well. EAS has no such parameter.
        progress: bool,
        tags: Tags,
    },
}

/// The item that a search is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    Index(u64),
    /// The first item with these tags, such as its request id. EAS searches by index only.
    Tagged(Tags),
}

impl Operation {
    /// Reads the operation of a request. A GET that names no operation is a get.
    ///
    /// # Errors
    /// Refuses names that the operation does not have, since an operation that ignored them could remove the wrong
    /// items.
    pub(crate) fn of(method: &Method, query: Option<&str>, headers: &HeaderMap, at: Path<'_>) -> Result<Self, Refused> {
        let has_subpath = matches!(at, Path::Input(path) if !path.trim_matches('/').is_empty());
        let allow = if has_subpath { "POST" } else { METHODS };
        let given = Parameters::parse(query.unwrap_or_default());
        match *method {
            Method::POST => post(&given?, headers, has_subpath),
            _ if has_subpath => Err(Refused::MethodNotAllowed { allow }),
            Method::GET => get(&given?, at),
            Method::PUT => put(&given?),
            Method::DELETE => delete(&given?),
            _ => Err(Refused::MethodNotAllowed { allow }),
        }
    }
}

fn post(given: &Parameters, headers: &HeaderMap, has_subpath: bool) -> Result<Operation, Refused> {
    if given.flag("_eos_")? != Some(true) {
        given.check(&PUT)?;
        return Ok(Operation::Put { tags: given.tags()?, priority: priority_of_a_put(given, headers)? });
    }
    given.check(&END)?;
    if has_subpath {
        return Err(bad("_eos_ is true, and there is a path after the service's name; accepted is one of them".into()));
    }
    Ok(Operation::End { force: given.flag("_force_")?.unwrap_or(false) })
}

/// Reads the priority from the query, or else from the header. Java clients send both.
fn priority_of_a_put(given: &Parameters, headers: &HeaderMap) -> Result<u8, Refused> {
    if let Some(priority) = priority(given)? {
        return Ok(priority);
    }
    let Some(value) = headers::only_value(headers, PRIORITY)? else { return Ok(0) };
    let number = std::str::from_utf8(value).ok().and_then(whole).and_then(|number| u8::try_from(number).ok());
    number.filter(|priority| *priority <= HIGHEST_PRIORITY).ok_or_else(|| {
        let value = Quoted(value);
        bad(format!("the header {PRIORITY} is {value}; accepted is a whole number from 0 to {HIGHEST_PRIORITY}"))
    })
}

fn priority(given: &Parameters) -> Result<Option<u8>, Refused> {
    Ok(given.whole("_priority_", 0..=HIGHEST_PRIORITY.into())?.map(|priority| priority as u8))
}

fn get(given: &Parameters, at: Path<'_>) -> Result<Operation, Refused> {
    match only_true(given, &["_watch_", "_attrs_", "_count_", "_search_"])? {
        Some("_watch_") => watch(given, at),
        Some("_attrs_") => given.check(&ATTRIBUTES).map(|()| Operation::Attributes),
        Some("_count_") => {
            given.check(&COUNT)?;
            Ok(Operation::Count { priority: priority(given)?, tags: given.tags()? })
        }
        Some("_search_") => search(given),
        _ => items(given),
    }
}

fn items(given: &Parameters) -> Result<Operation, Refused> {
    given.check(&GET)?;
    let length = given.whole("_length_", 1..=LONGEST_LIST)?.unwrap_or(1) as usize;
    let raw = given.flag("_raw_")?.unwrap_or(true);
    if raw && length > 1 {
        return Err(bad(format!(
            "_length_ is {length}, and raw data are those of one item; accepted is _length_=1, or _raw_=false \
             for a list"
        )));
    }
    Ok(Operation::Get {
        index: Start::of(given)?,
        length,
        timeout: given.duration("_timeout_")?.unwrap_or(Duration::ZERO).min(LONGEST_WAIT),
        // A browser and a probe send no parameters, and must not take an item out.
        auto_delete: given.flag("_auto_delete_")?.unwrap_or(!given.is_empty()),
        raw,
        tags: given.tags()?,
    })
}

fn search(given: &Parameters) -> Result<Operation, Refused> {
    given.check(&SEARCH)?;
    let item = match (given.whole("_index_", 1..=u64::MAX)?, given.tags()?) {
        (Some(index), tags) if tags.is_empty() => Sought::Index(index),
        (None, tags) if !tags.is_empty() => Sought::Tagged(tags),
        (None, _) => return Err(bad("a search needs _index_, or a tag such as requestId".into())),
        (Some(_), _) => return Err(bad("a search has _index_ and tags; accepted is one of them".into())),
    };
    Ok(Operation::Search { item })
}

fn watch(given: &Parameters, at: Path<'_>) -> Result<Operation, Refused> {
    given.check(&WATCH)?;
    let progress = given.flag("_progress_")?.unwrap_or(false);
    if progress && at != Path::Sink {
        return Err(bad("_progress_ is true, and this is no sink; progress is sent to those who watch a sink".into()));
    }
    let auto_commit = given.flag("_auto_commit_")?.unwrap_or(false);
    // Clients may send any window with automatic commits, because EAS ignores it then.
    let windows = if auto_commit { 0..=u64::MAX } else { 1..=LARGEST_WINDOW };
    let window = given.whole("_window_", windows)?.unwrap_or(DEFAULT_WINDOW).clamp(1, LARGEST_WINDOW);
    Ok(Operation::Watch {
        index: Start::of(given)?,
        window: window as usize,
        index_only: given.flag("_index_only_")?.unwrap_or(false),
        auto_commit,
        progress,
        tags: given.tags()?,
    })
}

fn put(given: &Parameters) -> Result<Operation, Refused> {
    given.check(&COMMIT)?;
    let variant = only_true(given, &["_negative_", "_extend_"])?;
    let indexes = given.indexes("_indexes_")?.ok_or_else(|| bad("a commit needs _indexes_".into()))?;
    Ok(match variant {
        Some("_negative_") => Operation::NegativeCommit { indexes },
        Some("_extend_") => Operation::Extend { indexes },
        _ => Operation::Commit { indexes },
    })
}

fn delete(given: &Parameters) -> Result<Operation, Refused> {
    if given.flag("_trunc_")? == Some(true) {
        given.check(&TRUNCATE)?;
        let before = given.whole("_index_", 0..=u64::MAX)?;
        return Ok(Operation::Truncate { before: before.ok_or_else(|| bad("a truncation needs _index_".into()))? });
    }
    given.check(&DELETE)?;
    let indexes = given.indexes("_indexes_")?;
    let needed = || bad("a delete needs _indexes_, or _trunc_=true and _index_".into());
    Ok(Operation::Delete { indexes: indexes.ok_or_else(needed)? })
}

/// The one of these parameters that is true.
fn only_true(given: &Parameters, names: &[&'static str]) -> Result<Option<&'static str>, Refused> {
    let mut found = None;
    for &name in names {
        if given.flag(name)? != Some(true) {
            continue;
        }
        if let Some(other) = found.replace(name) {
            return Err(bad(format!("{other} and {name} are both true; accepted is one of them")));
        }
    }
    Ok(found)
}
