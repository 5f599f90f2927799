//! Refusals of names that an operation does not have or lacks, with their sentences.

use super::*;

#[test]
fn an_unknown_parameter_is_named_with_the_nearest() {
    for (method, text, expected) in [
        ("GET", "_lenght_=2", "a get has no parameter \"_lenght_\"; did you mean _length_?"),
        ("GET", "_autoDelete_=false", "a get has no parameter \"_autoDelete_\"; did you mean _auto_delete_?"),
        ("GET", "_timeout=5s", "a get has no parameter \"_timeout\"; did you mean _timeout_?"),
        ("GET", "_wacth_=true", "a get has no parameter \"_wacth_\"; did you mean _watch_?"),
        ("GET", "_watch_=true&_widow_=3", "a watch has no parameter \"_widow_\"; did you mean _window_?"),
        ("POST", "_eso_=true", "a put has no parameter \"_eso_\"; did you mean _eos_?"),
        (
            "POST",
            "_prio_=1",
            "a put has no parameter \"_prio_\"; accepted is _priority_, _eos_, and tags without _ at the \
             beginning of their names",
        ),
        ("PUT", "_indexes_=3&_negtive_=true", "a commit has no parameter \"_negtive_\"; did you mean _negative_?"),
        ("PUT", "_index_=3", "a commit has no parameter \"_index_\"; did you mean _indexes_?"),
        ("DELETE", "_trunk_=true&_index_=3", "a delete has no parameter \"_trunk_\"; did you mean _trunc_?"),
        (
            "GET",
            "_=1",
            "a get has no parameter \"_\"; accepted is _index_, _length_, _timeout_, _auto_delete_, _raw_, \
             _attrs_, _count_, _search_, _watch_, and tags without _ at the beginning of their names",
        ),
    ] {
        assert_eq!(sentence(method, text), expected, "{text}");
    }
    let long = format!("_{}=1", "é".repeat(3000));
    assert!(sentence("GET", &long).starts_with("a get has no parameter \"_\\xc3"));
}

#[test]
fn a_parameter_of_another_operation_is_refused() {
    for (method, text, expected) in [
        ("GET", "_window_=5", "a get has no parameter \"_window_\"; accepted is _index_, "),
        ("GET", "_watch_=true&_timeout_=5s", "a watch has no parameter \"_timeout_\"; accepted is _watch_, "),
        (
            "GET",
            "_attrs_=true&_length_=1",
            "a request for attributes has no parameter \"_length_\"; accepted is _attrs_",
        ),
        ("GET", "_count_=true&_length_=1", "a count has no parameter \"_length_\"; accepted is _count_, _priority_"),
        ("GET", "_search_=true&_index_=1&_raw_=true", "a search has no parameter \"_raw_\"; accepted is _search_, "),
        ("POST", "_force_=true", "a put has no parameter \"_force_\"; accepted is _priority_, _eos_"),
        ("POST", "_eos_=true&_priority_=1", "an end has no parameter \"_priority_\"; accepted is _eos_, _force_"),
        ("PUT", "_indexes_=1&_trunc_=true", "a commit has no parameter \"_trunc_\"; accepted is _indexes_, "),
        (
            "DELETE",
            "_trunc_=true&_index_=2&_force_=1",
            "a truncation has no parameter \"_force_\"; accepted is _trunc_",
        ),
        ("DELETE", "_indexes_=1&_negative_=true", "a delete has no parameter \"_negative_\"; accepted is _indexes_"),
    ] {
        let sentence = sentence(method, text);
        assert!(sentence.starts_with(expected), "{sentence}");
    }
}

#[test]
fn operations_without_tags_refuse_them() {
    for (method, text, request, accepted) in [
        ("GET", "_attrs_=true", "a request for attributes", "_attrs_, _count_, _search_, _watch_"),
        ("POST", "_eos_=true", "an end", "_eos_, _force_"),
        ("PUT", "_indexes_=1", "a commit", "_indexes_, _negative_, _extend_"),
        ("DELETE", "_indexes_=1", "a delete", "_indexes_, _trunc_"),
        ("DELETE", "_trunc_=true&_index_=1", "a truncation", "_trunc_, _index_"),
    ] {
        let expected = format!("\"t\" is a tag, and {request} has no tags; accepted is {accepted}");
        assert_eq!(sentence(method, &format!("{text}&t=v")), expected);
    }
}

#[test]
fn a_parameter_that_is_needed_is_named() {
    for (method, text, expected) in [
        ("PUT", "", "a commit needs _indexes_"),
        ("PUT", "_negative_=true", "a commit needs _indexes_"),
        ("PUT", "_extend_=true", "a commit needs _indexes_"),
        ("DELETE", "", "a delete needs _indexes_, or _trunc_=true and _index_"),
        ("DELETE", "_trunc_=false", "a delete needs _indexes_, or _trunc_=true and _index_"),
        ("DELETE", "_trunc_=true", "a truncation needs _index_"),
        ("GET", "_search_=true", "a search needs _index_, or a tag such as requestId"),
    ] {
        assert_eq!(sentence(method, text), expected, "{text}");
    }
}

#[test]
fn two_operations_in_one_request_are_refused() {
    for (method, text, expected) in [
        ("GET", "_attrs_=true&_watch_=true", "_watch_ and _attrs_ are both true; accepted is one of them"),
        ("GET", "_search_=1&_count_=1&_index_=1", "_count_ and _search_ are both true; accepted is one of them"),
        (
            "PUT",
            "_indexes_=1&_extend_=1&_negative_=1",
            "_negative_ and _extend_ are both true; accepted is one of them",
        ),
        (
            "GET",
            "_length_=2",
            "_length_ is 2, and raw data are those of one item; accepted is _length_=1, or _raw_=false for a list",
        ),
    ] {
        assert_eq!(sentence(method, text), expected, "{text}");
    }
    assert!(query("GET", "_length_=2&_raw_=true").is_err());
    // The index of a truncation beside indexes would make it unclear which items are to go.
    assert!(
        sentence("DELETE", "_trunc_=true&_index_=2&_indexes_=1")
            .starts_with("a truncation has no parameter \"_indexes_\"")
    );
    assert!(sentence("DELETE", "_index_=2&_indexes_=1").starts_with("a delete has no parameter \"_index_\""));
}
