use super::*;

fn mistakes_of(text: &str) -> String {
    GatewaySpec::parse(text).unwrap_err().to_string()
}

#[test]
fn a_short_file_is_enough() {
    let spec = GatewaySpec::parse(r#"{"clusters": {"ml": {"upstreams": ["127.0.0.1:8080"]}}, "routes": {"*": "ml"}}"#);
    let spec = spec.unwrap();
    let [cluster] = spec.clusters() else { panic!("{spec:?}") };
    assert_eq!(cluster.upstreams[0].address.as_str(), "127.0.0.1:8080");
    assert_eq!((cluster.request_timeout, cluster.keep_alive), (Duration::from_secs(15), Duration::from_secs(30)));
    assert_eq!(cluster.health_check.as_ref().unwrap().path, None);
    assert_eq!(cluster.ejection.unwrap().consecutive_failures.get(), 5);
    assert_eq!((spec.routes()[0].policy, spec.routes()[0].half_close), (GatewayPolicy::default(), HalfClose::Leave));
}

#[test]
fn every_key_has_its_effect() {
    let text = r#"{
        "clusters": {
            "ml": {
                "upstreams": ["ml-1:80", {"address": "[::1]:8080", "health_address": "10.0.0.1:8081"}],
                "connect_timeout_ms": 1, "request_timeout_ms": "2", "idle_timeout_ms": 3, "keep_alive_ms": 0,
                "max_connections": 5, "max_pending": 0,
                "health_check": {"path": "/readyz", "interval_ms": 7, "timeout_ms": 8,
                    "unhealthy_threshold": 9, "healthy_threshold": 10},
                "ejection.consecutive_failures": 11,
                "ejection": {"time_ms": 12, "max_time_ms": 13, "max_share_percent": 14}
            },
            "bare": {"upstreams": ["a:1"], "health_check": {"interval_ms": 0}, "ejection": {"consecutive_failures": 0}}
        },
        "routes": {"a": "ml", "g.b": {"cluster": "bare", "rate_limit": 15, "concurrency_limit": 16, "half_close": "answer"}}
    }"#;
    let spec = GatewaySpec::parse(text).unwrap();
    let [ml, bare] = spec.clusters() else { panic!("{spec:?}") };
    let ms = Duration::from_millis;
    assert_eq!((ml.connect_timeout, ml.request_timeout, ml.idle_timeout), (ms(1), ms(2), ms(3)));
    assert_eq!((ml.keep_alive, ml.max_connections, ml.max_pending), (ms(0), 5, 0));
    assert_eq!(ml.upstreams[1].health_address.as_ref().unwrap().as_str(), "10.0.0.1:8081");
    let check = ml.health_check.as_ref().unwrap();
    assert_eq!((check.path.as_ref().unwrap().as_str(), check.interval, check.timeout), ("/readyz", ms(7), ms(8)));
    assert_eq!((check.unhealthy_threshold, check.healthy_threshold), (9, 10));
    let ejection = ml.ejection.unwrap();
    assert_eq!((ejection.consecutive_failures.get(), ejection.max_share), (11, 14));
    assert_eq!((ejection.time, ejection.max_time), (ms(12), ms(13)));
    assert_eq!((&bare.health_check, bare.ejection), (&None, None));
    assert_eq!((spec.routes()[0].half_close, spec.routes()[1].half_close), (HalfClose::Leave, HalfClose::Answer));
    let limits = spec.routes()[1].policy;
    assert_eq!(
        (limits.rate_limit.map(NonZeroU32::get), limits.concurrency_limit.map(NonZeroU32::get)),
        (Some(15), Some(16))
    );
}

