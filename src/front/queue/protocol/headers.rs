//! The headers of the protocol, and the consumer that they name.

use http::HeaderMap;

use super::refused::Refused;
use crate::queue::Consumer;
use crate::quoted::Quoted;

/// The name of the consumer within its group. Go clients read the names of this header, of [`GROUP`] and of
/// [`PRIORITY`] from the attributes of the queue.
pub(crate) const USER: &str = "X-EAS-QueueService-Redis-Uid";
/// The group of the consumer.
pub(crate) const GROUP: &str = "X-EAS-QueueService-Redis-Gid";
/// The priority of a put.
pub(crate) const PRIORITY: &str = "X-EAS-QueueService-Priority";
/// The id that the answer to a put has. Java clients refuse an answer without it.
pub(crate) const REQUEST_ID: &str = "X-Eas-Queueservice-Request-Id";
/// The idempotency key of a put. No client of EAS sends it.
pub(crate) const IDEMPOTENCY_KEY: &str = "X-Bulkhead-Idempotency-Key";

/// The user of a request without [`USER`].
pub(crate) const DEFAULT_USER: &str = "anonymous";
/// The group of a request without [`GROUP`]. The clients of EAS have the same default.
pub(crate) const DEFAULT_GROUP: &str = "eas";
/// Most characters of a user or a group.
const LONGEST_ID: usize = 128;

/// Reads the name of the consumer, `group.user`.
///
/// # Errors
/// Refuses a user or group that is given twice, is empty, is longer than 128 characters, or has others than visible
/// ASCII characters, and the group of the host itself.
pub(crate) fn consumer(headers: &HeaderMap) -> Result<Consumer, Refused> {
    let group = id(headers, GROUP)?.unwrap_or(DEFAULT_GROUP);
    let user = id(headers, USER)?.unwrap_or(DEFAULT_USER);
    if group == Consumer::GROUP_OF_THE_HOST {
        return Err(Refused::BadRequest(format!("the header {GROUP} is {group:?}, the group of the host itself")));
    }
    Ok(Consumer::new(format!("{group}.{user}")))
}

fn id<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refused> {
    let Some(value) = only_value(headers, name)? else { return Ok(None) };
    let is_visible = value.iter().all(u8::is_ascii_graphic);
    let is_id = is_visible && (1..=LONGEST_ID).contains(&value.len());
    match std::str::from_utf8(value) {
        Ok(id) if is_id => Ok(Some(id)),
        _ => Err(Refused::BadRequest(format!(
            "the header {name} is {}; accepted are 1 to {LONGEST_ID} visible ASCII characters",
            Quoted(value)
        ))),
    }
}

/// The value of a header that is accepted at most once.
///
/// # Errors
/// Says how often the header is given.
pub(crate) fn only_value<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.count()) {
        (value, 0) => Ok(value.map(http::HeaderValue::as_bytes)),
        (_, more) => {
            Err(Refused::BadRequest(format!("the header {name} is given {} times; accepted is once", more + 1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn named(pairs: &[(&str, &[u8])]) -> Result<String, String> {
        let header = |name: &str| name.parse::<HeaderName>().unwrap();
        let headers = pairs.iter().map(|(name, value)| (header(name), HeaderValue::from_bytes(value).unwrap())).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        );
        consumer(&headers).map(|consumer| consumer.to_string()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn a_consumer_is_group_and_user() {
        let longest = "x".repeat(128);
        for (pairs, expected) in [
            (&[][..], "eas.anonymous"),
            (&[(USER, &b"uid-1"[..])], "eas.uid-1"),
            (&[(GROUP, b"g1")], "g1.anonymous"),
            // As Go spells the names, and as HTTP/2 has them.
            (&[("X-Eas-Queueservice-Redis-Gid", b"g1"), ("x-eas-queueservice-redis-uid", b"u1")], "g1.u1"),
            (&[(USER, b"!~,:")], "eas.!~,:"),
            (&[(USER, longest.as_bytes())], &format!("eas.{longest}")),
        ] {
            assert_eq!(named(pairs).unwrap(), expected);
        }
    }

    #[test]
    fn other_names_are_refused() {
        let too_long = "x".repeat(129);
        for value in [&b""[..], b"a b", b"a\tb", b"\xc3\xa9", b"\xff", too_long.as_bytes()] {
            for header in [USER, GROUP] {
                let refused = named(&[(header, value)]).unwrap_err();
                let expected =
                    format!("the header {header} is {}; accepted are 1 to 128 visible ASCII characters", Quoted(value));
                assert_eq!(refused, expected);
            }
        }
        let twice = named(&[(USER, b"a"), (USER, b"a")]).unwrap_err();
        assert_eq!(twice, "the header X-EAS-QueueService-Redis-Uid is given 2 times; accepted is once");
    }
}
