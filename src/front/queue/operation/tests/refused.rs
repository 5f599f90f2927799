//! Every refusal, with its sentence.

use super::*;

fn sentence(method: &str, text: &str) -> String {
    match query(method, text) {
        Err(Refused::BadRequest(sentence)) => sentence,
        other => panic!("{method} {text}: {other:?}"),
    }
}

const WHOLE_FROM_1: &str = "a whole number from 1 to 18446744073709551615";

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_the_right_ones() {
    let start = "a whole number from 0 to 18446744073709551615, or -1 for the newest item";
    let flag = "true, false, 1 or 0";
    let priority = "a whole number from 0 to 100";
    for (method, before, name, values, accepted) in [
        ("GET", "", "_index_", &["-2", "x", "", "1.0", "18446744073709551616", "+1", "--1"][..], start),
        ("GET", "_watch_=true&", "_index_", &["-2", "x", ""], start),
        ("GET", "_raw_=false&", "_length_", &["0", "1001", "-1", "x", ""], "a whole number from 1 to 1000"),
        ("GET", "_watch_=true&", "_window_", &["0", "1001", "-1", "x", ""], "a whole number from 1 to 1000"),
        (
            "GET",
            "_watch_=true&_auto_commit_=true&",
            "_window_",
            &["-1", "18446744073709551616", "x"],
            "a whole number from 0 to 18446744073709551615",
        ),
        ("GET", "", "_raw_", &["yes", "True", "", "2", "-1"], flag),
        ("GET", "", "_auto_delete_", &["yes", ""], flag),
        ("GET", "_watch_=true&", "_index_only_", &["yes", ""], flag),
        ("GET", "_watch_=true&", "_auto_commit_", &["yes", ""], flag),
        ("GET", "", "_watch_", &["yes", ""], flag),
        ("GET", "", "_attrs_", &["yes", ""], flag),
        ("GET", "", "_count_", &["yes", ""], flag),
        ("GET", "", "_search_", &["yes", ""], flag),
        ("GET", "_search_=true&", "_index_", &["0", "-1", "x", ""], WHOLE_FROM_1),
        ("GET", "_count_=true&", "_priority_", &["-1", "101", "x", ""], priority),
        ("POST", "", "_priority_", &["-1", "101", "256", "x", ""], priority),
        ("POST", "", "_eos_", &["yes", ""], flag),
        ("POST", "_eos_=true&", "_force_", &["yes", ""], flag),
        ("PUT", "_indexes_=1&", "_negative_", &["yes", ""], flag),
        ("PUT", "_indexes_=1&", "_extend_", &["yes", ""], flag),
        ("DELETE", "", "_trunc_", &["yes", ""], flag),
        (
            "DELETE",
            "_trunc_=true&",
            "_index_",
            &["-1", "x", "", "18446744073709551616"],
            "a whole number from 0 to 18446744073709551615",
        ),
    ] {
        for value in values {
            let encoded = value.replace('+', "%2B");
            let expected = format!("{name} is \"{value}\"; accepted is {accepted}");
            assert_eq!(sentence(method, &format!("{before}{name}={encoded}")), expected);
        }
    }
    assert_eq!(
        sentence("GET", "_timeout_=soon"),
        "_timeout_: \"soon\" is not a duration; accepted is a duration of 0 or more such as 5s, 1m30s, 500ms or 2h, or a \
         number of seconds such as 2.5"
    );
    assert!(sentence("GET", "_timeout_=-1s").starts_with("_timeout_: \"-1s\" is negative; "));
    assert!(sentence("GET", "_timeout_=").starts_with("_timeout_: the duration is empty; "));
}

#[test]
fn the_priority_in_the_header_is_checked_if_the_query_has_none() {
    for value in ["-1", "101", "256", "high", "", "1.0", "+1"] {
        let refused = read("POST /api/predict/qin", Some((PRIORITY, value))).unwrap_err().to_string();
        let expected = "; accepted is a whole number from 0 to 100";
        assert_eq!(refused, format!("the header X-EAS-QueueService-Priority is \"{value}\"{expected}"));
    }
}

