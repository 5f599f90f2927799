//! `metadata.type` and `queue`: the settings of an asynchronous service, which is called by a put into its input queue.

use std::time::Duration;

use http::Uri;
use serde_json::Value;

use super::{allowed_hosts::AllowedHosts, keys::Use, mistakes::Mistakes, settings::Settings, table::ASYNC};

const TYPE: &str = "metadata.type";
const CALLBACK: &str = "queue.callback";

/// The limits of the queues of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Most deliveries of an item, at least 1.
    pub max_delivery: u32,
    /// Most items of the input queue, and most of the output queue, with dead letters.
    pub length: u64,
    /// The largest item.
    pub max_payload_bytes: usize,
    /// The age at which an item, a result or a dead letter is removed; `None` if it is kept for ever.
    pub retention: Option<Duration>,
    /// The longest time that a consumer may work on one item.
    pub timeout: Duration,
    /// The longest time without a sign of life from an external consumer.
    pub lease: Duration,
    /// The weight of queued work beside other work, while all background threads are busy.
    pub weight: u32,
    /// The URL of the webhooks for finished items.
    pub callback: Option<Uri>,
}

impl Queue {
    /// Reads settings without mistakes; `None` for a service that is not asynchronous.
    pub(super) fn of(settings: &Settings<'_>) -> Option<Self> {
        let retention = settings.integer("queue.retention_s");
        is_async(settings).then(|| Self {
            max_delivery: settings.small("queue.max_delivery"),
            length: settings.integer("queue.length"),
            max_payload_bytes: settings.small("queue.max_payload_bytes"),
            retention: (retention > 0).then(|| Duration::from_secs(retention)),
            timeout: settings.millis("queue.timeout_ms"),
            lease: settings.millis("queue.lease_ms"),
            weight: settings.small("queue.weight"),
            callback: settings.text(CALLBACK).and_then(|uri| uri.parse().ok()),
        })
    }
}

pub(super) fn is_async(settings: &Settings<'_>) -> bool {
    settings.text(TYPE).as_deref() == Some(ASYNC)
}

/// Checks that a service has either queues, or what only calls with an answer can have.
pub(super) fn check(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    processor(settings, mistakes);
    callback(settings, mistakes);
    if is_async(settings) {
        only_puts(settings, mistakes);
    } else if !mistakes.at(TYPE) {
        no_queues(settings, mistakes);
    }
}

/// Checks that a service has a processor, unless it is a queue and nothing else.
fn processor(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    const PATH: &str = "processor_path";
    if settings.given(PATH).is_some() || mistakes.at(PATH) || mistakes.at(TYPE) {
        return;
    }
    if !is_async(settings) {
        let message = format!("missing, expected a path or a URL; only with {TYPE} \"{ASYNC}\" it may be left out");
        mistakes.add(PATH, message);
        return;
    }
    for key in ["processor_entry", "processor_envs", "model_path", "model_config", "warm_up_data_path"] {
        if settings.given(key).is_some() {
            mistakes.add(key, "given without processor_path, and it needs a processor");
        }
    }
}

/// Checks that webhooks go to a host that the service may send requests to.
fn callback(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    let Some(text) = settings.text(CALLBACK) else { return };
    let hosts = settings.list("sandbox.allow_hosts");
    let Ok(hosts) = AllowedHosts::parse(hosts.iter().filter_map(Value::as_str)) else { return };
    let refused = text.parse::<Uri>().ok().and_then(|uri| hosts.target(&uri).err());
    if let Some(why) = refused {
        let message = format!("found {}, expected a URL of an allowed host: {why}", Value::from(text));
        mistakes.add(CALLBACK, message);
    }
}

fn only_puts(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    let conflict = format!("while {TYPE} is \"{ASYNC}\": such a service is called by a put into its queue, and");
    if settings.flag("metadata.rpc.batching") {
        mistakes.add("metadata.rpc.batching", format!("true, {conflict} the processor gets each item by itself"));
    }
    for key in ["metadata.rpc.mirror.target", "metadata.rpc.mirror.ratio"] {
        if settings.given(key).is_some() {
            mistakes.add(key, format!("given, {conflict} puts are not copied"));
        }
    }
    if settings.given("metadata.group").is_some() {
        mistakes.add("metadata.group", format!("given, {conflict} a group does not share puts among its members"));
    }
}

