//! Refusals of values and of methods, with their sentences.

use super::*;

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
        ("GET", "_watch_=true&", "_progress_", &["yes", ""], flag),
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
        "_timeout_: \"soon\" is not a duration; accepted is a duration of 0 or more such as 5s, 1m30s, 500ms or 2h, or \
         a number of seconds such as 2.5"
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
        (
            "a%00b=c".to_owned(),
            "the tag \"a\\x00b\" has a zero byte in its name; accepted is any other text".to_owned(),
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
