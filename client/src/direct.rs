//! Direct mode: asks for the addresses of a service's instances every three seconds, and picks one of them for each
//! try.
//!
//! A response without a list, or with an empty one, changes nothing: the last known addresses are better than none.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, HOST};
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::address::Address;
use crate::error::Error;
use crate::exchange::exchange;
use crate::pool::Pool;

const INTERVAL: Duration = Duration::from_secs(3);
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The discovery paths of older and newer SDKs.
const PATHS: [&str; 2] = ["/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/", "/api/v1/servicediscovery/upstreams/"];
const MAX_LIST: usize = 1 << 20;
const MAX_WEIGHT: i64 = 1 << 20;

/// The addresses of the service's instances. Polling starts with the first call, and ends with the client.
pub(crate) struct Direct {
    state: Arc<State>,
    asking: OnceLock<AbortHandle>,
}

struct State {
    server: Address,
    service: String,
    pool: Pool,
    instances: Mutex<Rotation>,
    /// The reason why there is no list; `None` once there is one.
    why_none: watch::Sender<Option<String>>,
}

impl Drop for Direct {
    fn drop(&mut self) {
        if let Some(asking) = self.asking.get() {
            asking.abort();
        }
    }
}

impl Direct {
    /// Creates the state for `service`. A path may follow the service's name; discovery does not accept it, so it is
    /// removed. `pool` is only for asking `server`: calls that wait for connections must not delay discovery.
    pub(crate) fn new(server: Address, service: &str, pool: Pool) -> Self {
        let service = service.split('/').next().unwrap_or_default().to_owned();
        let (why_none, _) = watch::channel(Some("no answer yet".to_owned()));
        let state = State { server, service, pool, instances: Mutex::default(), why_none };
        Self { state: Arc::new(state), asking: OnceLock::new() }
    }

    /// Returns the next address, another than `last` if there is one. Waits for the first list until `deadline`.
    pub(crate) async fn next(&self, last: Option<&Address>, deadline: Instant) -> Result<Address, Error> {
        self.asking.get_or_init(|| tokio::spawn(ask_for_ever(Arc::clone(&self.state))).abort_handle());
        let mut why_none = self.state.why_none.subscribe();
        // The wait ends with a list or at the deadline: the sender lives as long as `self`.
        let _ = timeout_at(deadline, why_none.wait_for(Option::is_none)).await;
        let next = self.state.instances().next(last);
        next.ok_or_else(|| Error::Discovery(why_none.borrow().clone().unwrap_or_default()))
    }
}

impl State {
    fn instances(&self) -> MutexGuard<'_, Rotation> {
        // Nothing panics while the lock is held.
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self) -> Result<Vec<(Address, i64)>, String> {
        let mut answer = self.get(PATHS[0]).await?;
        if answer.status == 404 {
            answer = self.get(PATHS[1]).await?;
        }
        if answer.status != 200 {
            return Err(format!("{} answered {}", self.server.name(), answer.status));
        }
        instances(&answer.body)
    }

    async fn get(&self, path: &str) -> Result<crate::Response, String> {
        let request = Request::get(format!("{path}{}", self.service))
            .header(HOST, self.server.authority.clone())
            .header(ACCEPT, "application/json")
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let deadline = Instant::now() + PATIENCE;
        exchange(&self.pool, &self.server, request, deadline, MAX_LIST).await.map_err(|error| error.to_string())
    }
}

async fn ask_for_ever(state: Arc<State>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match state.ask().await {
            Ok(instances) => {
                state.instances().replace(instances);
                state.why_none.send_if_modified(|why| why.take().is_some());
            }
            Err(error) => drop(state.why_none.send_if_modified(|why| {
                // Calls wait for a list, so an error wakes none of them.
                if let Some(why) = why {
                    *why = error;
                }
                false
            })),
        }
    }
}

#[derive(Deserialize)]
struct Upstreams {
    endpoints: Items,
}