fn no_queues(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    let table = settings.0.table().iter();
    for key in table.filter(|key| key.usage == Use::Used && key.path.starts_with("queue.")) {
        if settings.given(key.path).is_some() {
            let message = format!("given without {TYPE} \"{ASYNC}\": only an asynchronous service has queues");
            mistakes.add(key.path, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ServiceFile;

    fn parse(more: Value) -> Result<ServiceFile, Mistakes> {
        let mut file = json!({"name": "a", "processor_path": "a.wasm"});
        let Value::Object(more) = more else { panic!("{more} is no object") };
        file.as_object_mut().unwrap().extend(more);
        ServiceFile::from_value(&file)
    }

    /// The queue of an asynchronous service with one key of its own.
    fn queue(key: &str, value: &Value) -> Result<Queue, String> {
        let file = parse(json!({"metadata.type": "Async", format!("queue.{key}"): value}));
        file.map(|file| file.spec().queue().unwrap().clone()).map_err(|mistakes| mistakes.to_string())
    }

    fn defaults() -> Queue {
        Queue {
            max_delivery: 5,
            length: 100_000,
            max_payload_bytes: 8 << 20,
            retention: Some(Duration::from_secs(7 * 24 * 3600)),
            timeout: Duration::from_secs(600),
            lease: Duration::from_secs(30),
            weight: 100,
            callback: None,
        }
    }

    #[test]
    fn webhooks_go_to_an_allowed_host() {
        let with = |uri: &str, hosts: Value| {
            let file = json!({"metadata.type": "Async", "queue.callback": uri, "sandbox.allow_hosts": hosts});
            let callback = parse(file).map(|file| file.spec().queue().unwrap().callback.clone());
            callback.map_err(|mistakes| mistakes.to_string())
        };
        let uri = "https://hooks.example.com/done?a=1";
        assert_eq!(with(uri, json!(["hooks.example.com"])).unwrap().unwrap(), uri);
        for (uri, hosts, told) in [
            (uri, json!([]), "hooks.example.com:443 is not in sandbox.allow_hosts"),
            ("https://hooks.example.com:8443/", json!(["hooks.example.com"]), ":8443 is not in"),
            ("https://[fd00::1]:8443/", json!(["hooks.example.com"]), "[fd00::1]:8443 is not in"),
            ("ftp://hooks.example.com/", json!(["hooks.example.com"]), "expected an http or https URL"),
            ("hooks.example.com/done", json!(["hooks.example.com"]), "expected an http or https URL"),
            ("/done", json!(["hooks.example.com"]), "expected an http or https URL"),
            ("not a url", json!([]), "expected an http or https URL"),
        ] {
            let said = with(uri, hosts).unwrap_err();
            assert!(said.contains("queue.callback") && said.contains(told), "{said}");
        }
    }

    #[test]
    fn only_an_asynchronous_service_has_queues() {
        for standard in [json!({}), json!({"metadata.type": "Standard"}), json!({"metadata": {"type": "standard"}})] {
            assert_eq!(parse(standard).unwrap().spec().queue(), None);
        }
        for spelling in ["Async", "async", "ASYNC"] {
            let file = parse(json!({"metadata": {"type": spelling}})).unwrap();
            assert_eq!(file.spec().queue(), Some(&defaults()), "{spelling}");
            assert_eq!(file.normalised()["metadata"]["type"], "Async");
        }
    }

    #[test]
    fn other_types_of_eas_are_mistakes() {
        for other in ["LLMGatewayService", "OfflineTask", "Proxima", "SDCluster", ""] {
            let told = parse(json!({"metadata.type": other, "queue.length": 5})).unwrap_err().to_string();
            let found = if other.is_empty() { "an empty string".to_owned() } else { format!("\"{other}\"") };
            let expected = "expected one of Standard, Async, in upper or lower case";
            assert_eq!(
                told,
                format!("metadata.type: found {found}, {expected}"),
                "the key in queue gets no mistake too"
            );
        }
    }

    /// The queue of a service with this number at one key, and defaults at the others.
    type Set = fn(u64) -> Queue;

    const KEYS: [(&str, u64, u64, Set); 7] = [
        ("max_delivery", 1, 1000, |n| Queue { max_delivery: n as u32, ..defaults() }),
        ("length", 1, 100_000_000, |n| Queue { length: n, ..defaults() }),
        ("max_payload_bytes", 1, 67_108_864, |n| Queue { max_payload_bytes: n as usize, ..defaults() }),
        ("retention_s", 0, 31_536_000, |n| Queue { retention: (n > 0).then(|| Duration::from_secs(n)), ..defaults() }),
        ("timeout_ms", 1000, 86_400_000, |n| Queue { timeout: Duration::from_millis(n), ..defaults() }),
        ("lease_ms", 5000, 3_600_000, |n| Queue { lease: Duration::from_millis(n), ..defaults() }),
        ("weight", 1, 1000, |n| Queue { weight: n as u32, ..defaults() }),
    ];

    #[test]
    fn every_key_has_its_range_and_may_be_a_string() {
        for (key, least, most, set) in KEYS {
            for number in [least, most] {
                assert_eq!(queue(key, &json!(number)), Ok(set(number)), "{key}");
                assert_eq!(queue(key, &json!(number.to_string())), Ok(set(number)), "{key} as EAS writes numbers");
            }
            let beyond = [json!(least as i64 - 1), json!(most + 1)];
            for value in beyond.into_iter().chain([json!("many"), json!(1.5), json!(true)]) {
                let told = queue(key, &value).unwrap_err();
                let range = format!("expected an integer from {least} to {most}");
                assert!(told.starts_with(&format!("queue.{key}: found {value}, {range}")), "{told}");
            }
        }
    }

    #[test]
    fn a_key_of_queues_is_a_mistake_without_the_type_for_it() {
        for (key, _, most, _) in KEYS {
            for standard in [json!(null), json!("Standard")] {
                let told = parse(json!({"metadata.type": standard, "queue": { key: most }})).unwrap_err().to_string();
                let sentence = "given without metadata.type \"Async\": only an asynchronous service has queues";
                assert_eq!(told, format!("queue.{key}: {sentence}"));
            }
        }
    }

    #[test]
    fn keys_of_eas_queues_without_a_meaning_are_ignored_in_every_service() {
        for of_type in ["Standard", "Async"] {
            let queue = json!({"cpu": 1, "memory": 4000, "resource": "r", "source": {"a": 1}, "sink": {}});
            let file = parse(json!({"metadata.type": of_type, "queue": queue})).unwrap();
            let ignored = ["queue.cpu", "queue.memory", "queue.resource", "queue.source", "queue.sink"];
            assert_eq!(file.ignored(), ignored);
        }
    }

    #[test]
    fn what_is_only_for_calls_with_an_answer_is_a_mistake_beside_queues() {
        for (key, value, told) in [
            (
                "metadata.rpc.batching",
                json!(true),
                "true, while metadata.type is \"Async\": such a service is called by a put into its queue, and the \
                 processor gets each item by itself",
            ),
            (
                "metadata.rpc.mirror.target",
                json!("b"),
                "given, while metadata.type is \"Async\": such a service is called by a put into its queue, and puts are \
                 not copied",
            ),
            (
                "metadata.rpc.mirror.ratio",
                json!(50),
                "given, while metadata.type is \"Async\": such a service is called by a put into its queue, and puts are \
                 not copied",
            ),
            (
                "metadata.group",
                json!("g"),
                "given, while metadata.type is \"Async\": such a service is called by a put into its queue, and a group \
                 does not share puts among its members",
            ),
        ] {
            assert!(parse(json!({ key: value })).is_ok(), "{key}");
            let mistakes = parse(json!({ key: value, "metadata.type": "async" })).unwrap_err();
            assert_eq!(mistakes.to_string(), format!("{key}: {told}"));
        }
        assert!(parse(json!({"metadata": {"type": "Async", "rpc": {"batching": false}}})).is_ok());
    }

    #[test]
    fn a_change_of_the_type_alone_leaves_no_queue_behind() {
        let file = parse(json!({"metadata.type": "Async", "queue": {"length": 5, "cpu": 1}})).unwrap();
        let told = file.merge(&json!({"metadata.type": null})).unwrap_err().to_string();
        assert!(told.starts_with("queue.length: given without metadata.type"), "{told}");
        let standard = file.merge(&json!({"metadata.type": null, "queue": null})).unwrap();
        assert_eq!(standard.spec().queue(), None);
    }
}
