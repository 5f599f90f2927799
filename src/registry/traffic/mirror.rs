//! Copies of a service's requests for another service, whose answers are discarded.

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

/// Most copies of one service's requests under way at once; further copies are dropped. Each holds a body, and copies
/// must not pile up if the target is slower than the source.
pub(in crate::registry) const COPIES_UNDER_WAY: usize = 16;

/// The target of the copies, and the share of the requests that is copied.
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

    /// Returns a permit for a copy of this request, if the request is to be copied and a permit is free. `source`
    /// counts a dropped copy.
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
    /// Begins or ends the copying of requests. This makes no version and affects no guest.
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
        let record = Record { mirror: mirror.clone(), updated_at: now(), ..Record::clone(&service.state().record) };
        self.apply(&service, &lock, Plan::of_record(record), &|_| {}).await?;
        match mirror {
            Some(MirrorRecord { target, ratio }) => tracing::info!(service = name, target, ratio, "mirror set"),
            None => tracing::info!(service = name, "mirror removed"),
        }
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
            Some(MirrorRecord { target, .. }) => {
                let is_asynchronous = |name: &str| self.find(name).is_some_and(|it| it.look().asynchronous().is_some());
                match [name, target.as_str()].into_iter().find(|name| is_asynchronous(name)) {
                    Some(service) => Err(ChangeError::MirrorOfQueue { service: service.to_owned() }),
                    None => Ok(()),
                }
            }
            None => Ok(()),
        }
    }
}
