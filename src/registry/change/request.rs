//! Requests for changes: their operator, action and condition; and the lock under which a change is made.
//!
//! One request at a time has the lock of a service, and only if its condition is met. Every write needs the lock: so a
//! change starts from the state that its operator has seen, and its audit entry is written to disk with it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::ChangeError;
use super::history::differing;
use crate::registry::service::Service;
use crate::registry::{Registry, now};
use crate::storage::{Entry, Record};

/// Most changed keys in an audit entry. Ordinary files have fewer.
const MOST_CHANGED: usize = 64;
/// Most characters of a key in an audit entry.
const LONGEST_NAME: usize = 128;
/// Most bytes of a reason in the audit log. A compiler's error may be longer; the client gets all of it.
const LONGEST_REASON: usize = 1024;

/// An operator's request for a change.
#[derive(Clone, Debug)]
pub struct ChangeRequest {
    /// The name in the audit log: `modify`, `stop`, …
    pub action: &'static str,
    pub by: Operator,
    pub condition: Condition,
    /// The condition under which the change is not made (RFC 9110 §13.1.2).
    pub unless: Condition,
}

/// The sender of a request.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The name that the operator claims.
    pub name: Option<String>,
    /// The name of the presented token.
    pub token: String,
    pub peer: IpAddr,
}

/// A condition on a service for a change to be made (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    None,
    /// The service exists.
    Exists,
    /// The service's latest change is one of these revisions.
    IsAt(Vec<u64>),
}

/// The exclusive right to change one service.
pub(in crate::registry) struct ChangeLock<'a> {
    _alone: OwnedMutexGuard<()>,
    request: &'a ChangeRequest,
    /// The record before the change; `None` if the service is to be created.
    before: Option<Arc<Record>>,
}

impl Condition {
    /// True if there is a condition and a service at `revision` meets it.
    fn is_met_at(&self, revision: u64) -> bool {
        match self {
            Self::None => false,
            Self::Exists => true,
            Self::IsAt(revisions) => revisions.contains(&revision),
        }
    }
}

impl ChangeRequest {
    /// Returns the audit entry of this request, with its outcome.
    pub fn entry(&self, service: &str, outcome: &str) -> Entry {
        Entry {
            number: 0,
            at: now(),
            actor: self.by.name.clone(),
            token: self.by.token.clone(),
            peer: self.by.peer,
            action: self.action.to_owned(),
            service: service.to_owned(),
            version_before: None,
            version_after: None,
            changed: Vec::new(),
            outcome: outcome.to_owned(),
            reason: None,
        }
    }

    /// Returns the audit entry of a refusal, with its code and its reason.
    pub fn refused(&self, service: &str, code: &str, reason: &str) -> Entry {
        let end = reason.floor_char_boundary(LONGEST_REASON);
        Entry { reason: Some(reason[..end].to_owned()), ..self.entry(service, code) }
    }
}

impl ChangeLock<'_> {
    /// True for the lock of a service that is to be created.
    pub(in crate::registry) fn creates(&self) -> bool {
        self.before.is_none()
    }

    /// Returns the revision of the service when the lock was taken; `None` if the service is to be created.
    pub(in crate::registry) fn revision(&self) -> Option<u64> {
        self.before.as_ref().map(|record| record.revision)
    }

    /// Returns the audit entry of a change of the service to `after`; `None` if it is deleted.
    pub(in crate::registry) fn entry(&self, service: &str, after: Option<&Record>) -> Entry {
        let before = self.before.as_deref();
        let mut changed = match (before, after) {
            (Some(before), Some(after)) => changes(before, after),
            _ => Vec::new(),
        };
        changed.truncate(MOST_CHANGED);
        Entry {
            version_before: before.map(|record| record.version),
            version_after: after.map(|record| record.version),
            changed,
            ..self.request.entry(service, Entry::DONE)
        }
    }
}

impl Registry {
    /// Waits for the lock of a service, and then checks the request's condition.
    ///
    /// # Errors
    /// If there is no such service, or it has changed since its operator saw it.
    pub(in crate::registry) async fn lock<'a>(
        &self,
        name: &str,
        request: &'a ChangeRequest,
    ) -> Result<(ChangeLock<'a>, Arc<Service>), ChangeError> {
        let alone = self.alone(name).await;
        let service = self.find(name).ok_or(ChangeError::NotFound)?;
        let record = Arc::clone(&service.state().record);
        self.check_conditions(&record, request).await?;
        Ok((ChangeLock { _alone: alone, request, before: Some(record) }, service))
    }

    /// Checks the request's conditions on a service with this record.
    pub(in crate::registry) async fn check_conditions(
        &self,
        record: &Record,
        request: &ChangeRequest,
    ) -> Result<(), ChangeError> {
        let revision = record.revision;
        if request.condition != Condition::None && !request.condition.is_met_at(revision) {
            let last = self.storage.catalog().entry(revision).await?;
            return Err(ChangeError::Overtaken { revision, last: last.map(Box::new) });
        }
        if request.unless.is_met_at(revision) {
            return Err(self.excluded(revision).await?);
        }
        Ok(())
    }

    /// Waits for the lock of a service that is to be created.
    ///
    /// # Errors
    /// If a service of that name exists.
    pub(in crate::registry) async fn lock_to_create<'a>(
        &self,
        name: &str,
        request: &'a ChangeRequest,
    ) -> Result<ChangeLock<'a>, ChangeError> {
        let alone = self.alone(name).await;
        match self.find(name) {
            Some(service) => {
                let revision = service.state().record.revision;
                let is_excluded = request.unless.is_met_at(revision);
                Err(if is_excluded { self.excluded(revision).await? } else { ChangeError::Exists { as_asked: false } })
            }
            None => Ok(ChangeLock { _alone: alone, request, before: None }),
        }
    }

    async fn excluded(&self, revision: u64) -> Result<ChangeError, ChangeError> {
        let last = self.storage.catalog().entry(revision).await?;
        Ok(ChangeError::Excluded { revision, last: last.map(Box::new) })
    }

    async fn alone(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            // Unused locks are removed, so that the map is no larger than the number of changes under way.
            changing.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(changing.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

/// Returns the names of the parts and keys in which two records differ.
fn changes(before: &Record, after: &Record) -> Vec<String> {
    let is = |a: &Option<crate::config::Token>| a.as_ref().map(|token| token.reveal().to_owned());
    let parts = [
        ("processor", before.processor != after.processor),
        ("model", before.model != after.model),
        ("warm_up", before.warm_up != after.warm_up),
        ("tokens", is(&before.token) != is(&after.token) || is(&before.previous_token) != is(&after.previous_token)),
        ("stopped", before.stopped != after.stopped),
        ("canary", before.canary != after.canary),
        ("weight", before.weight != after.weight),
        ("traffic_state", before.traffic_state != after.traffic_state),
        ("mirror", before.mirror != after.mirror),
    ];
    let mut keys = Vec::new();
    differing(&before.file.value(), &after.file.value(), "", &mut keys);
    let parts = parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    let names: BTreeSet<String> =
        parts.chain(keys.into_iter().map(|key| key.chars().take(LONGEST_NAME).collect())).collect();
    names.into_iter().collect()
}
