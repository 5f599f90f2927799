//! Conditional requests (RFC 9110 §13): the tag of a service, and what a request says about it.
//!
//! A service's tag is its revision, which every change of it gives a new one, deleting and creating it again included.
//! What its instances are doing at the moment has no part in it.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Reply;
use super::problem::Problem;
use crate::registry::Condition;

/// Tags that one request may name; who edits something knows one.
const MOST_TAGS: usize = 16;

const EXPECTED: &str = "`*`, or tags as `ETag` gives them, such as \"42\"";

/// What `If-Match` asks for.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Condition, Problem> {
    // A weak tag matches nothing here, and neither does one that is not ours: both are tags all the same.
    condition(headers, &IF_MATCH, Tag::strong)
}

/// The tags in `If-None-Match`, with which a change is not made. A weak tag matches here as well (RFC 9110 §13.1.2).
pub(super) fn if_none_match(headers: &HeaderMap) -> Result<Condition, Problem> {
    condition(headers, &IF_NONE_MATCH, |tag| tag.revision)
}

fn condition(
    headers: &HeaderMap,
    name: &HeaderName,
    revision: impl Fn(Tag) -> Option<u64>,
) -> Result<Condition, Problem> {
    Ok(match tags(headers, name)? {
        None => Condition::None,
        Some(Tags::Any) => Condition::Exists,
        Some(Tags::These(tags)) => Condition::IsAt(tags.into_iter().filter_map(revision).collect()),
    })
}

/// Whether `If-None-Match` says that the client knows this revision already.
pub(super) fn is_known(headers: &HeaderMap, revision: u64) -> Result<bool, Problem> {
    Ok(match tags(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::These(tags)) => tags.iter().any(|tag| tag.revision == Some(revision)),
    })
}

/// Puts the tag on an answer.
pub(super) fn tagged(mut reply: Reply, revision: u64) -> Reply {
    reply.headers_mut().insert(ETAG, tag_header(revision));
    reply
}

pub(super) fn tag_header(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&tag(revision)).expect("digits and quotes")
}

pub(super) fn tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

enum Tags {
    Any,
    These(Vec<Tag>),
}

struct Tag {
    weak: bool,
    /// None for a tag that is not one of ours.
    revision: Option<u64>,
}

impl Tag {
    fn strong(self) -> Option<u64> {
        self.revision.filter(|_| !self.weak)
    }

    /// Takes one tag from the beginning of a list (RFC 9110 §8.8.3).
    fn take(text: &str) -> Option<(Self, &str)> {
        let (weak, text) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
        let (opaque, rest) = text.strip_prefix('"')?.split_once('"')?;
        let fits = opaque.bytes().all(|byte| byte.is_ascii_graphic() || byte >= 0x80);
        // Digits alone: `+42` and `042` are tags that nobody was given.
        let revision = opaque.parse().ok().filter(|revision: &u64| revision.to_string() == opaque);
        fits.then_some((Self { weak, revision }, rest))
    }
}

/// The tags of all lines of a header; `None` where there is none.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let wrong = || Problem::bad_request(format!("{name} is not understood; accepted are {EXPECTED}"));
    let mut tags = Vec::new();
    for line in lines {
        let mut rest = line.to_str().map_err(|_| wrong())?.trim_matches([' ', '\t']);
        if rest == "*" && headers.get_all(name).iter().count() == 1 {
            return Ok(Some(Tags::Any));
        }
        loop {
            let (tag, after) = Tag::take(rest).ok_or_else(wrong)?;
            tags.push(tag);
            if tags.len() > MOST_TAGS {
                return Err(wrong());
            }
            match after.trim_start_matches([' ', '\t']) {
                "" => break,
                after => rest = after.strip_prefix(',').ok_or_else(wrong)?.trim_start_matches([' ', '\t']),
            }
        }
    }
    Ok(Some(Tags::These(tags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&str]) -> Result<Condition, Problem> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, line.parse().unwrap());
        }
        if_match(&headers)
    }

    #[test]
    fn what_must_match_is_read_as_http_has_it() {
        for (lines, expected) in [
            (&[][..], Condition::None),
            (&["*"], Condition::Exists),
            (&["\"42\""], Condition::IsAt(vec![42])),
            (&["\"1\" ,\t\"2\"", "\"3\""], Condition::IsAt(vec![1, 2, 3])),
            // These are tags, and never those of a service.
            (&["W/\"42\"", "\"042\"", "\"+42\"", "\"\"", "\"a,b\""], Condition::IsAt(vec![])),
        ] {
            assert_eq!(asked(lines).unwrap(), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_must_not_match_is_read_alike_with_weak_tags() {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("W/\"42\", \"7\", \"x\""))]);
        assert_eq!(if_none_match(&headers).unwrap(), Condition::IsAt(vec![42, 7]));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused_and_told_what_would_be() {
        let many = ["\"1\""; MOST_TAGS + 1].join(",");
        for line in
            ["", "42", "\"42", "42\"", "\"1\" \"2\"", "\"1\",", ",\"1\"", "*, \"1\"", "w/\"1\"", "\"a b\"", &many]
        {
            let problem = asked(&[line]).unwrap_err();
            assert!(problem.detail().contains("accepted are `*`"), "{line:?}");
        }
        assert!(asked(&["*", "*"]).is_err());
    }
}
