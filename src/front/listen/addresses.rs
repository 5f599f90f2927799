//! Counts the open connections of each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::origin;

/// Counts per address. An address without a connection is removed, so there are never more entries than connections.
#[derive(Clone, Debug, Default)]
pub(in crate::front) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One counted connection of an address. Dropping it lowers the count.
#[derive(Debug)]
pub(in crate::front) struct CountedConnection(Option<(Addresses, IpAddr)>);

impl Addresses {
    /// Counts one more connection from `address`; `None` if it has `limit` already. Without a limit nothing is counted.
    pub(in crate::front) fn enter(&self, address: IpAddr, limit: Option<usize>) -> Option<CountedConnection> {
        let Some(limit) = limit else { return Some(CountedConnection(None)) };
        let address = origin(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(CountedConnection(Some((self.clone(), address))))
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let Some((addresses, address)) = self.0.take() else { return };
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_limit_and_no_other_pays_for_it() {
        let addresses = Addresses::default();
        let first = addresses.enter(ip("10.0.0.1"), Some(2)).unwrap();
        let _second = addresses.enter(ip("::ffff:10.0.0.1"), Some(2)).unwrap();
        assert!(addresses.enter(ip("10.0.0.1"), Some(2)).is_none());
        assert!(addresses.enter(ip("10.0.0.2"), Some(2)).is_some());
        drop(first);
        assert!(addresses.enter(ip("10.0.0.1"), Some(2)).is_some());
    }

    #[test]
    fn a_line_of_ipv6_is_one_address_and_what_has_left_is_forgotten() {
        let addresses = Addresses::default();
        let one = addresses.enter(ip("2001:db8::1"), Some(1)).unwrap();
        assert!(addresses.enter(ip("2001:db8::ffff:2"), Some(1)).is_none());
        let other = addresses.enter(ip("2001:db8:0:1::1"), Some(1)).unwrap();
        drop((one, other));
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
