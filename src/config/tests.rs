//! Tests of service files through the public functions.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

mod documented;
mod wrong_files;

fn parse(file: &Value) -> ServiceFile {
    ServiceFile::from_value(file).unwrap_or_else(|mistakes| panic!("{file}: {mistakes}"))
}

/// The smallest valid file, with further keys.
fn with(more: Value) -> Value {
    let mut file = json!({"name": "digits", "processor_path": "digits.wasm"});
    let Value::Object(more) = more else { panic!("{more} is no object") };
    for (key, value) in more {
        file[key] = value;
    }
    file
}

#[test]
fn two_keys_are_enough_and_every_other_has_a_default() {
    let file = parse(&with(json!({})));
    let spec = file.spec();
    assert_eq!(spec.name().as_str(), "digits");
    assert_eq!(spec.processor_path(), Some("digits.wasm"));
    assert_eq!(spec.processor_entry(), None);
    assert_eq!((&spec.model().path, &spec.model().entry, spec.model().config.as_str()), (&None, &None, ""));
    assert!(matches!(spec.token(), TokenPolicy::Generate));
    assert_eq!(spec.envs(), []);
    assert_eq!(spec.warm_up_data_path(), None);
    assert_eq!(spec.queue(), None);
    assert_eq!(spec.instances(), 1);
    assert_eq!(spec.termination_grace(), Duration::from_secs(30));
    assert!(!spec.enable_crash_block());
    assert_eq!(spec.gateway_policy(), GatewayPolicy { rate_limit: None, concurrency_limit: None });

    let rpc = spec.rpc();
    assert_eq!(rpc.keepalive, Duration::from_millis(5000));
    assert_eq!(rpc.worker_threads, 5);
    assert_eq!(rpc.max_queue_size, 64);
    assert_eq!(rpc.rate_limit, None);
    assert_eq!(rpc.batching, None);
    assert_eq!(rpc.decompressor, None);

    let sandbox = spec.sandbox();
    assert_eq!(sandbox.fuel, Fuel::Metered(100_000_000_000));
    assert_eq!(sandbox.memory_bytes, 256 * 1024 * 1024);
    assert_eq!((sandbox.isolation, sandbox.half_close), (None, HalfClose::Leave));
    assert!(sandbox.snapshot);
    assert_eq!(sandbox.max_requests_per_instance, None);
    assert_eq!((sandbox.trap_status, sandbox.fuel_status), (400, 400));
    assert_eq!(sandbox.initialize_timeout, Duration::from_secs(30));
    assert_eq!((sandbox.max_request_bytes, sandbox.max_response_bytes), (16 << 20, 16 << 20));
    assert_eq!(sandbox.methods.names().collect::<Vec<_>>(), ["GET", "HEAD", "POST"]);
    assert!(sandbox.allow_hosts.is_empty());
    assert_eq!(sandbox.log_bytes_per_request, 65536);
    assert_eq!(sandbox.expose, Expose { timing: true, fuel: false, stack: false });
    assert_eq!(sandbox.cors, None, "pages of other origins are let in by who says so");

    assert_eq!(file.normalised(), with(json!({})), "defaults are not written into the file");
    assert!(file.ignored().is_empty());
}

