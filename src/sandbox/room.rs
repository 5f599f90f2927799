//! Places for guests in an engine's pool.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Beyond what services reserve: the guest of which a snapshot is taken, and those whose memory is still being cleared.
pub(super) const SPARE: u32 = 64;

/// How many guests may live at once, and how many of these are spoken for.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    free: Arc<Semaphore>,
    all: usize,
}

/// Places that are reserved until this is dropped, so that a guest that was promised can be made.
#[derive(Debug)]
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// Takes room for so many guests out of this one, or all that it has.
    #[must_use]
    pub fn part(&mut self, guests: usize) -> Self {
        let guests = guests.min(self.0.num_permits());
        Self(self.0.split(guests).unwrap_or_else(|| unreachable!("no more is taken than there is")))
    }
}

/// There are not as many places left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    asked: usize,
    free: usize,
    all: usize,
}

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, free, all } = self;
        write!(
            f,
            "the service needs room for {asked} guests (metadata.instance × metadata.rpc.worker_threads); the host has \
             room for {all}, and {free} of it are free"
        )
    }
}

impl Rooms {
    pub(super) fn new(all: u32) -> Self {
        let all = all as usize;
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    pub(super) fn reserve(&self, guests: usize) -> Result<Room, NoRoom> {
        let no_room = || NoRoom { asked: guests, free: self.free.available_permits(), all: self.all };
        let wanted = u32::try_from(guests).map_err(|_| no_room())?;
        Arc::clone(&self.free).try_acquire_many_owned(wanted).map(Room).map_err(|_| no_room())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_there_until_it_is_taken_and_again_when_it_is_left() {
        let rooms = Rooms::new(10);
        let six = rooms.reserve(6).unwrap();
        assert_eq!(rooms.reserve(5).unwrap_err(), NoRoom { asked: 5, free: 4, all: 10 });
        let four = rooms.reserve(4).unwrap();
        assert!(rooms.reserve(1).is_err());
        drop(six);
        assert!(rooms.reserve(6).is_ok());
        drop(four);
        let text = rooms.reserve(usize::MAX).unwrap_err().to_string();
        assert!(text.contains("room for 10, and 10 of it are free"), "{text}");
    }
}
