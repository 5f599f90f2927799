//! The service or route to which a request is assigned.

use std::sync::Arc;

use crate::gateway::Route;
use crate::registry::Service;
use crate::telemetry::ServiceMetrics;
use crate::threads::ShardRef;

/// The service or route that answers a request, and that counts it.
#[derive(Clone)]
pub(crate) enum Owner {
    Service(ShardRef<Service>),
    Route(ShardRef<Route>),
}

impl Owner {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Service(service) => service.name(),
            Self::Route(route) => route.service(),
        }
    }

    pub(crate) fn metrics(&self) -> &Arc<ServiceMetrics> {
        match self {
            Self::Service(service) => service.metrics(),
            Self::Route(route) => route.metrics(),
        }
    }
}
