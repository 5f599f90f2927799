//! Groups: services behind one name, which share its requests by weight.
//!
//! `/api/predict/{group}` goes to a member that is running and takes part (`grouping`).
//! `/api/predict/{group}.{service}` and `/api/predict/{service}` go to that member even if it does not take part. Each
//! member checks callers against its own tokens, so members called by the group's name need the same token. Requests
//! for a service without a group do not use this module.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::fair_shares::{FairShares, greatest_divisor};
use crate::config::TrafficState;
use crate::registry::change::plan::Plan;
use crate::registry::change::request::ChangeRequest;
use crate::registry::change::{ChangeError, Progress};
use crate::registry::service::{Phase, Service, ServiceState};
use crate::registry::{Registry, now};
use crate::storage::Record;
use crate::threads::ShardedArc;

/// A service's weight until it is set, and the highest weight that may be set, as in EAS.
pub(in crate::registry) const USUAL_WEIGHT: u16 = 100;
const HIGHEST_WEIGHT: u64 = 1000;

/// The members of one group at one moment.
pub(in crate::registry) struct Group {
    members: Vec<ShardedArc<Service>>,
    /// The members that share the group's requests, and the end of each one's part of the circle.
    shares: Vec<(ShardedArc<Service>, u64)>,
    turns: FairShares,
}

/// The reason why a name leads to no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No service, no group and no member of a group has this name.
    Unknown,
    /// The host has just started and is bringing up the group's members.
    Starting,
    /// No member of the group is running and takes part.
    NobodyRuns,
}

/// Settings of a service's part in its group. `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    pub weight: Option<u64>,
    pub state: Option<TrafficState>,
}

impl Group {
    fn of(members: Vec<Arc<Service>>) -> Self {
        let members: Vec<ShardedArc<Service>> = members.into_iter().map(ShardedArc::from).collect();
        let weight = |service: &ShardedArc<Service>| -> u64 {
            let state = service.state();
            let takes_part = state.record.traffic_state == TrafficState::Grouping && state.phase.serving().is_some();
            if takes_part { state.record.weight.into() } else { 0 }
        };
        let weighed: Vec<_> = members.iter().map(|service| (service, weight(service))).collect();
        // The smaller the circle, the sooner every member has had exactly its share.
        let divisor = weighed.iter().fold(0, |divisor, (_, weight)| greatest_divisor(divisor, *weight)).max(1);
        let mut end = 0;
        let mut shares = Vec::new();
        for (service, weight) in weighed {
            if weight > 0 {
                end += weight / divisor;
                shares.push((service.clone(), end));
            }
        }
        Self { members, shares, turns: FairShares::around(end) }
    }

    /// True if the same members share in the same way.
    fn is_like(&self, other: &Self) -> bool {
        let same_members = self.members.iter().zip(&other.members).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_shares = self.shares.iter().zip(&other.shares).all(|(a, b)| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1);
        self.members.len() == other.members.len()
            && self.shares.len() == other.shares.len()
            && same_members
            && same_shares
    }

    /// Chooses the member for the next request, and returns it in the running state that was found.
    fn choose(&self) -> Result<ServiceState, Unresolved> {
        let place = self.turns.next();
        let first = self.shares.partition_point(|(_, end)| *end <= place);
        let count = self.shares.len();
        // Members that have stopped since the shares were assigned are skipped.
        let mut from_first = (0..count).map(|step| ServiceState::at(&self.shares[(first + step) % count].0));
        match from_first.find(|looked| looked.state.phase.serving().is_some()) {
            Some(looked) => Ok(looked),
            None if self.members.iter().any(|service| matches!(service.look().phase, Phase::Starting)) => {
                Err(Unresolved::Starting)
            }
            None => Err(Unresolved::NobodyRuns),
        }
    }
}

