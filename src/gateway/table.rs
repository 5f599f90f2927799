//! The table of routes: made from the gateway's file, and read by every request.

use std::collections::HashMap;
use std::sync::Arc;

use super::Route;
use super::cluster::Cluster;
use crate::config::{ANY_SERVICE, GatewaySpec};
use crate::policy::{LimitOf, Policy};
use crate::telemetry::ServiceMetrics;
use crate::threads::{ShardRef, ShardedArc};

#[derive(Default)]
pub(super) struct Table {
    routes: HashMap<Box<str>, ShardedArc<Route>>,
    /// The route of every service that has none of its own.
    any: Option<ShardedArc<Route>>,
    clusters: Vec<Arc<Cluster>>,
}

impl Table {
    /// Makes a table from a file. Clusters that are the same in the table `before` are taken over from it, and so are
    /// the counts of routes.
    pub(super) fn of(
        spec: &GatewaySpec,
        before: &Self,
        via: &str,
        mut account: impl FnMut(&str) -> Arc<ServiceMetrics>,
    ) -> Self {
        let clusters: Vec<Arc<Cluster>> = spec
            .clusters()
            .iter()
            .map(|wanted| match before.clusters.iter().find(|cluster| cluster.spec == *wanted) {
                Some(same) => Arc::clone(same),
                None => Arc::new(Cluster::start(wanted.clone())),
            })
            .collect();
        let (mut routes, mut any) = (HashMap::new(), None);
        for route in spec.routes() {
            let Some(cluster) = clusters.iter().find(|cluster| cluster.spec.name == route.cluster) else { continue };
            let service = route.service.as_str();
            let old = if service == ANY_SERVICE { before.any.as_ref() } else { before.routes.get(service) };
            let made = ShardedArc::from(Arc::new(Route {
                service: service.into(),
                cluster: Arc::clone(cluster),
                policy: Policy::of(LimitOf::Route, route.policy, old.map(|old| &old.policy)),
                half_close: route.half_close,
                metrics: account(service),
                via: via.into(),
            }));
            if service == ANY_SERVICE {
                any = Some(made);
            } else {
                routes.insert(service.into(), made);
            }
        }
        Self { routes, any, clusters }
    }

    pub(super) fn find(&self, service: &str) -> Option<ShardRef<Route>> {
        self.routes.get(service).or(self.any.as_ref()).map(ShardedArc::hold)
    }

    pub(super) fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.iter()
    }

    /// Returns the routes by name. The one for all others comes first.
    pub(super) fn routes(&self) -> Vec<&Arc<Route>> {
        let mut routes: Vec<_> = self.any.iter().chain(self.routes.values()).map(|route| &**route).collect();
        routes.sort_by(|a, b| a.service.cmp(&b.service));
        routes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &str, before: &Table) -> Table {
        let text = format!(
            r#"{{"clusters": {{
                "a": {{"upstreams": ["127.0.0.1:1"], "health_check": {{"interval_ms": 0}}}},
                "b": {{"upstreams": ["127.0.0.1:2"], "health_check": {{"interval_ms": 0}}}}}}, "routes": {routes}}}"#
        );
        Table::of(&GatewaySpec::parse(&text).unwrap(), before, "via", |_| Arc::default())
    }

    #[test]
    fn a_route_of_its_own_comes_before_the_one_for_all_others() {
        let all = table(r#"{"*": "b", "x": "a", "g.x": "a"}"#, &Table::default());
        let cluster = |service| all.find(service).map(|route| (route.service.clone(), route.cluster.spec.name.clone()));
        assert_eq!(cluster("x"), Some(("x".into(), "a".into())));
        assert_eq!(cluster("g.x"), Some(("g.x".into(), "a".into())));
        assert_eq!(cluster("y"), Some(("*".into(), "b".into())));
        let only = table(r#"{"x": "a"}"#, &Table::default());
        assert!(only.find("y").is_none());
    }

    #[test]
    fn what_stays_as_it_is_goes_on() {
        let before = table(r#"{"x": {"cluster": "a", "concurrency_limit": 1}}"#, &Table::default());
        let _entered = before.find("x").unwrap().enter().unwrap();
        let after = table(r#"{"x": {"cluster": "b", "concurrency_limit": 1}}"#, &before);
        assert!(after.clusters().zip(before.clusters()).all(|(a, b)| Arc::ptr_eq(a, b)));
        assert!(after.find("x").unwrap().enter().is_err(), "a request under way is counted on");
        assert_eq!(after.routes().len(), 1);
    }
}
