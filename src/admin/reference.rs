//! The reference page of the metrics, made from their table and the values of their labels.

use bulkhead_pages::generated::{check, code, table};

use crate::{gateway, registry, telemetry};

#[test]
fn the_page_is_what_the_code_says() {
    let values = |values: Vec<(&str, &str)>| {
        table(["value", "meaning"], values.into_iter().map(|(value, meaning)| [code(value), meaning.to_owned()]))
    };
    let mut parts: Vec<(&str, String)> = telemetry::reference::tables().into();
    parts.push(("faults", values(registry::reference::faults())));
    parts.push(("recycle reasons", values(registry::reference::recycle_reasons())));
    parts.push(("failures", values(gateway::reference::failures())));
    check("docs/reference/metrics.md", &parts);
}