#[test]
fn all_mistakes_are_named_at_once() {
    let said = mistakes_of(
        r#"{
            "cluster": {},
            "clusters": {
                "ml": {"upstreams": ["nowhere", {"adress": "a:1"}, "b:1", "b:1", "a:99999"], "conect_timeout_ms": 1, "max_pending": -1},
                "Big": {"upstreams": [], "health_check": {"path": "readyz", "intervall_ms": 1}, "ejection": {"time_ms": 400000}},
                "none": {}, "text": 5
            },
            "routes": {"a": "lm", "b.c.d": "ml", "e": {"cluster": "x", "rate": 1, "rate_limit": "lots", "half_close": "no"}, "f": {}, "g": 1}
        }"#,
    );
    for line in [
        "cluster: unknown key; did you mean clusters?",
        "clusters.ml.upstreams[0]: found \"nowhere\", expected a host and a port such as 10.0.0.7:8080",
        "clusters.ml.upstreams[1].adress: unknown key; did you mean address?",
        "clusters.ml.upstreams[1].address: missing, expected a host and a port",
        "clusters.ml.upstreams[3]: the upstream b:1 is given twice",
        "clusters.ml.upstreams[4]: found \"a:99999\"",
        "clusters.ml.conect_timeout_ms: unknown key; did you mean connect_timeout_ms?",
        "clusters.ml.max_pending: found -1, expected an integer from 0 to",
        "clusters.Big: a cluster's name is 1 to 63",
        "clusters.Big.upstreams: found a list of 0, expected a list of addresses",
        "clusters.Big.health_check.path: found \"readyz\", expected a path such as /readyz",
        "clusters.Big.health_check.intervall_ms: unknown key; did you mean health_check.interval_ms?",
        "clusters.Big.ejection.time_ms: 400000 ms are more than ejection.max_time_ms, 300000 ms",
        "clusters.none.upstreams: missing, expected",
        "clusters.text: found 5, expected an object such as",
        "routes.a: found \"lm\", expected one of the clusters: ml, Big, none, text",
        "routes.b.c.d: a service's name is 1 to 63",
        "routes.e.cluster: found \"x\", expected one of the clusters",
        "routes.e.rate: unknown key; did you mean rate_limit?",
        "routes.e.rate_limit: found \"lots\", expected an integer from 0 to",
        "routes.e.half_close: found \"no\", expected one of leave, answer",
        "routes.f.cluster: missing, expected",
        "routes.g: found 1, expected an object such as",
    ] {
        assert!(said.lines().any(|told| told.starts_with(line)), "no {line:?} in\n{said}");
    }
}

#[test]
fn a_key_with_a_dot_reaches_into_nothing() {
    let said = mistakes_of(
        r#"{
            "clusters": {"ml": {"upstreams": [{"address": "a:1", "address.port": 2}]}},
            "clusters.ml": {"upstreams": ["b:1"]},
            "routes": {"*": "ml"}
        }"#,
    );
    for place in ["clusters.ml: unknown key", "clusters.ml.upstreams[0].address.port: unknown key"] {
        assert!(said.contains(place), "no {place:?} in\n{said}");
    }
}

#[test]
fn a_file_that_is_no_file_says_so() {
    assert_eq!(mistakes_of("[]"), "found a list of 0, expected an object such as {\"clusters\": {…}, \"routes\": {…}}");
    assert_eq!(mistakes_of(""), "the file is empty");
    let said = mistakes_of(r#"{"clusters": {}, "routes": 7}"#);
    assert_eq!(
        said,
        "clusters: found no name in it, expected an object with at least one name\n\
         routes: found 7, expected an object with at least one name"
    );
    assert!(mistakes_of(r#"{"clusters": {"a": {}, "a": {}}}"#).contains("clusters.a: this key appears twice"));
}

#[test]
fn addresses_are_a_host_and_a_port() {
    for good in ["127.0.0.1:1", "[::1]:65535", "ml-1.internal:8080", "localhost:80", "a_b:1"] {
        assert_eq!(Authority::parse(good).map(|authority| authority.to_string()).as_deref(), Some(good));
    }
    for bad in
        ["", "a", "a:", "a:0", "a:65536", ":80", "http://a:80", "a/b:80", "::1:80", "[::1]", "a b:1", "a:+1", "a..b:1"]
    {
        assert!(Authority::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_check_that_no_host_would_pass_is_remarked_on() {
    let remarks = |path: &str, upstream: &str| {
        let text = format!(
            r#"{{"clusters": {{"ml": {{"upstreams": [{upstream}], "health_check": {{"path": "{path}"}}}}}}, "routes": {{"*": "ml"}}}}"#
        );
        GatewaySpec::parse(&text).unwrap().remarks()
    };
    let said = remarks("/readyz", r#""10.0.0.7:8080""#);
    assert!(said.len() == 1 && said[0].starts_with("clusters.ml: the upstream 10.0.0.7:8080 "), "{said:?}");
    let with_address = r#"{"address": "10.0.0.7:8080", "health_address": "10.0.0.7:8081"}"#;
    assert_eq!(remarks("/readyz", with_address), Vec::<String>::new());
    assert_eq!(remarks("/", r#""10.0.0.7:8080""#), Vec::<String>::new());
}