impl Registry {
    /// Finds the service for a request to `name`: the service of that name, a member of the group of that name, or with
    /// `group.service` that member.
    ///
    /// A member that was chosen for its group comes with a running state. A request that uses this state is answered,
    /// even if the member stops meanwhile.
    pub fn resolve(&self, name: &str) -> Result<ServiceState, Unresolved> {
        if let Some(service) = self.services.load().get(name) {
            return Ok(ServiceState::at(service));
        }
        let groups = self.groups.load();
        match name.split_once('.') {
            None => groups.get(name).ok_or(Unresolved::Unknown)?.choose(),
            Some((group, member)) => {
                let group = groups.get(group).ok_or(Unresolved::Unknown)?;
                let member = group.members.iter().find(|service| service.name() == member);
                member.map(ServiceState::at).ok_or(Unresolved::Unknown)
            }
        }
    }

    /// Assigns the groups' shares by the current state of the services.
    pub(in crate::registry) fn regroup(&self) {
        // Every change of a service ends here.
        self.changes.send_modify(|changes| *changes += 1);
        // Only one thread at a time does this, so that the last one sees every change.
        let _alone = self.regrouping.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut members: BTreeMap<Box<str>, Vec<Arc<Service>>> = BTreeMap::new();
        for service in self.list() {
            if let Some(group) = service.state().group() {
                members.entry(group.into()).or_default().push(service);
            }
        }
        let old = self.groups.load_full();
        if members.is_empty() && old.is_empty() {
            return;
        }
        let group = |(name, members): (Box<str>, Vec<Arc<Service>>)| {
            let new = Group::of(members);
            let group = match old.get(&name) {
                // An unchanged group continues its turns.
                Some(old) if old.is_like(&new) => Arc::clone(old),
                _ => Arc::new(new),
            };
            (name, group)
        };
        let groups: HashMap<Box<str>, Arc<Group>> = members.into_iter().map(group).collect();
        self.groups.store(Arc::new(groups));
    }

    /// Checks that the service may have its name and its group: a URL must not lead to two targets.
    pub(in crate::registry) fn check_names(&self, record: &Record) -> Result<(), ChangeError> {
        let name = record.name.as_str();
        let is_other = |service: &Arc<Service>| service.name() != name;
        let in_group = self.list().into_iter().filter(is_other).find(|service| service.state().group() == Some(name));
        if let Some(member) = in_group {
            return Err(ChangeError::GroupOfThatName { member: member.name().to_owned() });
        }
        match record.group() {
            Some(group) if group == name || self.find(group).is_some() => {
                Err(ChangeError::GroupNamedLikeService { group: group.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Sets a service's part in its group. With a canary under way, the weight is the canary's share.
    pub async fn release(
        &self,
        name: &str,
        request: &ChangeRequest,
        part: Part,
        progress: &Progress,
    ) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let record = Arc::clone(&service.state().record);
        match (record.canary, part) {
            (Some(_), Part { weight: Some(weight), state: None }) => {
                self.weigh_canary(&service, &lock, weight, progress).await?;
            }
            (Some(canary), _) => return Err(ChangeError::CanaryUnderWay(canary)),
            (None, _) if record.group().is_none() => return Err(ChangeError::NoShare),
            (None, Part { weight, state }) => {
                let weight = match weight {
                    Some(weight) => group_weight(weight)?,
                    None => record.weight,
                };
                let traffic_state = state.unwrap_or(record.traffic_state);
                let record = Record { weight, traffic_state, updated_at: now(), ..Record::clone(&record) };
                self.apply(&service, &lock, Plan::of_record(record), progress).await?;
            }
        }
        Ok(service)
    }
}

fn group_weight(weight: u64) -> Result<u16, ChangeError> {
    let fits = u16::try_from(weight).ok().filter(|_| weight <= HIGHEST_WEIGHT);
    fits.ok_or(ChangeError::BadWeight { name: "weight", weight, most: HIGHEST_WEIGHT })
}
