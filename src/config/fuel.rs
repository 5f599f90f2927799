//! The fuel of a request. If it is not given, it depends on the longest time of a request.

use serde_json::Value;

use super::{kind::UNLIMITED, queue, settings::Settings};

/// Fuel for a second of a request. Most code uses less, so that the deadline comes first.
const PER_SECOND: u64 = 20_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuel {
    /// The fuel of one request; never 0.
    Metered(u64),
    Unlimited,
}

impl Fuel {
    pub(super) fn of(settings: &Settings<'_>) -> Self {
        match settings.given("sandbox.fuel") {
            Some(Value::String(word)) if word == UNLIMITED => Self::Unlimited,
            Some(_) => Self::Metered(settings.integer("sandbox.fuel")),
            None => Self::Metered(PER_SECOND * longest_seconds(settings)),
        }
    }
}

/// The longest time of a request, in seconds that have begun.
fn longest_seconds(settings: &Settings<'_>) -> u64 {
    let key = if queue::is_async(settings) { "queue.timeout_ms" } else { "metadata.rpc.keepalive" };
    settings.integer(key).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{ServiceFile, keys};

    fn fuel(more: Value) -> Fuel {
        let mut file = json!({"name": "a", "processor_path": "a.wasm"});
        let Value::Object(more) = more else { panic!("{more} is no object") };
        file.as_object_mut().unwrap().extend(more);
        ServiceFile::from_value(&file).unwrap().spec().sandbox().fuel
    }

    #[test]
    fn the_default_grows_with_the_longest_time_of_a_request() {
        for (keepalive_ms, seconds) in
            [(1, 1), (600, 1), (1000, 1), (1001, 2), (5000, 5), (600_000, 600), (3_600_000, 3600)]
        {
            let expected = Fuel::Metered(seconds * 20_000_000_000);
            assert_eq!(fuel(json!({"metadata.rpc.keepalive": keepalive_ms})), expected, "{keepalive_ms} ms");
        }
        assert_eq!(fuel(json!({})), Fuel::Metered(100_000_000_000), "5 s are the default");
    }

    #[test]
    fn an_asynchronous_service_has_fuel_for_the_time_of_an_item() {
        let asynchronous = json!({"metadata": {"type": "Async", "rpc": {"keepalive": 1000}}});
        assert_eq!(fuel(asynchronous), Fuel::Metered(12_000_000_000_000), "600 s, whatever a put may take");
        let longest = json!({"metadata.type": "async", "queue.timeout_ms": 86_400_000});
        assert_eq!(fuel(longest), Fuel::Metered(1_728_000_000_000_000));
    }

    #[test]
    fn fuel_that_is_given_counts() {
        for more in [json!({}), json!({"type": "Async"}), json!({"rpc.keepalive": 600_000})] {
            let with = |fuel: Value| self::fuel(json!({"metadata": more, "sandbox.fuel": fuel}));
            assert_eq!(with(json!(7)), Fuel::Metered(7));
            assert_eq!(with(json!("18446744073709551615")), Fuel::Metered(u64::MAX));
            assert_eq!(with(json!("unlimited")), Fuel::Unlimited);
        }
    }

    #[test]
    fn the_meaning_of_the_key_has_the_rule() {
        let key = keys::key(keys::KEYS, "sandbox.fuel");
        assert_eq!((PER_SECOND, key.default), (20_000_000_000, None));
        assert!(key.meaning.contains("20,000,000,000 for each second"), "{}", key.meaning);
    }
}