#[test]
fn every_key_says_what_it_is_for() {
    let file = parse(&json!({
        "name": "digits", "processor_path": "out/", "processor_entry": "digits.wasm",
        "model_path": "model/", "model_entry": "sub/digits.onnx", "model_config": {"b": [1, 2.5], "a.b": null},
        "token": "s3cret", "warm_up_data_path": "warmup.txt",
        "processor_envs": [{"name": "LEVEL", "value": "info"}, {"name": "N", "value": 3}],
        "metadata": {
            "instance": 2, "memory": 512, "eas": {"termination_grace_period": 5},
            "rpc": {"keepalive": 100, "worker_threads": 8, "max_queue_size": 4, "rate_limit": 50,
                    "batching": true, "max_batch_size": 4, "max_batch_timeout": 7, "decompressor": "zstd"}
        },
        "runtime": {"enable_crash_block": true},
        "networking": {"gateway_policy": {
            "rate_limit": {"enable": true, "limit": 9}, "concurrency_limit": {"enable": false, "limit": 3}
        }},
        "sandbox": {
            "fuel": "unlimited", "isolation": "reuse", "snapshot": false, "max_requests_per_instance": 1000,
            "trap_status": 500, "fuel_status": 503, "initialize_timeout_ms": 1,
            "max_request_bytes": 1073741824, "max_response_bytes": 1, "methods": ["DELETE", "GET"],
            "allow_hosts": ["api.example.com"], "log_bytes_per_request": 0, "expose": ["stack", "fuel"]
        }
    }));
    let spec = file.spec();
    assert_eq!(spec.processor_entry(), Some("digits.wasm"));
    assert_eq!(
        (spec.model().path.as_deref(), spec.model().entry.as_deref()),
        (Some("model/"), Some("sub/digits.onnx"))
    );
    assert_eq!(
        spec.model().config,
        r#"{"b":[1,2.5],"a.b":null}"#,
        "keys of one's own keep their order, dots and nulls"
    );
    assert!(matches!(spec.token(), TokenPolicy::Given(token) if token.reveal() == "s3cret"));
    assert_eq!(spec.warm_up_data_path(), Some("warmup.txt"));
    assert_eq!(spec.envs(), [("LEVEL".to_owned(), "info".to_owned()), ("N".to_owned(), "3".to_owned())]);
    assert_eq!((spec.instances(), spec.termination_grace()), (2, Duration::from_secs(5)));
    assert!(spec.enable_crash_block());
    assert_eq!(spec.gateway_policy().rate_limit.map(u32::from), Some(9));
    assert_eq!(spec.gateway_policy().concurrency_limit, None, "a limit that is not enabled is none");

    let rpc = spec.rpc();
    assert_eq!((rpc.keepalive, rpc.worker_threads, rpc.max_queue_size), (Duration::from_millis(100), 8, 4));
    assert_eq!(rpc.rate_limit.map(u32::from), Some(50));
    assert_eq!(rpc.batching, Some(Batching { max_size: 4, max_wait: Duration::from_millis(7) }));
    assert_eq!(rpc.decompressor, Some(Decompressor::Zstd));

    let sandbox = spec.sandbox();
    assert_eq!((sandbox.fuel, sandbox.isolation), (Fuel::Unlimited, Some(Isolation::Reuse)));
    assert!(!sandbox.snapshot);
    assert_eq!(sandbox.max_requests_per_instance.map(u32::from), Some(1000));
    assert_eq!((sandbox.trap_status, sandbox.fuel_status), (500, 503));
    assert_eq!((sandbox.max_request_bytes, sandbox.max_response_bytes), (1 << 30, 1));
    assert_eq!(sandbox.methods.names().collect::<Vec<_>>(), ["GET", "HEAD", "DELETE"]);
    assert_eq!(sandbox.allow_hosts, AllowedHosts::parse(["api.example.com"]).unwrap());
    assert_eq!(sandbox.log_bytes_per_request, 0);
    assert_eq!(sandbox.expose, Expose { timing: false, fuel: true, stack: true });
}

#[test]
fn every_word_of_the_table_is_one_the_code_knows() {
    for name in ["zlib", "gzip", "snappy", "zstd", "lz4"] {
        let file = parse(&with(json!({"metadata.rpc.decompressor": name})));
        assert_eq!(format!("{:?}", file.spec().rpc().decompressor.unwrap()).to_lowercase(), name);
    }
    for isolation in ["reuse", "fresh"] {
        let file = parse(&with(json!({"sandbox.isolation": isolation})));
        assert_eq!(format!("{:?}", file.spec().sandbox().isolation.unwrap()).to_lowercase(), isolation);
    }
    for half_close in ["leave", "answer"] {
        let file = parse(&with(json!({"sandbox.half_close": half_close})));
        assert_eq!(format!("{:?}", file.spec().sandbox().half_close).to_lowercase(), half_close);
    }
    let file = parse(&with(json!({"sandbox.expose": ["timing", "fuel", "stack", "fuel"]})));
    assert_eq!(file.spec().sandbox().expose, Expose { timing: true, fuel: true, stack: true });
}

