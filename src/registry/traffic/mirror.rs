//! Copies of a service's requests for another one, whose answers nobody sees.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fair_shares::FairShares;
use crate::registry::change::ChangeError;
use crate::registry::change::deploy::percent;
use crate::registry::change::plan::Plan;
use crate::registry::change::request::ChangeRequest;
use crate::registry::service::Service;
use crate::registry::{Registry, now};
use crate::storage::{MirrorRecord, Record};
use crate::telemetry::ServiceMetrics;

/// Copies of one service's requests under way at once; what would be one more is dropped. Each holds a body, and a target
/// that is slower than its source must not make them pile up.
pub(in crate::registry) const COPIES_UNDER_WAY: usize = 16;

/// Where copies go, and how many of the requests are copied.
pub struct Mirror {
    pub target: Box<str>,
    ratio: u8,
    turns: FairShares,
    places: Arc<Semaphore>,
}

impl Mirror {
    pub(in crate::registry) fn new(record: &MirrorRecord, places: Arc<Semaphore>) -> Self {
        Self { target: record.target.as_str().into(), ratio: record.ratio, turns: FairShares::around(100), places }
    }

    /// A place for a copy of this request, if it is one to be copied and there is a place. `source` is told of one that is
    /// dropped.
    pub fn place(&self, source: &ServiceMetrics) -> Option<OwnedSemaphorePermit> {
        if self.turns.next() >= u64::from(self.ratio) {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        if place.is_none() {
            source.mirror_dropped();
        }
        place
    }
}

impl Registry {
    /// Begins to copy requests, or ends it. No version is made, and no guest is touched.
    pub async fn set_mirror(
        &self,
        name: &str,
        request: &ChangeRequest,
        mirror: Option<(String, u64)>,
    ) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let mirror = match mirror {
            None => None,
            Some((target, ratio)) => Some(MirrorRecord { target, ratio: percent("ratio", ratio)? }),
        };
        self.check_mirror(name, mirror.as_ref())?;
        let record = Record { mirror, updated_at: now(), ..Record::clone(&service.state().record) };
        self.apply(&service, &lock, Plan::of_record(record), &|_| {}).await?;
        Ok(service)
    }

    pub(in crate::registry) fn check_mirror(
        &self,
        name: &str,
        mirror: Option<&MirrorRecord>,
    ) -> Result<(), ChangeError> {
        match mirror {
            Some(MirrorRecord { target, .. }) if target == name => Err(ChangeError::MirrorsItself),
            Some(MirrorRecord { target, .. }) if self.find(target).is_none() => {
                Err(ChangeError::NoMirrorTarget { target: target.clone() })
            }
            _ => Ok(()),
        }
    }
}
