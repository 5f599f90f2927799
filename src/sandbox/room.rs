//! Places for guests in an engine's pool.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::address_space::Pool;
use super::needs::Needs;

/// Further places beyond those that services can reserve, if the address space allows.
pub(super) const SPARE: u32 = 256;

/// The places of the pool, and the free ones. A guest takes one place; with several memories, or many instances or
/// tables, it takes more.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    free: Arc<Semaphore>,
    pool: Pool,
}

/// Places that are reserved until this is dropped, so that a promised guest can be created.
#[derive(Debug)]
pub struct Room {
    places: OwnedSemaphorePermit,
    per_guest: usize,
}

impl Room {
    /// Splits off the places for `guests` guests, or all places if there are fewer.
    #[must_use]
    pub fn part(&mut self, guests: usize) -> Self {
        let places = guests.saturating_mul(self.per_guest).min(self.places.num_permits());
        let places = self.places.split(places).unwrap_or_else(|| unreachable!("no more is taken than there is"));
        Self { places, per_guest: self.per_guest }
    }
}

/// The error if not enough places are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    asked: usize,
    needs: Needs,
    free: usize,
    pool: Pool,
}

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, needs, free, pool } = self;
        write!(f, "the service needs room for {asked} guests (metadata.instance × metadata.rpc.worker_threads)")?;
        let places = needs.places();
        if places > 1 {
            let Needs { core_instances, memories, tables, stacks } = needs;
            write!(
                f,
                ", each of which takes as much as {places} ordinary ones (memories: {memories}, core instances: \
                 {core_instances}, tables: {tables}, stacks: {stacks})"
            )?;
        }
        write!(f, "; the host has room for {}, of which {free} are free", pool.places)?;
        if let Some(shortage) = pool.shortage() {
            write!(f, " ({shortage})")?;
        }
        Ok(())
    }
}

impl Rooms {
    pub(super) fn new(pool: Pool) -> Self {
        Self { free: Arc::new(Semaphore::new(pool.places as usize)), pool }
    }

    pub(super) fn reserve(&self, guests: usize, needs: Needs) -> Result<Room, NoRoom> {
        let no_room = || NoRoom { asked: guests, needs, free: self.free.available_permits(), pool: self.pool };
        let per_guest = needs.places();
        let wanted = u32::try_from(guests.saturating_mul(per_guest)).map_err(|_| no_room())?;
        let places = Arc::clone(&self.free).try_acquire_many_owned(wanted).map_err(|_| no_room())?;
        Ok(Room { places, per_guest })
    }
}

#[cfg(test)]
mod tests {
    use super::super::address_space::AddressSpace;
    use super::*;

    const ORDINARY: Needs = Needs { core_instances: 4, memories: 1, tables: 2, stacks: 1 };
    const COMPOSED: Needs = Needs { core_instances: 5, memories: 2, tables: 1, stacks: 1 };

    fn pool() -> Pool {
        AddressSpace::of_this_process().pool(10, 1 << 20)
    }

    #[test]
    fn room_is_there_until_it_is_taken_and_again_when_it_is_left() {
        let rooms = Rooms::new(pool());
        let six = rooms.reserve(6, ORDINARY).unwrap();
        assert_eq!(
            rooms.reserve(5, ORDINARY).unwrap_err(),
            NoRoom { asked: 5, needs: ORDINARY, free: 4, pool: pool() }
        );
        let four = rooms.reserve(4, ORDINARY).unwrap();
        assert!(rooms.reserve(1, ORDINARY).is_err());
        drop(six);
        assert!(rooms.reserve(6, ORDINARY).is_ok());
        drop(four);
        let text = rooms.reserve(usize::MAX, ORDINARY).unwrap_err().to_string();
        assert!(text.contains("worker_threads); the host has room for 10, of which 10 are free"), "{text}");
    }

    #[test]
    fn a_guest_of_two_memories_takes_two_places() {
        let rooms = Rooms::new(pool());
        let text = rooms.reserve(6, COMPOSED).unwrap_err().to_string();
        assert!(text.contains("each of which takes as much as 2 ordinary ones (memories: 2, core"), "{text}");
        let mut five = rooms.reserve(5, COMPOSED).unwrap();
        let one = five.part(1);
        drop(five);
        assert!(rooms.reserve(4, COMPOSED).is_ok() && rooms.reserve(9, ORDINARY).is_err());
        drop(one);
        assert!(rooms.reserve(10, ORDINARY).is_ok());
    }
}
