//! The versions that answer a service's requests at one moment: the current one, and perhaps a canary for a share of
//! them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::fair_shares::FairShares;
use super::mirror::Mirror;
use crate::registry::run::instance::Instance;
use crate::registry::run::version::Version;
use crate::threads::{ShardRef, ShardedArc};

/// The size of a canary's circle: weights are percent.
const WHOLE: u64 = 100;

/// The running versions. They are replaced only as a whole, so that a request is answered by the versions it has seen.
#[derive(Clone)]
pub struct Serving {
    pub current: ShardedArc<Version>,
    pub canary: Option<Arc<Canary>>,
}

/// A version that is tried on a share of the requests.
pub struct Canary {
    pub version: ShardedArc<Version>,
    /// Percent of the requests.
    pub weight: u8,
    turns: FairShares,
    account: Arc<Account>,
}

/// The version that answers one request.
pub struct Chosen {
    pub version: ShardRef<Version>,
    /// The counts of outcomes by version, while there are two versions.
    pub account: Option<Arc<Account>>,
    /// The mirror that may copy the request.
    pub mirror: Option<Arc<Mirror>>,
}

/// The outcomes of requests since the canary began, by version and status.
#[derive(Debug, Default)]
pub struct Account {
    /// Requests that ended with 200, the usual case: of the current version and of the canary.
    answered: [AtomicU64; 2],
    others: Mutex<BTreeMap<(u64, u16), u64>>,
    canary: u64,
}

impl Serving {
    /// Returns one version without a canary.
    fn alone(current: Arc<Version>) -> Self {
        Self { current: current.into(), canary: None }
    }

    /// Returns a version, and perhaps a canary with its weight. The counts of a canary that was already `there`
    /// continue.
    pub(in crate::registry) fn of(
        current: Arc<Version>,
        canary: Option<(Arc<Version>, u8)>,
        there: Option<&Self>,
    ) -> Self {
        let Some((version, weight)) = canary else { return Self::alone(current) };
        match there {
            Some(there) if there.canary.as_ref().is_some_and(|canary| canary.version.number == version.number) => {
                Self { current: current.into(), ..there.with_weight(weight) }
            }
            _ => Self::alone(current).with_canary(version, weight),
        }
    }

    /// Returns the version of that number, if it is running.
    pub(in crate::registry) fn version(&self, number: u64) -> Option<Arc<Version>> {
        self.versions().find(|version| version.number == number).cloned()
    }

    fn with_canary(self, version: Arc<Version>, weight: u8) -> Self {
        let account = Arc::new(Account { canary: version.number, ..Account::default() });
        let canary = Canary { version: version.into(), weight, turns: FairShares::around(WHOLE), account };
        Self { canary: Some(Arc::new(canary)), ..self }
    }

    /// Returns the same versions with another share for the canary, whose counts continue.
    pub(in crate::registry) fn with_weight(&self, weight: u8) -> Self {
        let reweigh = |canary: &Arc<Canary>| {
            let (version, account) = (canary.version.clone(), Arc::clone(&canary.account));
            Arc::new(Canary { version, weight, turns: FairShares::around(WHOLE), account })
        };
        Self { current: self.current.clone(), canary: self.canary.as_ref().map(reweigh) }
    }

    pub(in crate::registry) fn without_canary(&self) -> Self {
        Self { current: self.current.clone(), canary: None }
    }

    /// Returns the same versions with one replaced by `renewed`, a copy of it with other instances.
    pub(in crate::registry) fn with_renewed(&self, renewed: Arc<Version>) -> Self {
        match &self.canary {
            Some(canary) if canary.version.number == renewed.number => {
                let account = Arc::clone(&canary.account);
                let weight = canary.weight;
                let canary = Canary { version: renewed.into(), weight, turns: FairShares::around(WHOLE), account };
                Self { current: self.current.clone(), canary: Some(Arc::new(canary)) }
            }
            canary => Self { current: renewed.into(), canary: canary.clone() },
        }
    }

    /// Chooses the version for a request.
    pub(in crate::registry) fn choose(&self) -> Chosen {
        let Some(canary) = &self.canary else {
            return Chosen { version: self.current.hold(), account: None, mirror: None };
        };
        let is_canarys = canary.turns.next() < u64::from(canary.weight);
        let version = if is_canarys { &canary.version } else { &self.current };
        Chosen { version: version.hold(), account: Some(Arc::clone(&canary.account)), mirror: None }
    }

    /// Iterates over the current version, then the canary.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        std::iter::once(&*self.current).chain(self.canary.as_ref().map(|canary| &*canary.version))
    }

    pub(in crate::registry) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.versions().flat_map(|version| version.instances())
    }
}

impl Canary {
    /// Returns the outcomes since the canary began: version, status and count.
    pub fn outcomes(&self, current: u64) -> Vec<(u64, u16, u64)> {
        let account = &self.account;
        let answered = account.answered.iter().zip([current, account.canary]);
        let answered = answered.map(|(count, version)| (version, 200, count.load(Ordering::Relaxed)));
        let others = account.others.lock().unwrap_or_else(PoisonError::into_inner);
        let others = others.iter().map(|((version, status), count)| (*version, *status, *count));
        answered.filter(|(_, _, count)| *count > 0).chain(others).collect()
    }
}

impl Account {
    /// Counts the outcome of a request that this version was to answer.
    pub fn ended(&self, version: u64, status: u16) {
        if status == 200 {
            self.answered[usize::from(version == self.canary)].fetch_add(1, Ordering::Relaxed);
        } else {
            // Any other outcome costs more than this lock.
            *self.others.lock().unwrap_or_else(PoisonError::into_inner).entry((version, status)).or_default() += 1;
        }
    }
}
