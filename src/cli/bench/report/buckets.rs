//! The buckets of a histogram, and their bars in text.

use std::fmt::Write;
use std::time::Duration;

use super::super::tally::Times;
use crate::cli::screen::duration;

const BAR: usize = 40;
/// Most buckets of a histogram; more would be hard to read.
const MAX_BUCKETS: usize = 24;
/// Buckets for each power of ten, finest first: the first that needs at most [`MAX_BUCKETS`] is used.
const STEPS: [u32; 4] = [20, 10, 5, 3];

/// Upper bounds of the buckets and their counts, from the first bucket that is needed to the last. The scale is
/// logarithmic; the closer together the times are, the finer it is.
pub(in crate::cli::bench) fn buckets(times: &Times) -> Vec<(Duration, u64)> {
    if times.is_empty() {
        return Vec::new();
    }
    let least = times.lowest_equivalent(times.min());
    let most = times.highest_equivalent(times.max());
    let needed = STEPS.map(|steps| bounds(least, most, steps));
    let fits = needed.iter().position(|bounds| bounds.len() <= MAX_BUCKETS);
    let bounds = &needed[fits.unwrap_or(STEPS.len() - 1)];
    let mut counts = vec![0; bounds.len()];
    for time in times.iter_recorded() {
        let value = times.lowest_equivalent(time.value_iterated_to());
        counts[bounds.partition_point(|bound| *bound <= value).min(bounds.len() - 1)] += time.count_at_value();
    }
    bounds.iter().map(|bound| Duration::from_nanos(*bound)).zip(counts).collect()
}

/// Bounds that divide each power of ten into `steps`, from the first above `least` to the first above `most`.
fn bounds(least: u64, most: u64, steps: u32) -> Vec<u64> {
    let bound = |index: i32| {
        let (power, step) = (index.div_euclid(steps as i32), index.rem_euclid(steps as i32));
        let within = match (steps, step) {
            // The usual steps: 1, 2, 5.
            (3, 1) => 2.0,
            (3, 2) => 5.0,
            _ => 10_f64.powf(f64::from(step) / f64::from(steps)),
        };
        (within * 10_f64.powi(power)).round() as u64
    };
    // Times begin at a microsecond and end at an hour.
    let all = (2 * steps as i32..=13 * steps as i32).map(bound);
    let mut needed: Vec<u64> = all.skip_while(|bound| *bound <= least).collect();
    let end = needed.partition_point(|bound| *bound <= most);
    needed.truncate(end + 1);
    needed
}

pub(super) fn bars(text: &mut String, times: &Times) {
    let buckets = buckets(times);
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    for (bound, count) in buckets {
        // A bucket that is not empty has a bar of at least one mark.
        let width = (count as f64 / most as f64 * BAR as f64).round() as usize;
        let bar = "█".repeat(if count > 0 { width.max(1) } else { 0 });
        let _ = writeln!(text, "  < {:>8} {bar:BAR$} {count}", duration(bound));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tally::times;
    use super::*;

    #[test]
    fn buckets_hold_everything_once() {
        let mut times = times();
        for nanos in (150_000..200_000).step_by(1_000).chain([1_000, 999_999, 1_000_000, 7_000_000_000]) {
            times.saturating_record(nanos);
        }
        let buckets = buckets(&times);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), times.len());
        assert_eq!(buckets.last().unwrap().0, Duration::from_secs(10));
        assert!(buckets.len() <= MAX_BUCKETS, "{buckets:?}");
    }

    /// The times of one service mostly lie within a power of ten; a single bucket for all of them would show nothing.
    #[test]
    fn times_that_lie_together_are_told_apart() {
        let mut times = times();
        assert_eq!(buckets(&times), []);
        for micros in 400..1600 {
            times.saturating_record(micros * 1000);
        }
        let spread = buckets(&times);
        let most = spread.iter().map(|(_, count)| *count).max().unwrap();
        assert!(spread.len() >= 10 && most < 250, "{spread:?}");
        let ratios = spread.windows(2).map(|pair| pair[1].0.as_secs_f64() / pair[0].0.as_secs_f64());
        assert!(ratios.clone().all(|ratio| (1.11..1.14).contains(&ratio)), "{:?}", ratios.collect::<Vec<_>>());
    }
}
