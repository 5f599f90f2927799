//! Conditional requests (RFC 9110 §13): the tag of a service, and the conditions of a request.
//!
//! A service's tag is its revision. Every change gives the service a new revision, and so does deleting and creating it
//! again. The present state of its instances does not affect the tag.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Reply;
use super::problem::Problem;
use crate::registry::Condition;

/// Most tags in one request. A client that edits a service knows only one.
const MOST_TAGS: usize = 16;

const EXPECTED: &str = "`*`, or tags as `ETag` gives them, such as \"42\"";

/// The condition in `If-Match`.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Condition, Problem> {
    // A weak tag and a tag of another form are valid, but match nothing.
    condition(headers, &IF_MATCH, Tag::strong)
}

/// The condition in `If-None-Match`, under which a change is not made. A weak tag matches here as well (RFC 9110
/// §13.1.2).
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

/// True if `If-None-Match` names this revision, so that the client knows it already.
pub(super) fn is_known(headers: &HeaderMap, revision: u64) -> Result<bool, Problem> {
    Ok(match tags(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::These(tags)) => tags.iter().any(|tag| tag.revision == Some(revision)),
    })
}

/// Adds the tag to an answer.
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
    /// `None` for a tag that cannot be that of a service.
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
        // Only digits as the host writes them: `+42` and `042` are tags of no service.
        let revision = opaque.parse().ok().filter(|revision: &u64| revision.to_string() == opaque);
        fits.then_some((Self { weak, revision }, rest))
    }
}

/// The tags of all lines of a header; `None` if the header is absent.
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
            // These are valid tags, but not of any service.
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
