//! The place in a queue at which a get or a watch begins.

use crate::front::queue::protocol::parameters::{Parameters, whole};
use crate::front::queue::protocol::refused::Refused;

/// The item at which a get or a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The first item with this index or a higher one. 0 is the head of the queue.
    From(u64),
    /// The newest item.
    Newest,
}

impl Start {
    /// Reads `_index_`. The default is the head of the queue.
    pub(super) fn of(given: &Parameters) -> Result<Self, Refused> {
        let accepted = format_args!("a whole number from 0 to {}, or -1 for the newest item", u64::MAX);
        let start = given.read("_index_", accepted, |text| match text {
            "-1" => Some(Self::Newest),
            _ => whole(text).map(Self::From),
        })?;
        Ok(start.unwrap_or(Self::From(0)))
    }
}
