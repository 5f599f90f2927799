//! Whether the work of one kind usually outlasts its first slice.

use std::sync::atomic::{AtomicU32, Ordering};

/// What is known of earlier pieces of work of the same kind: those that usually outlast their first slice had better not
/// begin on a network thread. It takes several in a row to change the opinion, so that an exception does not.
#[derive(Debug, Default)]
pub struct SliceHistory(AtomicU32);

/// Points for one that outlasted its first slice; one that did not takes a single point away. So the opinion turns when
/// about a third of the work is long, where moving it half-way would cost more than the short ones gain.
const LONG: u32 = 2;
const MOST: u32 = 16;
/// From here on work is taken to be long, until its points have fallen to `SHORT`.
const TURN_LONG: u32 = 12;
const TURN_SHORT: u32 = 4;
/// Set beside the points while work is taken to be long.
const IS_LONG: u32 = 1 << 31;

impl SliceHistory {
    /// Whether the next piece had better begin in the background.
    pub(super) fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed) & IS_LONG != 0
    }

    /// A piece of work outlasted its first slice, or did not. Two threads may forget each other's word; it is an opinion.
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
