//! The `Date` header of answers, in the format of RFC 9110 §5.6.7.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;

/// Passes the current date to `use_it`. Each thread formats the date once a second and keeps it.
pub(in crate::front) fn with<T>(use_it: impl FnOnce(&HeaderValue) -> T) -> T {
    thread_local! {
        static KEPT: RefCell<(u64, HeaderValue)> = const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    KEPT.with_borrow_mut(|(kept, text)| {
        if *kept != second
            && let Ok(date) = HeaderValue::from_maybe_shared(Bytes::from(httpdate::fmt_http_date(now)))
        {
            (*kept, *text) = (second, date);
        }
        use_it(text)
    })
}

pub(in crate::front) fn now() -> HeaderValue {
    with(HeaderValue::clone)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_date_is_that_of_the_clock() {
        let date = httpdate::parse_http_date(now().to_str().unwrap()).unwrap();
        let apart = SystemTime::now().duration_since(date).unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_secs(5), "{date:?}");
    }
}
