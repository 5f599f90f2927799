//! Changes without a new version: stop, start, restart, the share of a canary, delete.

use std::sync::Arc;

use super::apply::OnFailure;
use super::deploy::percent;
use super::plan::Plan;
use super::request::{ChangeLock, ChangeRequest};
use super::{ChangeError, Progress, history};
use crate::failpoint;
use crate::registry::service::{Phase, Service};
use crate::registry::{Registry, now};

impl Registry {
    /// Stops a service: it takes no new requests, and finishes the running ones.
    pub async fn stop(&self, name: &str, request: &ChangeRequest) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let plan = Plan::stop(&service.state().record, now());
        self.apply(&service, &lock, plan, &|_| {}).await?;
        tracing::info!(service = name, "service stopped");
        Ok(service)
    }

    /// Starts a stopped or failed service. A running service keeps running; if crashed guests of it were not replaced,
    /// its instances are replaced.
    pub async fn start(&self, name: &str, request: &ChangeRequest) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let state = service.state();
        if let Phase::Running(serving) = &state.phase {
            if serving.instances().any(|instance| !instance.crashes.is_empty()) {
                self.renew(&service, &lock).await?;
            } else {
                self.note_unchanged(&service, &lock).await;
                return Ok(service);
            }
        } else {
            if state.record.processor.is_none() {
                return Err(ChangeError::NoProcessor);
            }
            self.apply(&service, &lock, Plan::start(&state.record, now()), &|_| {}).await?;
        }
        tracing::info!(service = name, "service started");
        Ok(service)
    }

    /// Replaces every instance, as in a deploy of the same version: requests go to the old instances until the new ones
    /// are ready, and the old ones finish their requests. A service that failed is brought up again.
    ///
    /// # Errors
    /// If a new instance cannot be created. In that case, the old ones keep running.
    pub async fn restart(&self, name: &str, request: &ChangeRequest) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let state = service.state();
        if matches!(state.phase, Phase::Stopped | Phase::Starting) {
            return Err(ChangeError::NotRunning(state.phase.name()));
        }
        self.renew(&service, &lock).await?;
        tracing::info!(service = name, "service restarted");
        Ok(service)
    }

    /// Replaces every instance, with the change lock held.
    async fn renew(&self, service: &Service, lock: &ChangeLock<'_>) -> Result<(), ChangeError> {
        let record = Arc::clone(&service.state().record);
        let _files = self.unnamed_files.read().await;
        let phase = self.in_line(service, &Plan::renew(&record), OnFailure::Refuse, &|_| {}).await?;
        failpoint::reach("restart.ready");
        service.set_phase(&phase);
        self.regroup();
        self.note(lock.entry(service.name(), Some(&record))).await;
        Ok(())
    }

    /// Replaces one instance. Instances are counted from 0, first those of the current version and then those of the
    /// canary, as `desc` lists them.
    pub async fn restart_instance(
        &self,
        name: &str,
        request: &ChangeRequest,
        index: usize,
    ) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let state = service.state();
        let serving = state.phase.serving().ok_or(ChangeError::NotRunning(state.phase.name()))?;
        let mut inside = index;
        for version in serving.versions() {
            if let Some(renewed) = version.with_new_instance(inside).await {
                let (renewed, record) = (renewed?, self.record_of(&state.record, version.number).await?);
                self.warm_up(&record, &renewed, inside..inside + 1, &|_| {}).await?;
                service.set_phase(&Phase::Running(serving.with_renewed(renewed)));
                self.note(lock.entry(name, Some(&state.record))).await;
                tracing::info!(service = name, instance = index, "instance restarted");
                return Ok(service);
            }
            inside -= version.instances().len();
        }
        Err(ChangeError::NoInstance { index, count: serving.instances().count() })
    }

    /// Sets the canary's share of the requests, with the change lock held. With all requests it becomes the current
    /// version.
    pub(in crate::registry) async fn weigh_canary(
        &self,
        service: &Arc<Service>,
        lock: &ChangeLock<'_>,
        weight: u64,
        progress: &Progress,
    ) -> Result<(), ChangeError> {
        let state = service.state();
        let canary = state.record.canary.ok_or(ChangeError::NoCanary)?;
        match percent("weight", weight)? {
            100 => self.make_current(service, lock, canary.version, progress).await,
            weight => {
                let plan = Plan::weigh_canary(&state.record, Some(weight), now())?;
                self.apply(service, lock, plan, progress).await
            }
        }
    }

    /// Ends the canary: the current version answers all requests again.
    pub async fn abort_canary(&self, name: &str, request: &ChangeRequest) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let record = Arc::clone(&service.state().record);
        let plan = Plan::weigh_canary(&record, None, now())?;
        let version = match record.canary {
            Some(canary) => self.history(name).await?.version(canary.version).ok().map(history::aborted),
            None => None,
        };
        self.apply(&service, &lock, Plan { version, ..plan }, &|_| {}).await?;
        Ok(service)
    }

    /// Deletes a service with its versions. Its files are removed once no other service needs them.
    ///
    /// # Errors
    /// If the queues of the service have items, unless `drops_items` is true.
    pub async fn delete(&self, name: &str, request: &ChangeRequest, drops_items: bool) -> Result<(), ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let asynchronous = service.state().asynchronous().cloned();
        if let Some(spec) = &asynchronous {
            self.give_up_queues(spec, drops_items).await?;
        }
        if let Err(error) = self.forget(name, &lock).await {
            if let Some(spec) = &asynchronous {
                self.take_back_queues(spec).await?;
            }
            return Err(error);
        }
        failpoint::reach("delete.removed");
        if asynchronous.is_some() {
            self.close_queues_of(name).await;
        }
        self.change_services(|services| {
            services.remove(name);
        });
        service.set_phase(&Phase::Stopped);
        self.regroup();
        self.remove_store(&service.state().record).await;
        failpoint::reach("delete.forgotten");
        self.tidy_with(self.storage.sweep_models()).await;
        self.tidy().await;
        Ok(())
    }
}
