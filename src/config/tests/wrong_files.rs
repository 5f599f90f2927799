//! Tests of wrong files: each mistake with its path and its message.

use serde_json::{Value, json};

use super::{super::*, with};

/// The mistakes of a file, one line each.
fn mistakes_of(file: &Value) -> Mistakes {
    match ServiceFile::parse(&file.to_string()) {
        Ok(_) => panic!("this file is accepted: {file}"),
        Err(mistakes) => mistakes,
    }
}

/// One wrong key in a file that is otherwise right: exactly one mistake, at that path, with this text.
#[test]
fn a_wrong_key_is_named_with_what_was_seen_and_what_would_be_accepted() {
    let long = "x".repeat(2000);
    let cases = [
        // Unknown keys.
        (
            json!({"metadata": {"rpc": {"keepalve": 1}}}),
            "metadata.rpc.keepalve",
            "unknown key; did you mean metadata.rpc.keepalive?",
        ),
        (json!({"metadata.rpc.keepalve": 1}), "metadata.rpc.keepalve", "did you mean metadata.rpc.keepalive?"),
        (
            json!({"metadata": {"rpc.maxQueueSize": 1}}),
            "metadata.rpc.maxQueueSize",
            "did you mean metadata.rpc.max_queue_size?",
        ),
        (json!({"metadata": {"rcp": {"keepalive": 1}}}), "metadata.rcp", "did you mean metadata.rpc?"),
        (json!({"rpc.keepalive": 1}), "rpc.keepalive", "did you mean metadata.rpc.keepalive?"),
        (json!({"keepalive": 1}), "keepalive", "did you mean metadata.rpc.keepalive?"),
        (json!({"sandbox": {"memory": 1}}), "sandbox.memory", "did you mean sandbox.memory_mb?"),
        (json!({"sandbox": {"fuel": 1, "full": 2}}), "sandbox.full", "did you mean sandbox.fuel?"),
        (json!({"processor_env": []}), "processor_env", "did you mean processor_envs?"),
        (json!({"zebra": null}), "zebra", "unknown key; `bulkhead schema` lists the known ones"),
        (json!({"": 1}), "\"\"", "unknown key"),
        (json!({"metadata.": 1}), "metadata.", "unknown key"),
        (json!({"metadata..rpc": {}}), "metadata..rpc", "did you mean metadata.rpc?"),
        (json!({"sandbox.fuel.limit": 3}), "sandbox.fuel.limit", "did you mean sandbox.fuel?"),
        (json!({"labels..a": 3}), "labels..a", "unknown key"),
        // Sections that are not objects.
        (json!({"metadata": 7}), "metadata", "found 7, expected an object"),
        (json!({"metadata": {"rpc": [1]}}), "metadata.rpc", "found a list of 1, expected an object"),
        (json!({"sandbox": "fresh"}), "sandbox", "found \"fresh\", expected an object"),
        // Names, tokens and paths.
        (json!({"name": "Digits"}), "name", "found \"Digits\", expected 1 to 63 of a-z, 0-9"),
        (json!({"name": "-a"}), "name", "with a letter or a digit at both ends"),
        (json!({"name": ""}), "name", "found an empty string"),
        (json!({"name": 7}), "name", "found 7"),
        (json!({"name": long}), "name", "xxx…\", expected 1 to 63"),
        (
            json!({"metadata": {"name": "other"}}),
            "metadata.name",
            "the same key as name, given twice with different values: \"digits\" and \"other\"",
        ),
        (json!({"token": ""}), "token", "found an empty string, expected 1 to 512 visible ASCII characters"),
        (json!({"token": "two words"}), "token", "found a string of 9 characters"),
        (json!({"token": long}), "token", "found a string of 2000 characters"),
        (json!({"token": 123}), "token", "found a number"),
        (json!({"generate_token": "maybe"}), "generate_token", "found \"maybe\", expected true or false"),
        (json!({"processor_path": " "}), "processor_path", "found \" \", expected a path or a URL, not empty"),
        (json!({"processor_path": ["a"]}), "processor_path", "found a list of 1"),
        (json!({"processor_path": null}), "processor_path", "missing, expected a path or a URL"),
        (json!({"model_path": ""}), "model_path", "found an empty string"),
        (
            json!({"model_path": "m", "model_entry": "../x"}),
            "model_entry",
            "found \"../x\", expected a relative path without `..`",
        ),
        (json!({"model_path": "m", "model_entry": "/etc/passwd"}), "model_entry", "expected a relative path"),
        (json!({"model_entry": "x"}), "model_entry", "there is no model_path"),
        (json!({"warm_up_data_path": ""}), "warm_up_data_path", "expected a path"),
        // Variables.
        (
            json!({"processor_envs": {"A": "1"}}),
            "processor_envs",
            "found an object, expected a list of {\"name\": …, \"value\": …}",
        ),
        (
            json!({"processor_envs": [{"name": "A=B", "value": "1"}]}),
            "processor_envs[0].name",
            "text without `=` and NUL",
        ),
        (
            json!({"processor_envs": [{"name": "A", "value": "1"}, {"name": "B"}]}),
            "processor_envs[1].value",
            "expected the value of the variable",
        ),
        (json!({"processor_envs": [{"name": "A", "value": "1", "from": 2}]}), "processor_envs[0].from", "unknown key"),
        (
            json!({"processor_envs": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
            "processor_envs",
            "the variable \"A\" is given twice",
        ),
        // Numbers.
        (json!({"metadata": {"instance": 0}}), "metadata.instance", "found 0, expected an integer from 1 to 64"),
        (json!({"metadata": {"instance": 65}}), "metadata.instance", "found 65"),
        (json!({"metadata": {"instance": 1.5}}), "metadata.instance", "found 1.5"),
        (json!({"metadata": {"instance": "many"}}), "metadata.instance", "found \"many\""),
        (
            json!({"metadata": {"memory": -1}}),
            "metadata.memory",
            "found -1, expected an integer from 1 to 16777216 (MiB)",
        ),
        (
            json!({"metadata": {"rpc": {"keepalive": 0}}}),
            "metadata.rpc.keepalive",
            "found 0, expected an integer from 1 to 3600000 (ms)",
        ),
        (json!({"metadata": {"rpc.keepalive": "5s"}}), "metadata.rpc.keepalive", "found \"5s\""),
        (json!({"metadata.rpc.keepalive": 3_600_001}), "metadata.rpc.keepalive", "found 3600001"),
        (json!({"metadata.rpc.worker_threads": 1025}), "metadata.rpc.worker_threads", "from 1 to 1024"),
        (
            json!({"metadata.instance": 5, "metadata.rpc.worker_threads": 1000}),
            "metadata.rpc.worker_threads",
            "1000 workers in each of 5 instances are 5000, expected at most 4096",
        ),
        (json!({"metadata.rpc.max_queue_size": 100_001}), "metadata.rpc.max_queue_size", "from 0 to 100000"),
        (json!({"metadata.rpc.rate_limit": 1_000_000_001}), "metadata.rpc.rate_limit", "from 0 to 1000000000"),
        (json!({"metadata.rpc.max_batch_size": 0}), "metadata.rpc.max_batch_size", "found 0"),
        (json!({"metadata.rpc.batching": 2}), "metadata.rpc.batching", "found 2, expected true or false"),
        (
            json!({"metadata.rpc": {"batching": true, "max_batch_size": 65}}),
            "metadata.rpc.max_batch_size",
            "found 65, expected at most metadata.rpc.max_queue_size, 64",
        ),
        (
            json!({"metadata.rpc": {"batching": true, "max_batch_timeout": 70, "keepalive": 70}}),
            "metadata.rpc.max_batch_timeout",
            "found 70, expected less than metadata.rpc.keepalive, 70",
        ),
        (
            json!({"metadata.rpc.batching": true, "sandbox.isolation": "fresh"}),
            "metadata.rpc.batching",
            "requests that are answered together share a guest",
        ),
        (
            json!({"metadata.rpc.decompressor": "brotli"}),
            "metadata.rpc.decompressor",
            "found \"brotli\", expected one of zlib, gzip, snappy, zstd, lz4",
        ),
        (
            json!({"metadata": {"eas.termination_grace_period": 3601}}),
            "metadata.eas.termination_grace_period",
            "from 0 to 3600 (s)",
        ),
        (json!({"runtime": {"enable_crash_block": []}}), "runtime.enable_crash_block", "found a list of 0"),
        (
            json!({"networking.gateway_policy.rate_limit": {"enable": true}}),
            "networking.gateway_policy.rate_limit.limit",
            "missing, while",
        ),
        // Asynchronous services.
        (
            json!({"metadata": {"type": "LLMGatewayService"}}),
            "metadata.type",
            "found \"LLMGatewayService\", expected one of Standard, Async, in upper or lower case",
        ),
        (json!({"metadata.type": "OfflineTask", "queue.length": 5}), "metadata.type", "found \"OfflineTask\""),
        (json!({"queue": {"max_delivery": 1}}), "queue.max_delivery", "given without metadata.type \"Async\""),
        (json!({"queue": {"max_delivery": 0}}), "queue.max_delivery", "found 0, expected an integer from 1 to 1000"),
        (json!({"queue": {"max_deliveries": 1}}), "queue.max_deliveries", "did you mean queue.max_delivery?"),
        (
            json!({"metadata": {"type": "Async", "group": "g"}}),
            "metadata.group",
            "such a service is called by a put into its queue",
        ),
        // The sandbox.
        (
            json!({"sandbox": {"fuel": 0}}),
            "sandbox.fuel",
            "found 0, expected an integer of at least 1, or \"unlimited\"",
        ),
        (json!({"sandbox": {"fuel": "infinite"}}), "sandbox.fuel", "found \"infinite\""),
        (json!({"sandbox": {"memory_mb": 4097}}), "sandbox.memory_mb", "from 1 to 4096 (MiB)"),
        (json!({"sandbox": {"isolation": "Fresh"}}), "sandbox.isolation", "expected one of reuse, fresh"),
        (json!({"sandbox": {"half_close": true}}), "sandbox.half_close", "expected one of leave, answer"),
        (json!({"sandbox": {"snapshot": "maybe"}}), "sandbox.snapshot", "found \"maybe\", expected true or false"),
        (json!({"sandbox": {"trap_status": 200}}), "sandbox.trap_status", "from 400 to 599"),
        (json!({"sandbox": {"fuel_status": 600}}), "sandbox.fuel_status", "from 400 to 599"),
        (json!({"sandbox": {"initialize_timeout_ms": 0}}), "sandbox.initialize_timeout_ms", "found 0"),
        (
            json!({"sandbox": {"max_request_bytes": 1_073_741_825}}),
            "sandbox.max_request_bytes",
            "from 1 to 1073741824 (bytes)",
        ),
        (json!({"sandbox": {"max_response_bytes": 0}}), "sandbox.max_response_bytes", "found 0"),
        (json!({"sandbox": {"max_requests_per_instance": -5}}), "sandbox.max_requests_per_instance", "found -5"),
        (
            json!({"sandbox": {"methods": []}}),
            "sandbox.methods",
            "found a list of 0, expected a list of at least 1 of GET, HEAD",
        ),
        (json!({"sandbox": {"methods": "GET"}}), "sandbox.methods", "found \"GET\", expected a list"),
        (
            json!({"sandbox": {"methods": ["GET", "post"]}}),
            "sandbox.methods[1]",
            "found \"post\", expected one of GET, HEAD, POST, PUT, PATCH, DELETE",
        ),
        (json!({"sandbox": {"allow_hosts": ["https://x"]}}), "sandbox.allow_hosts[0]", "expected a host name"),
        (
            json!({"sandbox": {"log_bytes_per_request": 16_777_217}}),
            "sandbox.log_bytes_per_request",
            "from 0 to 16777216",
        ),
        (
            json!({"sandbox": {"expose": ["secrets"]}}),
            "sandbox.expose[0]",
            "found \"secrets\", expected one of timing, fuel, stack",
        ),
        // Pages of other origins.
        (
            json!({"sandbox.cors": {"origins": ["https://a.example/"]}}),
            "sandbox.cors.origins[0]",
            "found \"https://a.example/\", expected \"*\", \"null\", or a scheme, a host in lower case",
        ),
        (
            json!({"sandbox.cors": {"origins": "https://a.example"}}),
            "sandbox.cors.origins",
            "found \"https://a.example\", expected a list of at least one origin",
        ),
        (json!({"sandbox.cors": {"origins": []}}), "sandbox.cors.origins", "found a list of 0, expected a list of at"),
        (
            json!({"sandbox.cors": {"origins": ["*", "https://a.example"]}}),
            "sandbox.cors.origins",
            "expected either \"*\" alone or a list without it",
        ),
        (
            json!({"sandbox.cors": {"origins": vec!["https://a.example"; 101]}}),
            "sandbox.cors.origins",
            "found a list of 101, expected at most 100",
        ),
        (
            json!({"sandbox.cors": {"origins": ["*"], "credentials": true}}),
            "sandbox.cors.credentials",
            "true, while sandbox.cors.origins is \"*\": browsers refuse that",
        ),
        (
            json!({"sandbox.cors": {"origins": ["https://a.example", "null"], "credentials": true}}),
            "sandbox.cors.credentials",
            "has \"null\": any page can open a frame with that origin",
        ),
        (
            json!({"sandbox.cors": {"origins": ["*"], "headers": ["content type"]}}),
            "sandbox.cors.headers[0]",
            "found \"content type\", expected the name of a header",
        ),
        (
            json!({"sandbox.cors": {"origins": ["*"], "methods": ["PUT"]}}),
            "sandbox.cors.methods",
            "found PUT, which is not among sandbox.methods: GET, POST",
        ),
        (
            json!({"sandbox.cors": {"origins": ["*"], "max_age_s": 86_401}}),
            "sandbox.cors.max_age_s",
            "from 0 to 86400 (s)",
        ),
        (
            json!({"sandbox.cors": {"credentials": true}}),
            "sandbox.cors.credentials",
            "given without sandbox.cors.origins",
        ),
        (json!({"sandbox.cors": {"origin": ["*"]}}), "sandbox.cors.origin", "did you mean sandbox.cors.origins?"),
        // Two spellings that disagree.
        (
            json!({"metadata": {"rpc": {"keepalive": 5}, "rpc.keepalive": 6}}),
            "metadata.rpc.keepalive",
            "given twice with different values: 5 and 6",
        ),
        (json!({"metadata.instance": 5, "metadata": {"instance": "6"}}), "metadata.instance", "given twice"),
        (json!({"model_config": "text", "model_config.a": 1}), "model_config.a", "given twice with different values"),
    ];
    assert!(cases.len() >= 40);
    for (more, path, words) in cases {
        let mistakes = mistakes_of(&with(more.clone()));
        let said: Vec<_> = mistakes.iter().map(|mistake| (mistake.path(), mistake.message())).collect();
        assert!(
            matches!(said[..], [(at, message)] if at == path && message.contains(words)),
            "{more}\n  expected {path}: …{words}…\n  said {said:?}"
        );
    }
}

#[test]
fn files_that_are_no_objects_are_told_what_a_file_is() {
    for (text, words) in [
        ("", "the file is empty"),
        ("[]", "found a list of 0, expected an object such as {\"name\""),
        ("\"digits\"", "found \"digits\", expected an object"),
        ("null", "found null, expected an object"),
        ("{\"name\": \"a\",}", "line 1, column 14: trailing comma"),
        ("{\"name\": 'a'}", "line 1, column 10: expected value: {\"name\": 'a'}"),
        (
            "{\n  \"name\": \"a\"",
            "line 2, column 13: the text ends inside an object; a `}` is missing:   \"name\": \"a\"",
        ),
    ] {
        let said = ServiceFile::parse(text).unwrap_err().to_string();
        assert!(said.starts_with(words) || said.contains(words), "{text:?} says {said}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once_and_sorted() {
    let text = r#"{
        "name": "Digits", "name": "Digits!", "token": "has spaces", "model_entry": "/abs",
        "metadata": {"rpc": {"keepalive": "soon", "worker_threads": 0}, "instanse": 2},
        "sandbox": {"methods": ["get", "brew"], "fuel": -1}
    }"#;
    let mistakes = ServiceFile::parse(text).unwrap_err();
    let paths: Vec<_> = mistakes.iter().map(Mistake::path).collect();
    let expected = [
        "metadata.instanse",
        "metadata.rpc.keepalive",
        "metadata.rpc.worker_threads",
        "model_entry",
        "name",
        "name",
        "processor_path",
        "sandbox.fuel",
        "sandbox.methods[0]",
        "sandbox.methods[1]",
        "token",
    ];
    assert_eq!(paths, expected, "{mistakes}");
    assert_eq!(mistakes.to_string().lines().count(), mistakes.len());
    assert_eq!(
        serde_json::to_value(&mistakes).unwrap()[3],
        json!({"path": "model_entry", "message": "found \"/abs\", expected a relative path without `..`"})
    );
}

#[test]
fn a_key_that_stands_twice_is_a_mistake_even_with_one_value() {
    let said =
        ServiceFile::parse(r#"{"name": "a", "processor_path": "p", "metadata": {"instance": 2, "instance": 2}}"#)
            .unwrap_err();
    assert_eq!(said.to_string(), "metadata.instance: this key appears twice in the same object");
}

#[test]
fn no_mistake_shows_a_secret() {
    let files = [
        r#"{"name": "a", "processor_path": "p", "token": "s3cret s3cret"}"#,
        r#"{"name": "a", "processor_path": "p", "token": "s3cret", "token": "s3cret2"}"#,
        r#"{"name": "a", "processor_path": "p", "token": ["s3cret"]}"#,
        r#"{"name": "a", "processor_path": "p", "token": "s3cret" "model_path": "m"}"#,
        r#"{"name": "a", "processor_path": "p", "tokens": "s3cret"}"#,
        r#"{"name": "a", "processor_path": "p", "processor_envs": [{"name": "K", "value": "s3cret"}, {"name": "K", "value": "s3cret"}]}"#,
        r#"{"name": "a", "processor_path": "p", "processor_envs": ["K=s3cret"]}"#,
        r#"{"name": "a", "processor_path": "p", "dockerAuth": "s3cret", "dockerAuth.a": "s3cret"}"#,
    ];
    for file in files {
        let said = ServiceFile::parse(file).unwrap_err().to_string();
        assert!(!said.contains("s3cret"), "{file} says {said}");
    }
}

/// A file may come from any client that may create services, so its cost must be in proportion to its length.
#[test]
fn hostile_files_are_refused_in_bounded_work() {
    let dots = format!("model_config{}", ".a".repeat(100_000));
    assert!(mistakes_of(&with(json!({ dots: 1 }))).to_string().contains("unknown key"));

    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert_eq!(mistakes_of(&with(json!({"labels": deep}))).to_string(), "labels: nested more than 64 deep");

    let mut many = with(json!({}));
    for n in 0..20_000 {
        many[format!("unknown_{n}")] = json!(n);
    }
    let started = std::time::Instant::now();
    assert_eq!(mistakes_of(&many).len(), 101);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "took {:?}", started.elapsed());
}
