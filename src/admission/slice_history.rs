//! A prediction for work of one kind: that it outlasts its first slice.

use std::sync::atomic::{AtomicU32, Ordering};

/// The record of earlier work of one kind. Work that usually outlasts its first slice should not begin on a network
/// thread. Only several pieces of work in a row change the prediction, so that a single exception does not.
#[derive(Debug, Default)]
pub struct SliceHistory(AtomicU32);

/// Points for work that outlasted its first slice. Other work takes one point away. So the prediction changes when
/// about a third of the work is long. From that share on, moving long work after its first slice costs more than short
/// work gains.
const LONG: u32 = 2;
const MOST: u32 = 16;
/// At this number of points work is predicted to be long, until the points fall to `TURN_SHORT`.
const TURN_LONG: u32 = 12;
const TURN_SHORT: u32 = 4;
/// The flag beside the points, set while work is predicted to be long.
const IS_LONG: u32 = 1 << 31;

impl SliceHistory {
    /// True if the next piece of work should begin in the background.
    pub(super) fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed) & IS_LONG != 0
    }

    /// Records a piece of work. Two threads may overwrite each other's update; the prediction is only an estimate.
    pub(super) fn note(&self, outlasted: bool) {
        let known = self.0.load(Ordering::Relaxed);
        let points = known & !IS_LONG;
        let points = if outlasted { (points + LONG).min(MOST) } else { points.saturating_sub(1) };
        let is_long = if known & IS_LONG == 0 { points >= TURN_LONG } else { points > TURN_SHORT };
        let new = points | if is_long { IS_LONG } else { 0 };
        // Short work, the usual case, writes nothing.
        if new != known {
            self.0.store(new, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(slice_history: &SliceHistory, outlasted: bool, times: usize) -> bool {
        for _ in 0..times {
            slice_history.note(outlasted);
        }
        slice_history.is_long()
    }

    #[test]
    fn an_exception_changes_nothing_and_a_habit_does() {
        let slice_history = SliceHistory::default();
        assert!(!note(&slice_history, true, 5), "five long ones could be chance");
        assert!(note(&slice_history, true, 1));
        assert!(note(&slice_history, true, 100));
        assert!(note(&slice_history, false, 11), "eleven short ones could be chance");
        assert!(!note(&slice_history, false, 1));
        assert!(!note(&slice_history, true, 3), "it is as hard to turn again");
        assert!(note(&slice_history, true, 1));
    }
}
