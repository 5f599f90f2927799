//! Resolves the name in a request: to a service of this host, or to a route of its gateway.

use std::sync::Arc;

use crate::gateway::{Gateway, Route};
use crate::refusal::{Looked, Refusal};
use crate::registry::{Registry, ServiceState, Unresolved};
use crate::threads::ShardRef;

/// The services and routes of this process. At least one of the two is set. If both are, the services come first.
#[derive(Clone, Default)]
pub struct Services {
    pub local: Option<Arc<Registry>>,
    pub elsewhere: Option<Arc<Gateway>>,
}

/// The target of a request.
pub(super) enum Destination {
    Service(ServiceState),
    Route(ShardRef<Route>),
}

impl Services {
    /// Returns the refusal for a name that does not resolve.
    pub(super) fn unresolved(&self, why: Unresolved, name: &str) -> Refusal {
        let looked = match (&self.local, &self.elsewhere) {
            (_, None) => Looked::Services,
            (None, Some(_)) => Looked::Routes,
            (Some(_), Some(_)) => Looked::ServicesAndRoutes,
        };
        Refusal::unresolved(why, name, looked)
    }

    pub(super) fn find(&self, name: &str) -> Result<Destination, Unresolved> {
        let here = self.local.as_ref().map_or(Err(Unresolved::Unknown), |local| local.resolve(name));
        match (here, &self.elsewhere) {
            (Ok(looked), _) => Ok(Destination::Service(looked)),
            (Err(Unresolved::Unknown), Some(elsewhere)) => {
                elsewhere.find(name).map(Destination::Route).ok_or(Unresolved::Unknown)
            }
            (Err(why), _) => Err(why),
        }
    }
}
