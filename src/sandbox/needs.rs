//! The resources that one guest takes from an engine's pool.

use std::fmt;
use std::str::FromStr;

use super::engine::STACKS_OF_TASKS;

/// Core instances for each place in the pool. The pool reserves no address space for them, so the number is large
/// enough for most guests.
pub(super) const CORE_INSTANCES_PER_PLACE: u32 = 16;
/// Tables for each place in the pool, which reserves address space for every table.
pub(super) const TABLES_PER_PLACE: u32 = 3;

/// The counts for one guest, the adapters between its components included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) core_instances: u32,
    pub(super) memories: u32,
    pub(super) tables: u32,
    /// Stacks on which calls may wait at the same time: of WASI 0.3, one in each component of a composed guest.
    pub(super) stacks: u32,
}

impl Needs {
    /// Returns the places of the pool for one such guest. A place has one memory, and a share of everything else.
    pub(super) fn places(self) -> usize {
        let core_instances = self.core_instances.div_ceil(CORE_INSTANCES_PER_PLACE);
        let tables = self.tables.div_ceil(TABLES_PER_PLACE);
        let stacks = self.stacks.div_ceil(STACKS_OF_TASKS);
        self.memories.max(core_instances).max(tables).max(stacks).max(1) as usize
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.core_instances, self.memories, self.tables, self.stacks)
    }
}

impl FromStr for Needs {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut counts = text.split(' ').map(|count| count.parse().ok());
        let mut next = || counts.next().flatten().ok_or(());
        let needs = Self { core_instances: next()?, memories: next()?, tables: next()?, stacks: next()? };
        if counts.next().is_some() { Err(()) } else { Ok(needs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_takes_as_many_places_as_the_most_of_its_needs() {
        let places = |core_instances, memories, tables| Needs { core_instances, memories, tables, stacks: 1 }.places();
        assert_eq!(places(0, 0, 0), 1);
        assert_eq!(places(16, 1, 3), 1);
        assert_eq!(places(17, 1, 3), 2);
        assert_eq!(places(4, 3, 1), 3);
        assert_eq!(places(4, 1, 10), 4);
        assert_eq!(Needs { stacks: 9, ..Needs::default() }.places(), 3);
    }

    #[test]
    fn needs_are_read_as_they_are_written() {
        let needs = Needs { core_instances: 5, memories: 2, tables: 1, stacks: 7 };
        assert_eq!(needs.to_string().parse(), Ok(needs));
        for wrong in ["", "1 2 3", "1 2 3 4 5", "1 2 3 x", "1 2 3 -4"] {
            assert_eq!(wrong.parse::<Needs>(), Err(()), "{wrong}");
        }
    }
}
