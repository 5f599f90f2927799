//! A request for a change: its operator, its action and its condition; and the lock under which it is made.
//!
//! The lock of a service is held by one request at a time, and given only if the request's condition holds. Nothing is
//! written without one: so a change is made on what its operator has seen, and its audit entry goes to disk with it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::ChangeError;
use super::history::differing;
use crate::registry::service::Service;
use crate::registry::{Registry, now};
use crate::storage::{Entry, Record};

/// Changed keys that an entry names; a file has fewer unless it is made to have more.
const MOST_CHANGED: usize = 64;
/// Characters of such a name.
const LONGEST_NAME: usize = 128;
/// Most bytes of a reason in the audit log. A compiler's error may be longer; the client got all of it.
const LONGEST_REASON: usize = 1024;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct ChangeRequest {
    /// For the audit log: `modify`, `stop`, …
    pub action: &'static str,
    pub by: Operator,
    pub condition: Condition,
    /// What must not be so for it to be made (RFC 9110 §13.1.2).
    pub unless: Condition,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Who they say they are.
    pub name: Option<String>,
    /// The name of the token they have shown.
    pub token: String,
    pub peer: IpAddr,
}

/// What may be so of a service, and must be for a change to be made (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    None,
    /// The service exists.
    Exists,
    /// Its latest change is one of these.
    IsAt(Vec<u64>),
}

/// The right to change one service now.
pub(in crate::registry) struct ChangeLock<'a> {
    _alone: OwnedMutexGuard<()>,
    request: &'a ChangeRequest,
    /// The record before the change; `None` where the service is to be created.
    before: Option<Arc<Record>>,
}

impl Condition {
    /// Whether it is asked for, and is so of a service at `revision`.
    fn is_met_at(&self, revision: u64) -> bool {
        match self {
            Self::None => false,
            Self::Exists => true,
            Self::IsAt(revisions) => revisions.contains(&revision),
        }
    }
}

impl ChangeRequest {
    /// Its entry in the audit log, for what has become of it.
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

    /// The audit entry for a refusal: its code and its reason.
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

    /// The revision of the service when the lock was taken; `None` where it is to be created.
    pub(in crate::registry) fn revision(&self) -> Option<u64> {
        self.before.as_ref().map(|record| record.revision)
    }

    /// The entry of a change that makes `after` of the service; `None` where it is deleted.
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
    /// Waits for the lock of a service, and checks the request's condition then.
    ///
    /// # Errors
    /// Where there is no such service, or it has been changed since its operator saw it.
    pub(in crate::registry) async fn lock<'a>(
        &self,
        name: &str,
        request: &'a ChangeRequest,
    ) -> Result<(ChangeLock<'a>, Arc<Service>), ChangeError> {
        let alone = self.alone(name).await;
        let service = self.find(name).ok_or(ChangeError::NotFound)?;
        let record = Arc::clone(&service.state().record);
        let revision = record.revision;
        if request.condition != Condition::None && !request.condition.is_met_at(revision) {
            let last = self.storage.catalog().entry(revision).await?;
            return Err(ChangeError::Overtaken { revision, last: last.map(Box::new) });
        }
        if request.unless.is_met_at(revision) {
            return Err(self.excluded(revision).await?);
        }
        Ok((ChangeLock { _alone: alone, request, before: Some(record) }, service))
    }

    /// Waits for the lock of a service that is to be created.
    ///
    /// # Errors
    /// Where there is one of that name.
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
            // Names nobody is changing are forgotten, so that the map stays as small as the work under way.
            changing.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(changing.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

/// What differs between two records, by name.
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
    differing(before.file.value(), after.file.value(), "", &mut keys);
    let parts = parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    let names: BTreeSet<String> =
        parts.chain(keys.into_iter().map(|key| key.chars().take(LONGEST_NAME).collect())).collect();
    names.into_iter().collect()
}
