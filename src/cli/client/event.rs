//! The lines of a deploy that is under way.

use serde::Deserialize;
use serde_json::Value;

use crate::cli::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Progress {
        step: String,
        #[serde(default)]
        detail: String,
    },
    /// Something worth knowing that keeps nothing from going well.
    Notice {
        text: String,
    },
    Done {
        result: Value,
    },
    Failed {
        problem: Problem,
    },
    /// A newer server may tell more; what this program does not know it passes over.
    #[serde(other)]
    Other,
}
