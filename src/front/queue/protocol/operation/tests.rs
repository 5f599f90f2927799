//! The requests of the official clients, and the refusals.

use super::*;

mod names;
mod recorded;
mod refused;

/// Reads `GET /api/predict/qin/sink?…` with one header or none.
fn read(request: &str, header: Option<(&str, &str)>) -> Result<Operation, Refused> {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = path.strip_prefix("/api/predict/").unwrap();
    let at = match path.split_once('/') {
        None => Path::Input(""),
        Some((_, "sink")) => Path::Sink,
        Some((service, _)) => Path::Input(&path[service.len()..]),
    };
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    Operation::of(&method.parse().unwrap(), query, &headers, at)
}

/// Reads a query of a request to the input queue.
fn query(method: &str, query: &str) -> Result<Operation, Refused> {
    read(&format!("{method} /api/predict/qin?{query}"), None)
}

/// The sentence with which a request to the input queue is refused.
fn sentence(method: &str, text: &str) -> String {
    match query(method, text) {
        Err(Refused::BadRequest(sentence)) => sentence,
        other => panic!("{method} {text}: {other:?}"),
    }
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().copied().collect()
}

/// A get as its defaults are.
fn default_get() -> Operation {
    Operation::Get {
        index: Start::From(0),
        length: 1,
        timeout: Duration::ZERO,
        auto_delete: true,
        raw: true,
        tags: Tags::default(),
    }
}

/// A get without any parameter: a browser and a probe send it.
fn peek() -> Operation {
    match default_get() {
        Operation::Get { index, length, timeout, raw, tags, .. } => {
            Operation::Get { index, length, timeout, auto_delete: false, raw, tags }
        }
        other => other,
    }
}

#[test]
fn a_get_without_parameters_has_defaults() {
    for target in
        ["GET /api/predict/qin", "GET /api/predict/qin/", "GET /api/predict/qin/sink?", "GET /api/predict/qin?&"]
    {
        assert_eq!(read(target, None), Ok(peek()), "{target}");
    }
    // An operation that is false is not named.
    assert_eq!(query("GET", "_watch_=false&_attrs_=0&_count_=false&_search_=0"), Ok(default_get()));
}

#[test]
fn every_parameter_of_a_get_counts() {
    let get = |text: &str| match query("GET", text) {
        Ok(Operation::Get { index, length, timeout, auto_delete, raw, tags }) => {
            (index, length, timeout, auto_delete, raw, tags)
        }
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(get("_index_=-1").0, Start::Newest);
    assert_eq!(get("_index_=0").0, Start::From(0));
    assert_eq!(get("_index_=18446744073709551615").0, Start::From(u64::MAX));
    assert_eq!(get("_length_=1000&_raw_=false").1, 1000);
    assert_eq!(get("_timeout_=1.5s").2, Duration::from_millis(1500));
    assert_eq!(get("_timeout_=5").2, Duration::from_secs(5));
    assert_eq!(get("_timeout_=10m").2, LONGEST_WAIT);
    assert_eq!(get("_timeout_=10m1ns").2, LONGEST_WAIT);
    assert_eq!(get("_timeout_=2000h").2, LONGEST_WAIT);
    for (text, expected) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        assert_eq!(get(&format!("_auto_delete_={text}")).3, expected);
        assert_eq!(get(&format!("_raw_={text}")).4, expected);
    }
    assert_eq!(get("b=2&a=1&a=1&b=2").5, tags(&[("a", "1"), ("b", "2")]));
    assert_eq!(get("requestId=x%2By+z").5, tags(&[("requestId", "x+y z")]));
    assert_eq!(get("a_=&raw=false").5, tags(&[("a_", ""), ("raw", "false")]));
}

