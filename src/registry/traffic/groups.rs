//! Groups: services behind one name, which share its requests by weight.
//!
//! `/api/predict/{group}` goes to a member that runs and takes part (`grouping`), `/api/predict/{group}.{service}` and
//! `/api/predict/{service}` to that one whatever its part. Each member checks callers against its own tokens, so members
//! that are called by the group's name are given the same one. Services in no group never come here.

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

/// A service's weight until somebody sets it, and the highest one that may be set, as in EAS.
pub(in crate::registry) const USUAL_WEIGHT: u16 = 100;
const HIGHEST_WEIGHT: u64 = 1000;

/// The members of one group at one moment.
pub(in crate::registry) struct Group {
    members: Vec<ShardedArc<Service>>,
    /// Those that share the group's requests, and where each one's part of the circle ends.
    shares: Vec<(ShardedArc<Service>, u64)>,
    turns: FairShares,
}

/// Why a name leads to no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// Neither a service nor a group, nor a member of one, has this name.
    Unknown,
    /// The host has just started and is bringing the group's members up.
    Starting,
    /// No member of the group runs and takes part.
    NobodyRuns,
}

/// What is set of a service's part in its group; what is `None` stays.
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
        // The smaller the circle, the sooner everybody has had exactly their share.
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

    /// Whether the same members share in the same way.
    fn is_like(&self, other: &Self) -> bool {
        let same_members = self.members.iter().zip(&other.members).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_shares = self.shares.iter().zip(&other.shares).all(|(a, b)| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1);
        self.members.len() == other.members.len()
            && self.shares.len() == other.shares.len()
            && same_members
            && same_shares
    }

    /// The member whose turn it is, as it ran when it was looked at.
    fn choose(&self) -> Result<ServiceState, Unresolved> {
        let place = self.turns.next();
        let first = self.shares.partition_point(|(_, end)| *end <= place);
        let count = self.shares.len();
        // Whoever has stopped since the shares were given out is passed over.
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
    /// The service that a request for `name` is for: the service of that name, a member of the group of that name, or
    /// with `group.service` that member.
    ///
    /// A member that was chosen for its group runs in the state that comes with it, and whoever chooses a version by that
    /// state is answered, whatever becomes of the member meanwhile.
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

    /// Gives out the groups' shares by what the services are now.
    pub(in crate::registry) fn regroup(&self) {
        // One after the other, so that the last one has seen every change.
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
                // Its turns go on where they are.
                Some(old) if old.is_like(&new) => Arc::clone(old),
                _ => Arc::new(new),
            };
            (name, group)
        };
        let groups: HashMap<Box<str>, Arc<Group>> = members.into_iter().map(group).collect();
        self.groups.store(Arc::new(groups));
    }

    /// Whether the service may have its name and its group: a URL must not lead to two things.
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

    /// Sets a service's part in its group; with a canary under way, the weight is the canary's share.
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
