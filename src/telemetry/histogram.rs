//! A histogram of times, filled without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in microseconds: from a warm echo to the longest deadline in use.
const BOUNDS_US: [u64; 16] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One count for each bound, and a last one for the times above all bounds.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_nanos: AtomicU64,
}

/// A histogram as it stood at one moment.
pub(super) struct Snapshot {
    pub(super) sum_seconds: f64,
    pub(super) count: u64,
    /// Each upper bound in seconds, with the number of measured times between the bound before and this one.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub(super) fn record(&self, time: Duration) {
        let micros = time.as_secs().saturating_mul(1_000_000) + u64::from(time.subsec_micros());
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Adds up several histograms.
    pub(super) fn snapshot<'a>(all: impl Iterator<Item = &'a Self>) -> Snapshot {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let mut counts = [0; BOUNDS_US.len() + 1];
        let mut sum_nanos: u64 = 0;
        for one in all {
            for (sum, count) in counts.iter_mut().zip(&one.counts) {
                *sum += count.load(Ordering::Relaxed);
            }
            sum_nanos = sum_nanos.saturating_add(one.sum_nanos.load(Ordering::Relaxed));
        }
        Snapshot {
            sum_seconds: sum_nanos as f64 / 1e9,
            count: counts.iter().sum(),
            buckets: bounds.zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_under_the_first_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for micros in [0, 25, 26, 1_000, 31_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let other = Histogram::default();
        other.record(Duration::from_micros(50));
        let snapshot = Histogram::snapshot([&histogram, &other].into_iter());
        let filled: Vec<(f64, u64)> = snapshot.buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(25e-6, 2), (50e-6, 2), (1e-3, 1), (f64::INFINITY, 1)]);
        assert_eq!(snapshot.count, 6);
        assert!((snapshot.sum_seconds - 31.001_101).abs() < 1e-9);
    }
}