#[test]
fn every_parameter_of_a_watch_counts() {
    let watch = |text: &str| match query("GET", &format!("_watch_=true&{text}")) {
        Ok(Operation::Watch { index, window, index_only, auto_commit, progress: false, tags }) => {
            (index, window, index_only, auto_commit, tags)
        }
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(watch(""), (Start::From(0), 5, false, false, Tags::default()));
    assert_eq!(watch("_index_=-1").0, Start::Newest);
    assert_eq!((watch("_window_=1").1, watch("_window_=1000").1), (1, 1000));
    assert!(watch("_index_only_=1").2);
    assert!(watch("_auto_commit_=1").3);
    assert_eq!(watch("z=1").4, tags(&[("z", "1")]));
    // The window has no meaning with automatic commits, so any is accepted.
    assert_eq!(watch("_auto_commit_=true&_window_=0").1, 1);
    assert_eq!(watch("_auto_commit_=true&_window_=18446744073709551615").1, 1000);
}

#[test]
fn progress_is_for_those_who_watch_a_sink() {
    let progress = |text: &str| match read(&format!("GET /api/predict/qin/sink?_watch_=true{text}"), None) {
        Ok(Operation::Watch { progress, .. }) => progress,
        other => panic!("{text}: {other:?}"),
    };
    assert!(
        !progress("") && !progress("&_progress_=false") && progress("&_progress_=true") && progress("&_progress_=1")
    );
    assert_eq!(
        sentence("GET", "_watch_=true&_progress_=true"),
        "_progress_ is true, and this is no sink; progress is sent to those who watch a sink"
    );
    assert!(query("GET", "_watch_=true&_progress_=false").is_ok());
}

#[test]
fn a_search_is_for_an_index_or_for_tags() {
    let item = |text: &str| match query("GET", &format!("_search_=true&{text}")) {
        Ok(Operation::Search { item }) => item,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(item("_index_=7"), Sought::Index(7));
    assert_eq!(item("requestId=r-7"), Sought::Tagged(tags(&[("requestId", "r-7")])));
    assert_eq!(item("user=ada&requestId=r-7"), Sought::Tagged(tags(&[("user", "ada"), ("requestId", "r-7")])));
    assert_eq!(
        sentence("GET", "_search_=true&_index_=7&requestId=r-7"),
        "a search has _index_ and tags; accepted is one of them"
    );
}

#[test]
fn the_priority_of_a_put_comes_from_the_query_or_else_from_the_header() {
    let priority = |query: &str, header| match read(&format!("POST /api/predict/qin{query}"), header) {
        Ok(Operation::Put { priority, .. }) => priority,
        other => panic!("{query}: {other:?}"),
    };
    assert_eq!(priority("", None), 0);
    assert_eq!(priority("?_priority_=0", None), 0);
    assert_eq!(priority("?_priority_=100", None), 100);
    assert_eq!(priority("", Some((PRIORITY, "100"))), 100);
    assert_eq!(priority("", Some(("x-eas-queueservice-priority", "007"))), 7);
    assert_eq!(priority("?_priority_=2", Some((PRIORITY, "1"))), 2);
    assert_eq!(priority("?_priority_=2", Some((PRIORITY, "high"))), 2);
}

#[test]
fn a_put_has_tags_at_the_limits() {
    let many: Vec<String> = (0..32).map(|i| format!("t{i}=v")).collect();
    let longest = format!("{}={}", "n".repeat(64), "v".repeat(256));
    for (text, count) in [(many.join("&"), 32), (many.join("&") + "&t0=v", 32), (longest, 1)] {
        let Ok(Operation::Put { tags, .. }) = query("POST", &text) else { panic!("{text}") };
        assert_eq!(tags.iter().count(), count);
    }
}

#[test]
fn indexes_are_numbers_each_once() {
    let many: Vec<String> = (1..=1000).map(|i| i.to_string()).collect();
    for (text, expected) in [
        ("3", vec![3]),
        ("1,2", vec![1, 2]),
        ("1%2C2", vec![1, 2]),
        ("9,1,9,1,5", vec![9, 1, 5]),
        ("18446744073709551615", vec![u64::MAX]),
        (&many.join(","), (1..=1000).collect()),
    ] {
        let indexes = || expected.clone();
        let text = format!("_indexes_={text}");
        assert_eq!(query("PUT", &text), Ok(Operation::Commit { indexes: indexes() }), "{text}");
        assert_eq!(query("DELETE", &text), Ok(Operation::Delete { indexes: indexes() }), "{text}");
        let negative = query("PUT", &format!("{text}&_negative_=true&_extend_=false"));
        assert_eq!(negative, Ok(Operation::NegativeCommit { indexes: indexes() }), "{text}");
        let extend = query("PUT", &format!("{text}&_extend_=true&_negative_=0"));
        assert_eq!(extend, Ok(Operation::Extend { indexes: indexes() }), "{text}");
    }
}

#[test]
fn the_other_operations_have_their_numbers() {
    for (text, expected) in [
        ("_count_=true", Operation::Count { priority: None, tags: Tags::default() }),
        ("_count_=1&_priority_=0", Operation::Count { priority: Some(0), tags: Tags::default() }),
        ("_count_=true&_priority_=100&t=v", Operation::Count { priority: Some(100), tags: tags(&[("t", "v")]) }),
        ("_search_=true&_index_=1", Operation::Search { item: Sought::Index(1) }),
        ("_search_=1&_index_=18446744073709551615", Operation::Search { item: Sought::Index(u64::MAX) }),
    ] {
        assert_eq!(query("GET", text), Ok(expected), "{text}");
    }
    assert_eq!(query("DELETE", "_trunc_=1&_index_=0"), Ok(Operation::Truncate { before: 0 }));
    let all = query("DELETE", "_index_=18446744073709551615&_trunc_=true");
    assert_eq!(all, Ok(Operation::Truncate { before: u64::MAX }));
    assert_eq!(query("DELETE", "_indexes_=1&_trunc_=false"), Ok(Operation::Delete { indexes: vec![1] }));
    for (text, force) in [("_eos_=1", false), ("_eos_=true&_force_=0", false), ("_force_=1&_eos_=1", true)] {
        assert_eq!(query("POST", text), Ok(Operation::End { force }), "{text}");
    }
    assert_eq!(query("POST", "_eos_=false"), Ok(Operation::Put { tags: Tags::default(), priority: 0 }));
}