#[derive(Deserialize)]
struct Items {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    ip: String,
    port: u16,
    #[serde(default = "ordinary_weight")]
    weight: i64,
}

const fn ordinary_weight() -> i64 {
    100
}

fn instances(body: &[u8]) -> Result<Vec<(Address, i64)>, String> {
    let upstreams: Upstreams = serde_json::from_slice(body).map_err(|error| format!("the list is invalid: {error}"))?;
    let known = |item: Item| Some((Address::plain(&item.ip, item.port).ok()?, item.weight.clamp(0, MAX_WEIGHT)));
    // An instance of weight 0 must not be called.
    let instances: Vec<_> =
        upstreams.endpoints.items.into_iter().filter_map(known).filter(|(_, weight)| *weight > 0).collect();
    if instances.is_empty() {
        return Err("the service has no instance".to_owned());
    }
    Ok(instances)
}

/// Smooth weighted round robin: if one of two instances has three times the weight of the other, it gets three of four
/// turns, and the turns of the other are evenly spaced.
#[derive(Default)]
struct Rotation(Vec<Instance>);

struct Instance {
    address: Address,
    weight: i64,
    /// The part of its share that it has not had yet. The instance with the most is next.
    credit: i64,
}

impl Rotation {
    /// Replaces the list. Instances that stay keep their credit.
    fn replace(&mut self, instances: Vec<(Address, i64)>) {
        let credit = |address: &Address| self.0.iter().find(|i| i.address == *address).map_or(0, |i| i.credit);
        let instances = instances.into_iter().map(|(address, weight)| Instance {
            credit: credit(&address).clamp(-weight, weight),
            address,
            weight,
        });
        self.0 = instances.collect();
    }

    fn next(&mut self, avoid: Option<&Address>) -> Option<Address> {
        let is_avoided = |instance: &Instance| avoid == Some(&instance.address);
        let others = self.0.iter().any(|instance| !is_avoided(instance));
        let eligible = |instance: &Instance| !others || !is_avoided(instance);
        let total: i64 = self.0.iter().filter(|instance| eligible(instance)).map(|instance| instance.weight).sum();
        for instance in self.0.iter_mut().filter(|instance| eligible(instance)) {
            instance.credit += instance.weight;
        }
        let next = self.0.iter_mut().filter(|instance| eligible(instance)).max_by_key(|instance| instance.credit)?;
        next.credit -= total;
        Some(next.address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &str) -> Result<Vec<(Address, i64)>, String> {
        instances(format!("{{\"correlative\":[\"s\"],\"endpoints\":{{\"items\":{items}}}}}").as_bytes())
    }

    fn turns(rotation: &mut Rotation, count: usize) -> String {
        (0..count).map(|_| rotation.next(None).unwrap().host).collect()
    }

    fn rotation(items: &str) -> Rotation {
        let mut rotation = Rotation::default();
        rotation.replace(list(items).unwrap());
        rotation
    }

    const THREE: &str = r#"[{"app":"s","ip":"a","port":1,"weight":100},{"ip":"b","port":1,"weight":300},{"ip":"c","port":1,"weight":0}]"#;

    #[test]
    fn weights_are_kept_and_turns_lie_apart() {
        assert_eq!(turns(&mut rotation(THREE), 8), "bbabbbab");
    }

    #[test]
    fn a_repetition_goes_elsewhere_if_there_is_an_elsewhere() {
        let mut rotation = rotation(THREE);
        let last = rotation.next(None).unwrap();
        assert_eq!(last.host, "b");
        assert_eq!(rotation.next(Some(&last)).unwrap().host, "a");
        rotation.replace(list(r#"[{"ip":"b","port":1}]"#).unwrap());
        assert_eq!(rotation.next(Some(&last)).unwrap().host, "b");
        assert_eq!(Rotation::default().next(None), None);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for wrong in ["[]", "{}", "[{\"ip\":\"a\",\"port\":70000}]", "[{\"ip\":\"a b\",\"port\":1}]"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }
}
