//! The places for connections to an admin listener, and the choice of the connection to close when all are taken.
//!
//! A new connection always gets a place. Otherwise clients that connect and send nothing would keep out operators,
//! probes and scrapers. To make room, the oldest connection of the address with the most connections is closed.
//! Connections over which the admin token has been shown are spared, up to three quarters of the places, so that some
//! places always remain for clients without a token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id};

use crate::auth::origin;

/// Least time between two log lines about connections that were closed to make room.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The open connections, oldest first.
pub(super) struct Seats {
    /// Most connections at once.
    most: usize,
    taken: Vec<Taken>,
    told: Option<Instant>,
}

struct Taken {
    from: IpAddr,
    seat: Seat,
    task: AbortHandle,
}

/// The place of one connection.
#[derive(Clone, Default)]
pub(super) struct Seat {
    has_shown_token: Arc<AtomicBool>,
}

impl Seat {
    /// Notes that the admin token has been shown over this connection.
    pub(super) fn token_shown(&self) {
        self.has_shown_token.store(true, Ordering::Relaxed);
    }

    fn has_shown_token(&self) -> bool {
        self.has_shown_token.load(Ordering::Relaxed)
    }
}

impl Seats {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Vec::new(), told: None }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Most connections that are spared. The other places are for probes and scrapers, which have no token.
    fn most_spared(&self) -> usize {
        self.most / 4 * 3
    }

    /// Gives a new connection its place; `task` serves it.
    pub(super) fn take(&mut self, from: IpAddr, seat: Seat, task: AbortHandle) {
        self.taken.push(Taken { from: origin(from), seat, task });
    }

    /// Frees the place of a connection that has ended.
    pub(super) fn leave(&mut self, task: Id) {
        self.taken.retain(|taken| taken.task.id() != task);
    }

    /// Aborts the task of one connection. Its place is free once the task has ended.
    pub(super) fn make_room(&mut self) {
        let Some(index) = next_to_leave(&self.known(), self.most_spared()) else { return };
        let closed = self.taken.remove(index);
        closed.task.abort();
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(
                connections = self.most,
                address = %closed.from,
                "the admin listener has no place left; the oldest connections of this address are closed to make room"
            );
        }
    }

    /// The address of each connection, and true if the token has been shown over it.
    fn known(&self) -> Vec<(IpAddr, bool)> {
        self.taken.iter().map(|taken| (taken.from, taken.seat.has_shown_token())).collect()
    }
}

/// The index of the connection to close.
fn next_to_leave(connections: &[(IpAddr, bool)], most_spared: usize) -> Option<usize> {
    let mut spared = 0;
    let mut by_address: HashMap<IpAddr, (usize, usize)> = HashMap::new();
    for (index, (address, has_shown_token)) in connections.iter().enumerate() {
        if *has_shown_token && spared < most_spared {
            spared += 1;
            continue;
        }
        let (count, _oldest) = by_address.entry(*address).or_insert((0, index));
        *count += 1;
    }
    let (_, oldest) = by_address.into_values().max_by_key(|(count, oldest)| (*count, usize::MAX - *oldest))?;
    Some(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST_SPARED: usize = 192;

    fn next(connections: &[(IpAddr, bool)]) -> Option<usize> {
        next_to_leave(connections, MOST_SPARED)
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn the_address_with_the_most_connections_loses_its_oldest() {
        let connections = [ip(1), ip(2), ip(3), ip(2), ip(1), ip(2)].map(|address| (address, false));
        assert_eq!(next(&connections), Some(1));
        assert_eq!(next(&connections[2..5]), Some(0), "of addresses with as many, the oldest of all");
        assert_eq!(next(&[]), None);
    }

    #[test]
    fn who_has_shown_the_token_is_spared() {
        assert_eq!(next(&[(ip(1), true), (ip(1), false), (ip(1), true)]), Some(1));
        assert_eq!(next(&[(ip(1), true), (ip(1), true), (ip(2), false)]), Some(2));
    }

    #[test]
    fn operators_leave_places_for_those_without_a_token() {
        let operators = vec![(ip(1), true); 256];
        assert_eq!(next(&operators), Some(MOST_SPARED));
        let mut connections = operators;
        connections.truncate(MOST_SPARED + 1);
        connections.push((ip(2), false));
        assert_eq!(next(&connections), Some(MOST_SPARED), "a probe stays, an operator too many does not");
    }
}
