//! The values of labels of guests, for the reference page of the metrics.

use super::run::faults::labels;
use crate::sandbox;

/// The kinds of faults for which guests are replaced, each with its meaning.
pub(crate) fn faults() -> Vec<(&'static str, &'static str)> {
    sandbox::reference::faults().into_iter().chain(labels::kinds()).collect()
}

/// The reasons for which intact guests are replaced, each with its meaning.
pub(crate) fn recycle_reasons() -> Vec<(&'static str, &'static str)> {
    sandbox::reference::recycle_reasons()
}
