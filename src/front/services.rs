//! Who answers for a name: a service of this host, or a route to others.

use std::sync::Arc;

use crate::gateway::{Gateway, Route};
use crate::refusal::{Looked, Refusal};
use crate::registry::{Registry, ServiceState, Unresolved};
use crate::threads::ShardRef;

/// What this process answers for. One of the two is there, or both: then its own services come first.
#[derive(Clone, Default)]
pub struct Services {
    pub local: Option<Arc<Registry>>,
    pub elsewhere: Option<Arc<Gateway>>,
}

/// Where a request goes.
pub(super) enum Destination {
    Service(ServiceState),
    Route(ShardRef<Route>),
}

impl Services {
    /// Why a name leads nowhere.
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
