//! Turns by shares: one counter, no lock, no randomness.
//!
//! The turns walk around a circle of `total` places in steps near its golden section. A step without a common divisor
//! with the circle reaches every place once per round, so that after each round every participant has had exactly its
//! share. With steps of this length, no participant waits much longer than its share requires (the three-distance
//! theorem).

use std::sync::atomic::{AtomicU64, Ordering};

/// The turns around one circle. Several threads may take turns; each turn is taken once.
#[derive(Debug)]
pub(in crate::registry) struct FairShares {
    total: u64,
    step: u64,
    taken: AtomicU64,
}

impl FairShares {
    /// Makes a circle of `total` places, which is at least 1 and far below 2^32.
    pub(in crate::registry) fn around(total: u64) -> Self {
        let total = total.max(1);
        // 0.618…, the golden section, in thousandths: circles are small.
        let golden = total * 618 / 1000;
        let step = (golden.max(1)..).find(|step| greatest_divisor(*step, total) == 1).unwrap_or(1);
        Self { total, step, taken: AtomicU64::new(0) }
    }

    /// Returns the place of the next turn, below the circle's total.
    pub(in crate::registry) fn next(&self) -> u64 {
        let turn = self.taken.fetch_add(1, Ordering::Relaxed) % self.total;
        // The first turn is not at place 0, so that a small share at the circle's beginning does not come first.
        (turn + 1) * self.step % self.total
    }
}

pub(in crate::registry) fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_one_turn_a_round() {
        for total in [1, 2, 3, 7, 10, 100, 101, 2000, 64_000] {
            let turns = FairShares::around(total);
            for round in 0..2 {
                let mut places: Vec<u64> = (0..total).map(|_| turns.next()).collect();
                places.sort_unstable();
                assert!(places.into_iter().eq(0..total), "round {round} of {total}");
            }
        }
    }

    #[test]
    fn a_share_comes_evenly_and_never_runs_two_turns_ahead_or_behind() {
        for weight in 0..=100 {
            let turns = FairShares::around(100);
            let mut had = 0_i64;
            for turn in 1..=1000 {
                had += i64::from(turns.next() < weight);
                let due = turn * i64::try_from(weight).unwrap();
                assert!((had * 100 - due).abs() < 200, "after {turn} turns at {weight} %: {had}");
            }
            assert_eq!(had, i64::try_from(weight).unwrap() * 10);
        }
    }
}
