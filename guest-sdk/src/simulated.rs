//! The items of native tests, in place of those of a host.

use std::cell::RefCell;
use std::marker::PhantomData;

thread_local! {
    /// The item that this thread works on.
    static ITEM: RefCell<Option<Item>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Item {
    delivery: u32,
    partial: Option<Vec<u8>>,
    kept: Option<Vec<u8>>,
    reports: Vec<(f64, String)>,
    most_bytes: usize,
}

/// An item that this thread works on for as long as this value lives. Only native builds have it, for unit tests.
#[derive(Debug)]
pub struct Simulation(PhantomData<*const ()>);

/// Makes the calls of this thread work on an item: its delivery of this number, with the partial result that an earlier
/// one has kept. Only native builds have this function, for unit tests.
#[must_use]
pub fn simulate(delivery: u32, partial: Option<Vec<u8>>) -> Simulation {
    let item = Item { delivery, partial, kept: None, reports: Vec::new(), most_bytes: usize::MAX };
    ITEM.replace(Some(item));
    Simulation(PhantomData)
}

impl Simulation {
    /// Refuses partial results of more bytes, as `queue.max_payload_bytes` does.
    #[must_use]
    pub fn with_most_bytes(self, most: usize) -> Self {
        with(|item| item.most_bytes = most);
        self
    }

    /// Returns the partial result that was kept last, for the next delivery.
    #[must_use]
    pub fn kept(&self) -> Option<Vec<u8>> {
        with(|item| item.kept.clone()).flatten()
    }

    /// Returns all reports so far.
    #[must_use]
    pub fn reports(&self) -> Vec<(f64, String)> {
        with(|item| item.reports.clone()).unwrap_or_default()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        ITEM.take();
    }
}

pub(crate) fn report(fraction: f64, note: &str) {
    with(|item| item.reports.push((fraction, note.to_owned())));
}

pub(crate) fn keep_partial(data: &[u8]) -> Result<(), String> {
    let kept = with(|item| match data.len() {
        bytes if bytes > item.most_bytes => {
            Err(format!("the partial result has {bytes} bytes, and may have {}", item.most_bytes))
        }
        _ => {
            item.kept = Some(data.to_owned());
            Ok(())
        }
    });
    kept.unwrap_or_else(|| Err("there is no item: a partial result is kept for an item of a queue".to_owned()))
}

pub(crate) fn partial() -> Option<Vec<u8>> {
    with(|item| item.partial.clone()).flatten()
}

pub(crate) fn delivery() -> u32 {
    with(|item| item.delivery).unwrap_or(0)
}

fn with<T>(work: impl FnOnce(&mut Item) -> T) -> Option<T> {
    ITEM.with_borrow_mut(|item| item.as_mut().map(work))
}

#[cfg(test)]
mod tests {
    use crate::job::{delivery, keep_partial, partial, report, simulate};

    #[test]
    fn a_call_that_is_no_item_has_nothing_to_keep() {
        report(0.5, "half");
        let refused = keep_partial(b"half").unwrap_err().to_string();
        assert_eq!(refused, "there is no item: a partial result is kept for an item of a queue");
        assert_eq!((partial(), delivery()), (None, 0));
    }

    #[test]
    fn an_item_has_what_an_earlier_delivery_kept() {
        let first = simulate(1, None);
        assert_eq!((partial(), delivery()), (None, 1));
        report(0.25, format_args!("{} of 4", 1));
        keep_partial(b"a").unwrap();
        keep_partial(b"ab").unwrap();
        assert_eq!(partial(), None, "it is for the next delivery");
        assert_eq!(first.reports(), [(0.25, "1 of 4".to_owned())]);
        let kept = first.kept();
        drop(first);
        assert_eq!(delivery(), 0);

        let _second = simulate(2, kept);
        assert_eq!((partial(), delivery()), (Some(b"ab".to_vec()), 2));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let item = simulate(1, None).with_most_bytes(2);
        keep_partial(b"ab").unwrap();
        let refused = keep_partial(b"abc").unwrap_err().to_string();
        assert_eq!(refused, "the partial result has 3 bytes, and may have 2");
        assert_eq!(item.kept(), Some(b"ab".to_vec()));
    }
}