#[test]
fn indexes_are_checked_one_by_one() {
    for method in ["PUT", "DELETE"] {
        for (text, wrong) in [("", ""), ("0", "0"), ("1,,2", ""), ("1,x,y", "x"), ("1,-2", "-2"), ("1,+2", " 2")] {
            let expected =
                format!("_indexes_ has \"{wrong}\"; accepted are whole numbers from 1 to 18446744073709551615");
            assert_eq!(sentence(method, &format!("_indexes_={text}")), format!("{expected}, with commas between them"));
        }
        let too_large = "_indexes_ has \"18446744073709551616\"; ";
        assert!(sentence(method, "_indexes_=18446744073709551616").starts_with(too_large));
        let too_many = format!("_indexes_={}", vec!["1"; 1001].join(","));
        assert_eq!(sentence(method, &too_many), "_indexes_ has 1001 indexes; accepted are at most 1000");
    }
}

#[test]
fn tags_have_limits() {
    let many: Vec<String> = (0..33).map(|i| format!("t{i}=v")).collect();
    let name = "n".repeat(65);
    for (text, expected) in [
        (many.join("&"), "there are 33 tags; accepted are at most 32".to_owned()),
        (
            format!("{name}=v"),
            format!("the tag \"{}…\" (65 bytes) has a name of 65 bytes; accepted are 1 to 64", &name[1..]),
        ),
        ("=v".to_owned(), "the tag \"\" has a name of 0 bytes; accepted are 1 to 64".to_owned()),
        (
            format!("t={}", "v".repeat(257)),
            "the tag \"t\" has a value of 257 bytes; accepted are at most 256".to_owned(),
        ),
        ("t=1&t=2".to_owned(), "\"t\" is given as \"1\" and as \"2\"; accepted is one value".to_owned()),
        (
            "t=%ff".to_owned(),
            "\"t=%ff\" is not percent-encoded UTF-8; accepted are + for a space, and % with two \
             hexadecimal digits for a byte"
                .to_owned(),
        ),
    ] {
        for (method, operation) in [("POST", ""), ("GET", ""), ("GET", "_count_=true&"), ("GET", "_watch_=true&")] {
            assert_eq!(sentence(method, &format!("{operation}{text}")), expected);
        }
    }
}

#[test]
fn names_and_values_are_counted_before_they_are_compared() {
    let repeated = |times: usize| vec!["t=v"; times].join("&");
    assert!(query("POST", &repeated(100)).is_ok());
    let expected = "there are 101 parameters and tags; accepted are at most 100";
    assert_eq!(sentence("POST", &repeated(101)), expected);
}

#[test]
fn a_parameter_with_two_values_is_refused() {
    let expected = "\"_index_\" is given as \"1\" and as \"2\"; accepted is one value";
    assert_eq!(sentence("GET", "_index_=1&_index_=2"), expected);
    assert_eq!(query("GET", "_index_=0&_index_=0"), Ok(default_get()));
}

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
            "a put has no parameter \"_prio_\"; accepted is _priority_, _eos_, and tags without _ at the beginning of their names",
        ),
        ("PUT", "_indexes_=3&_negtive_=true", "a commit has no parameter \"_negtive_\"; did you mean _negative_?"),
        ("PUT", "_index_=3", "a commit has no parameter \"_index_\"; did you mean _indexes_?"),
        ("DELETE", "_trunk_=true&_index_=3", "a delete has no parameter \"_trunk_\"; did you mean _trunc_?"),
        (
            "GET",
            "_=1",
            "a get has no parameter \"_\"; accepted is _index_, _length_, _timeout_, _auto_delete_, _raw_, _attrs_, _count_, _search_, _watch_, and tags without _ at the beginning of their names",
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
        ("GET", "_search_=true&_index_=1", "a search", "_search_, _index_, _attrs_, _count_, _watch_"),
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
        ("GET", "_search_=true", "a search needs _index_"),
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

#[test]
fn methods_are_refused_with_the_accepted_ones() {
    for method in ["HEAD", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PURGE"] {
        let refused = Refused::MethodNotAllowed { allow: "GET, POST, PUT, DELETE" };
        assert_eq!(query(method, "_index_=%zz"), Err(refused), "{method}");
    }
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let refused = read(&format!("{method} /api/predict/qin/sub/path?_indexes_=1"), None);
        assert_eq!(refused, Err(Refused::MethodNotAllowed { allow: "POST" }), "{method}");
    }
    assert_eq!(
        Refused::MethodNotAllowed { allow: "POST" }.to_string(),
        "the method is not accepted here; accepted is POST"
    );
    assert_eq!(
        read("POST /api/predict/qin/sub?_eos_=true", None).unwrap_err().to_string(),
        "_eos_ is true, and there is a path after the service's name; accepted is one of them"
    );
}