#[test]
fn memory_is_bulkheads_own_key_then_eas_then_the_default() {
    let bytes = |more| parse(&with(more)).spec().sandbox().memory_bytes;
    assert_eq!(bytes(json!({"metadata": {"memory": 512}})), 512 << 20);
    assert_eq!(bytes(json!({"metadata": {"memory": 512}, "sandbox": {"memory_mb": 64}})), 64 << 20);
    assert_eq!(bytes(json!({"metadata": {"memory": 32000}})), 4096 << 20, "a guest addresses no more");
}

#[test]
fn a_service_is_private_unless_two_keys_say_otherwise() {
    let policy = |more| format!("{:?}", parse(&with(more)).spec().token());
    assert_eq!(policy(json!({"generate_token": "true"})), "Generate");
    assert_eq!(policy(json!({"generate_token": "false"})), "Public");
    assert_eq!(
        policy(json!({"generate_token": "false", "token": "t"})),
        "Given(Token(…))",
        "as `desc` of EAS prints it"
    );
}

#[test]
fn a_model_config_is_handed_over_as_text() {
    let config = |value: Value| parse(&with(json!({"model_config": value}))).spec().model().config.clone();
    assert_eq!(config(json!("threads=4")), "threads=4");
    assert_eq!(config(json!(4)), "4");
    assert_eq!(config(json!({"threads": 4})), r#"{"threads":4}"#);
    assert_eq!(config(Value::Null), "");
}

#[test]
fn every_spelling_of_a_file_is_the_same_file() {
    let nested = json!({
        "name": "digits", "processor_path": "d.wasm",
        "metadata": {"instance": 2, "rpc": {"keepalive": 100, "batching": true}, "eas": {"termination_grace_period": 5}}
    });
    let spellings = [
        json!({
            "name": "digits", "processor_path": "d.wasm",
            "metadata": {"instance": 2, "rpc.keepalive": 100, "rpc.batching": true, "eas.termination_grace_period": 5}
        }),
        json!({
            "name": "digits", "processor_path": "d.wasm", "metadata.instance": 2,
            "metadata.rpc.keepalive": 100, "metadata.rpc.batching": true, "metadata.eas.termination_grace_period": 5
        }),
        json!({
            "name": "digits", "processor_path": "d.wasm", "metadata.instance": 2,
            "metadata.rpc": {"keepalive": 100, "batching": true}, "metadata": {"eas.termination_grace_period": 5}
        }),
        json!({
            "processor_path": "d.wasm",
            "metadata": {
                "name": "digits", "instance": "2",
                "rpc": {"keepalive": 100.0, "batching": "True"}, "eas": {"termination_grace_period": "5"}
            }
        }),
        json!({
            "name": "digits", "metadata.name": "digits", "processor_path": "d.wasm", "sandbox": {}, "token": null,
            "metadata": {
                "instance": 2, "rpc": {"keepalive": 100, "decompressor": null},
                "rpc.keepalive": "100", "rpc.batching": 1, "eas.termination_grace_period": 5
            }
        }),
    ];
    let expected = parse(&nested);
    for spelling in spellings {
        let file = parse(&spelling);
        assert_eq!(file.normalised(), nested, "{spelling}");
        assert_eq!(format!("{:?}", file.spec()), format!("{:?}", expected.spec()), "{spelling}");
    }
}

#[test]
fn what_was_normalised_is_read_back_as_it_is() {
    let file = parse(&with(json!({
        "token": "t", "labels": {"a.b": null}, "model_config.x.y": 1, "sandbox.methods": ["POST"],
        "metadata.cloud.computing.type": "c7"
    })));
    let again = ServiceFile::parse(&file.normalised().to_string()).unwrap();
    assert_eq!(again.normalised(), file.normalised());
    assert_eq!(
        file.normalised()["model_config"],
        json!({"x": {"y": 1}}),
        "a flattened key may lead into a value of one's own"
    );
    assert_eq!(file.normalised()["labels"], json!({"a.b": null}), "and a value of one's own is not touched");
}

#[test]
fn eas_keys_without_meaning_are_listed() {
    let file = parse(&with(json!({
        "labels": {"team": "a"}, "autoscaler": {"min": 1}, "containers": [{"image": "x"}],
        "queue": {"cpu": 1, "resource": "r"},
        "metadata": {
            "cpu": 4, "gpu": 0, "qos": null, "type": "Standard", "rpc.io_threads": 4, "rolling_strategy.max_surge": "2%",
            "scheduling.spread": {"policy": "host"}
        },
        "warm_up_data_path": "w.bin", "metadata.rpc.batching": false, "sandbox.allow_hosts": [],
        "processor_entry": "a.wasm",
        "runtime.enable_crash_block": false,
        "networking": {"gateway": "gw-1", "gateway_policy.rate_limit": {"enable": true, "limit": 5}},
    })));
    let ignored = [
        "labels",
        "autoscaler",
        "containers",
        "queue.cpu",
        "queue.resource",
        "networking.gateway",
        "metadata.cpu",
        "metadata.gpu",
        "metadata.rolling_strategy.max_surge",
        "metadata.scheduling",
        "metadata.rpc.io_threads",
    ];
    assert_eq!(file.ignored(), ignored);
}

#[test]
fn a_patch_changes_what_it_names_in_any_spelling_and_null_removes() {
    let file = parse(&with(json!({
        "metadata": {"instance": 2, "rpc": {"keepalive": 100, "rate_limit": 7}},
        "model_config": {"a": 1, "b": 2}, "processor_envs": [{"name": "A", "value": "1"}]
    })));
    let patch = json!({
        "metadata.rpc": {"keepalive": "200"}, "metadata": {"rpc.rate_limit": null},
        "model_config.a": null, "processor_envs": [{"name": "B", "value": "2"}]
    });
    let merged = file.merge(&patch).unwrap();
    let expected = json!({
        "metadata": {"instance": 2, "rpc": {"keepalive": 200}},
        "model_config": {"b": 2}, "processor_envs": [{"name": "B", "value": "2"}]
    });
    assert_eq!(merged.normalised(), with(expected));
    assert_eq!((merged.spec().rpc().keepalive, merged.spec().rpc().rate_limit), (Duration::from_millis(200), None));
    assert_eq!(file.spec().rpc().keepalive, Duration::from_millis(100), "the old version is what it was");

    let patch = json!({"metadata": null, "model_config": null, "processor_envs": null, "metadata.name": "digits"});
    assert_eq!(merged.merge(&patch).unwrap().normalised(), with(json!({})), "its own name is no change");
}

#[test]
fn a_patch_may_remove_a_whole_section() {
    let file = parse(&with(json!({"metadata": {"instance": 2, "rpc": {"keepalive": 100}}, "sandbox.fuel": 5})));
    let merged = file.merge(&json!({"metadata.rpc": null, "sandbox": null})).unwrap();
    assert_eq!(merged.normalised(), with(json!({"metadata": {"instance": 2}})));
}

#[test]
fn a_patch_is_checked_like_a_file_and_together_with_it() {
    let file = parse(&with(json!({"metadata.instance": 64, "model_path": "m/", "model_entry": "e"})));
    let mistakes = |patch: Value| file.merge(&patch).unwrap_err().to_string();
    assert!(mistakes(json!({"name": "other"})).contains("name: a service keeps its name, `digits`"));
    assert!(mistakes(json!({"metadata": {"name": null}})).contains("name: a service keeps its name"));
    assert!(
        mistakes(json!({"metadata.instnce": 3}))
            .contains("metadata.instnce: unknown key; did you mean metadata.instance?")
    );
    assert!(mistakes(json!({"metadata.instance": 0})).contains("metadata.instance: found 0"));
    assert!(mistakes(json!({"model_path": null})).contains("model_entry: there is no model_path"));
    assert!(mistakes(json!({"processor_path": null})).contains("processor_path: missing"));
    assert!(mistakes(json!({"metadata.rpc.worker_threads": 65})).contains("4160, expected at most 4096"));
    assert!(mistakes(json!([])).contains("found a list of 0, expected an object"));
    assert!(mistakes(json!({"metadata": null, "metadata.instance": 3})).contains("given twice"));
    assert!(
        mistakes(json!({"metadata.instance": 3, "metadata": null}))
            .contains("metadata: removed, although keys in it are given")
    );
}

#[test]
fn an_override_is_json_where_it_parses_and_text_otherwise() {
    for (text, patch) in [
        ("metadata.instance=10", json!({"metadata": {"instance": 10}})),
        ("metadata.rpc.batching=true", json!({"metadata": {"rpc": {"batching": true}}})),
        ("metadata.rpc.decompressor=gzip", json!({"metadata": {"rpc": {"decompressor": "gzip"}}})),
        ("metadata.rpc.decompressor=null", json!({"metadata": {"rpc": {"decompressor": null}}})),
        ("sandbox.methods=[\"PUT\"]", json!({"sandbox": {"methods": ["PUT"]}})),
        ("token=12345", json!({"token": "12345"})),
        ("token=\"a=b\"", json!({"token": "a=b"})),
        ("token=a=b", json!({"token": "a=b"})),
        ("name=true", json!({"name": "true"})),
        ("model_config.threads=4", json!({"model_config": {"threads": 4}})),
        ("model_config={\"a.b\": 1}", json!({"model_config": {"a.b": 1}})),
        ("model_config=threads 4", json!({"model_config": "threads 4"})),
        ("metadata={\"rpc.keepalive\": 7}", json!({"metadata": {"rpc": {"keepalive": 7}}})),
    ] {
        assert_eq!(parse_override(text), Ok(patch), "{text}");
    }
}

#[test]
fn overrides_go_together_and_of_one_key_the_last_counts() {
    let patch = parse_overrides(["metadata.instance=1", "metadata.rpc.keepalive=5", "metadata.instance=3"]).unwrap();
    assert_eq!(patch, json!({"metadata": {"rpc": {"keepalive": 5}, "instance": 3}}));
    let wrong = parse_overrides([
        "metadata.instance",
        "s3cret",
        "metadata.instnce=3",
        "sandbox.fuel=none",
        "token=s3cret with spaces",
    ])
    .unwrap_err()
    .to_string();
    for line in [
        "metadata.instance: no value is given; expected KEY=VALUE",
        "-D number 2 has no `=`; expected KEY=VALUE",
        "metadata.instnce: unknown key",
        "sandbox.fuel: found \"none\"",
        "token: found a string of",
    ] {
        assert!(wrong.contains(line), "{line} in {wrong}");
    }
    assert!(!wrong.contains("s3cret"));
}

#[test]
fn nothing_that_is_printed_for_debugging_holds_a_secret() {
    let file = parse(&with(json!({"token": "s3cret", "processor_envs": [{"name": "KEY", "value": "s3cret"}]})));
    assert!(!format!("{file:?} {:?}", file.spec()).contains("s3cret"));
    assert!(file.normalised().to_string().contains("s3cret"), "what is stored does");
}

/// Every key with values of every type: the result is a file that is read back unchanged, or mistakes about that key.
#[test]
fn whatever_stands_at_a_key_there_is_an_answer() {
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(450),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("a"),
        json!("\u{0}"),
        json!("5"),
        json!("unlimited"),
        json!("x".repeat(3000)),
        json!([]),
        json!([1]),
        json!(["GET"]),
        json!([{"name": "A", "value": "1"}]),
        json!([null]),
        json!({}),
        json!({"a": null}),
    ];
    let paths = keys::KEYS.iter().map(|key| key.path).chain(["metadata", "metadata.rpc", "sandbox", "queue"]);
    for (path, value) in paths.flat_map(|path| odd.iter().map(move |value| (path, value))) {
        match ServiceFile::from_value(&with(json!({ path: value }))) {
            Ok(file) => assert_eq!(parse(&file.normalised()).normalised(), file.normalised(), "{path} {value}"),
            Err(mistakes) => {
                let place =
                    |mistake: &Mistake| mistake.path().starts_with(path) || mistake.path().starts_with("networking");
                assert!(mistakes.iter().all(place), "{path} {value} says {mistakes}");
            }
        }
    }
}
