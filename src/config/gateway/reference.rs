//! The reference page of the gateway's file, made from its tables of keys.

use std::collections::BTreeSet;

use bulkhead_pages::Page;
use bulkhead_pages::generated::{check, code, prose, table};
use serde_json::Value;

use super::table::{CLUSTER, ROUTE, TOP, UPSTREAM};
use super::{Authority, ClusterSpec, GatewaySpec, MOST_NAMES, MOST_UPSTREAMS};
use crate::config::keys::{Key, Table};
use crate::config::kind::Kind;
use crate::config::reference::{keys_table, thousands, value};

const PAGE: &str = "docs/reference/gateway-file.md";

#[test]
fn the_page_is_what_the_code_says() {
    let keys = |table: Table| keys_table(table.iter(), accepted);
    let top = TOP.iter().map(|key| [code(key.path), accepted(key), prose(key.meaning)]);
    let top = table(["key", "value", "meaning"], top);
    let parts = [("file", top), ("cluster", keys(CLUSTER)), ("upstream", keys(UPSTREAM)), ("route", keys(ROUTE))];
    check(PAGE, &parts);
}

/// The values of a key. Those of kind `Any` are read by code of their own.
fn accepted(key: &Key) -> String {
    match (key.kind, key.path) {
        (Kind::Any, "clusters" | "routes") => format!("object, 1 to {} names", thousands(MOST_NAMES as u64)),
        (Kind::Any, "upstreams") => format!("list, 1 to {MOST_UPSTREAMS} upstreams"),
        (Kind::Any, "address" | "health_address") => Authority::ACCEPTED.to_owned(),
        (Kind::Any, other) => panic!("src/config/gateway/reference.rs says nothing about the values of {other}"),
        (Kind::Location, "health_check.path") => "a path such as `/readyz`".to_owned(),
        (Kind::Location, "cluster") => "the name of a cluster".to_owned(),
        (kind, _) => value(kind),
    }
}

/// The example has every key. Its keys of clusters have their defaults.
#[test]
fn the_example_has_every_key_and_the_defaults_of_clusters() {
    let page = Page::read(PAGE);
    let blocks = page.blocks();
    let example = &blocks.iter().find(|block| block.is("json")).expect("an example").text;
    let spec = GatewaySpec::parse(example).unwrap_or_else(|mistakes| panic!("the example of {PAGE}: {mistakes}"));
    let [ml, edge] = spec.clusters() else { panic!("the example has other clusters: {spec:?}") };
    let alike = ClusterSpec { name: edge.name.clone(), upstreams: edge.upstreams.clone(), ..ml.clone() };
    let bare = |cluster: ClusterSpec| ClusterSpec { health_check: None, ..cluster };
    assert_eq!(bare(alike), bare(edge.clone()), "the example of {PAGE} has other values than the defaults");

    let example: Value = serde_json::from_str(example).expect("it was read before");
    let cluster = &example["clusters"]["ml"];
    let route = example["routes"].as_object().and_then(|routes| routes.values().find(|route| route.is_object()));
    for (part, table) in [(cluster, CLUSTER), (&cluster["upstreams"][0], UPSTREAM), (route.expect("a route"), ROUTE)] {
        let known: BTreeSet<&str> = table.iter().map(|key| key.path).collect();
        let shown = |path: &str| path.split('.').try_fold(part, |part, name| part.get(name)).is_some();
        let missing: Vec<_> = known.into_iter().filter(|path| !shown(path)).collect();
        assert!(missing.is_empty(), "the example of {PAGE} does not show {missing:?}");
    }
}
