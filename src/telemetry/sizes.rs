//! A histogram of batches by their size.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds in requests, up to the largest batch that a service may ask for.
const BOUNDS: [usize; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

#[derive(Debug, Default)]
pub(super) struct Sizes {
    counts: [AtomicU64; BOUNDS.len()],
    sum: AtomicU64,
}

/// A histogram as it stood at one moment.
pub(super) struct Snapshot {
    pub(super) sum: f64,
    pub(super) count: u64,
    /// Each upper bound, with the number of batches between the bound before and this one.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Sizes {
    pub(super) fn record(&self, size: usize) {
        let bucket = BOUNDS.partition_point(|bound| *bound < size).min(BOUNDS.len() - 1);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(size as u64, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let bounds = BOUNDS.iter().map(|bound| *bound as f64);
        Snapshot {
            sum: self.sum.load(Ordering::Relaxed) as f64,
            count: counts.iter().sum(),
            buckets: bounds.zip(counts).chain([(f64::INFINITY, 0)]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_falls_under_the_first_bound_it_does_not_exceed() {
        let sizes = Sizes::default();
        for size in [1, 2, 3, 4, 4096] {
            sizes.record(size);
        }
        let Snapshot { sum, count, buckets } = sizes.snapshot();
        assert_eq!((sum, count), (4106.0, 5));
        assert_eq!(buckets[..4], [(1.0, 1), (2.0, 1), (4.0, 2), (8.0, 0)]);
        assert_eq!(buckets[12], (4096.0, 1));
    }
}
