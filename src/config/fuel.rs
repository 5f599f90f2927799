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
    /// The fuel of a call that answers as a whole.
    pub(super) fn of_call(settings: &Settings<'_>) -> Self {
        Self::given(settings).unwrap_or_else(|| Self::of_millis(longest_millis(settings)))
    }

    /// The fuel of a call that may stream its answer.
    pub(super) fn of_stream(settings: &Settings<'_>) -> Self {
        let longest = longest_millis(settings) + settings.integer("sandbox.stream_total_ms");
        Self::given(settings).unwrap_or_else(|| Self::of_millis(longest))
    }

    fn given(settings: &Settings<'_>) -> Option<Self> {
        Some(match settings.given("sandbox.fuel")? {
            Value::String(word) if word == UNLIMITED => Self::Unlimited,
            _ => Self::Metered(settings.integer("sandbox.fuel")),
        })
    }

    /// The fuel for this time, in seconds that have begun.
    fn of_millis(longest: u64) -> Self {
        Self::Metered(PER_SECOND * longest.div_ceil(1000))
    }
}

/// The longest time of a request until its answer begins.
fn longest_millis(settings: &Settings<'_>) -> u64 {
    settings.integer(if queue::is_async(settings) { "queue.timeout_ms" } else { "metadata.rpc.keepalive" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{ServiceFile, keys};

    #[test]
    fn a_processor_that_can_stream_has_fuel_for_the_whole_stream() {
        let stream_fuel = |more: Value| {
            let mut file = json!({"name": "a", "processor_path": "a.wasm"});
            file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ServiceFile::from_value(&file).unwrap().spec().sandbox().stream_fuel
        };
        assert_eq!(stream_fuel(json!({})), Fuel::Metered(605 * PER_SECOND));
        assert_eq!(stream_fuel(json!({"sandbox.stream_total_ms": 1})), Fuel::Metered(6 * PER_SECOND));
        assert_eq!(stream_fuel(json!({"sandbox.fuel": 7})), Fuel::Metered(7));
        assert_eq!(stream_fuel(json!({"sandbox.fuel": "unlimited"})), Fuel::Unlimited);
    }

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
