//! How many connections each address has open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;

use crate::auth::origin;

/// Counts per address. Addresses without a connection are forgotten, so there are never more than connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address; dropping it takes it off the count.
#[derive(Debug)]
pub(super) struct Entered(Option<(Addresses, IpAddr)>);

impl Addresses {
    /// Counts one more connection from `address`; `None` if it has `limit` already. Without a limit nothing is counted.
    pub(super) fn enter(&self, address: IpAddr, limit: Option<usize>) -> Option<Entered> {
        let Some(limit) = limit else { return Some(Entered(None)) };
        let address = origin(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Entered(Some((self.clone(), address))))
    }
}

impl Drop for Entered {
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

/// Says why the connection ends, as far as that costs nothing: what does not fit into a new socket is not said.
pub(super) fn turn_away(stream: &TcpStream) {
    const WORDS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
        connection: close\r\ncontent-length: 256\r\n\r\n\
        {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
        \"detail\":\"this address has too many connections\",\"code\":\"too_many_connections\",\
        \"error\":{\"message\":\"this address has too many connections\",\"type\":\"server_error\",\
        \"code\":\"too_many_connections\"}}";
    let _ = rustix::io::write(stream, WORDS);
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

    #[tokio::test]
    async fn whoever_is_turned_away_is_told_why() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        turn_away(&listener.accept().await.unwrap().0);
        let mut told = String::new();
        std::io::Read::read_to_string(&mut client, &mut told).unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{} {head}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["error"]["code"], "too_many_connections");
    }
}
