//! Texts that several commands print.

use crate::api::{Canary, Deployed, LastFault, Mirror, Word};
use crate::config::TrafficState;

/// The value of a column of EAS's tables that has no meaning here.
pub(super) const NOTHING: &str = "-";

/// The state of a running service of which workers have no guest.
pub(super) const DEGRADED: &str = "Degraded";

/// The state with a capital first letter, as EAS writes it.
pub(super) fn capitalised(state: &str) -> String {
    let mut chars = state.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// The group of a service and its weight in the group; dashes if it is in no group.
pub(super) fn part(group: Option<String>, weight: u16, traffic_state: &Word<TrafficState>) -> (String, String) {
    match group {
        None => (NOTHING.to_owned(), NOTHING.to_owned()),
        Some(group) if *traffic_state == TrafficState::Standalone => (group, traffic_state.to_string()),
        Some(group) => (group, weight.to_string()),
    }
}

pub(super) fn canary(canary: Canary) -> String {
    format!("version {} is a canary with {} % of the requests", canary.version, canary.weight)
}

/// Says that a changed service does not run.
pub(super) fn stopped(Deployed { name, version, sink_url, processor, .. }: &Deployed) -> String {
    if sink_url.is_some() && processor.is_none() {
        return format!(
            "service `{name}` has version {version}: a queue without a processor; clients put items in and take them out"
        );
    }
    format!("service `{name}` has version {version}; it is stopped, and `bulkhead start {name}` starts it")
}

pub(super) fn mirror(mirror: &Mirror) -> String {
    format!("{} % of the requests are copied to `{}`", mirror.ratio, mirror.target)
}

/// Describes the last fault; a dash if there was none.
pub(super) fn last_fault(fault: Option<&LastFault>) -> String {
    let told = |fault: &LastFault| format!("{} (request {}, {})", fault.error, fault.request_id, fault.at);
    fault.map_or_else(|| NOTHING.to_owned(), told)
}
