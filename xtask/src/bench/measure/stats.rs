//! Medians and percentiles. Means would be distorted by other processes on the machine.

use std::time::Duration;

use serde_json::{Value, json};

/// The median of several runs, with minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Summarises at least one value.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        assert!(!values.is_empty(), "there is no middle of nothing");
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Self { median, least: values[0], most: values[values.len() - 1] }
    }

    pub(super) fn values(self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }
}

/// The shares of calls at which a latency curve has a point.
pub(super) const CURVE: [f64; 13] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999];

/// Percentiles of the times of many calls.
pub(super) struct Times {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
    pub(super) most: Duration,
}

impl Times {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self::of_sorted(&times)
    }

    pub(super) fn of_sorted(times: &[Duration]) -> Self {
        let at = |share| percentile(times, share);
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), most: at(1.0) }
    }

    pub(super) fn text(&self) -> String {
        let [p50, p99, most] = [self.p50, self.p99, self.most].map(millis);
        format!("p50 {p50:.3}, p99 {p99:.3}, worst {most:.3} ms")
    }

    pub(super) fn values(&self) -> Value {
        json!({ "p50_us": micros(self.p50), "p99_us": micros(self.p99), "p999_us": micros(self.p999), "most_us": micros(self.most) })
    }
}

/// Returns the least of the sorted times that `share` of them do not exceed.
pub(super) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    assert!(!sorted.is_empty(), "there is no percentile of nothing");
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]).median, 2.5);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&times, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&times[..1], 0.999), Duration::from_millis(1));
    }
}
