//! Bounds on one guest as a whole: over all its memories and tables together.

/// Most elements in all tables of a guest together.
pub(super) const MAX_TABLE_ELEMENTS: usize = 20_000;
/// Most core instances in a guest: its modules, and the adapters around and between them. CPython has 16.
pub(super) const MAX_INSTANCES: usize = 100;
/// Most tables in a guest.
pub(super) const MAX_TABLES: usize = 32;
/// Most memories in a guest: one for each program in a composed component.
pub(super) const MAX_MEMORIES: usize = 16;
/// Most bytes of host memory for the instances of one guest: their functions, globals and import tables. They do not
/// count against the guest's memory limit.
pub(super) const MAX_INSTANCE_BYTES: usize = 1 << 20;
/// Most bytes of the description of compiled code, which the host decodes: types, names, instances. Decoded, it takes
/// up to twenty times as much. CPython has 0.6 MiB, so a component with two of them fits.
pub(super) const MAX_DESCRIPTION: usize = 2 << 20;
/// Most handles that a guest may have open at once.
pub(super) const MAX_HANDLES: usize = 1024;
/// Most tasks, streams, futures and sets of these that a guest of WASI 0.3 may have at once, and most handles of them.
pub(super) const MAX_TASKS: usize = 1024;

/// Most bytes of a snapshot: from the first byte that is not zero to the last, over all memories of the guest. The
/// compiling child holds several copies, and the largest file that it may write is twice this.
pub(super) const MAX_IMAGE: usize = 128 << 20;

/// Counts a guest's memory and refuses growth past its limit: `memory.grow` then returns −1, as the specification says.
#[derive(Debug)]
pub(super) struct Limits {
    memory_limit: usize,
    memory: usize,
    table_elements: usize,
    refused: Option<Refused>,
}

/// A growth that was refused, with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Bytes of all memories together: `sandbox.memory_mb`.
    Memory { limit: usize },
    /// Bytes of one memory: the maximum that its module declares.
    OwnMemory { maximum: usize },
    /// Elements of all tables together.
    Tables { limit: usize },
    /// Elements of one table: the maximum that its module declares.
    OwnTable { maximum: usize },
}

impl Limits {
    pub(super) fn new(memory_limit: usize) -> Self {
        Self { memory_limit, memory: 0, table_elements: 0, refused: None }
    }

    /// Returns the bytes of linear memory in use. Memories never shrink, so this is also the peak.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    pub(super) fn memory_limit(&self) -> usize {
        self.memory_limit
    }

    /// Removes the memory limit while a snapshot is taken. The guest does not run any more at that time.
    pub(super) fn lift(&mut self) {
        self.memory_limit = usize::MAX;
    }

    /// Returns the last growth that was refused since the last call of this function. A trap after that is probably due
    /// to the refusal.
    pub(super) fn take_refused(&mut self) -> Option<Refused> {
        self.refused.take()
    }

    /// True if a memory may grow to `desired` bytes. Counts the growth.
    pub(super) fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        let allowed = total <= self.memory_limit && maximum.is_none_or(|max| desired <= max);
        if allowed {
            self.memory = total;
        } else {
            let limit = self.memory_limit;
            let own = maximum.filter(|_| total <= limit);
            self.refused = Some(own.map_or(Refused::Memory { limit }, |maximum| Refused::OwnMemory { maximum }));
        }
        allowed
    }

    /// True if a table may grow to `desired` elements. Counts the growth.
    pub(super) fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        let allowed = total <= MAX_TABLE_ELEMENTS && maximum.is_none_or(|max| desired <= max);
        if allowed {
            self.table_elements = total;
        } else {
            let limit = MAX_TABLE_ELEMENTS;
            // A table without a maximum of its own has the pool's, which is the same limit.
            let own = maximum.filter(|maximum| total <= limit && *maximum < limit);
            self.refused = Some(own.map_or(Refused::Tables { limit }, |maximum| Refused::OwnTable { maximum }));
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_limit() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None));
        assert!(limits.memory_growing(0, 40, None));
        assert_eq!(limits.take_refused(), None);
        assert!(!limits.memory_growing(40, 41, None));
        assert_eq!(limits.memory(), 100);
        assert_eq!(limits.take_refused(), Some(Refused::Memory { limit: 100 }));
        assert_eq!(limits.take_refused(), None);
    }

    #[test]
    fn a_memory_that_may_not_grow_by_its_own_maximum_is_not_counted() {
        let mut limits = Limits::new(1000);
        assert!(!limits.memory_growing(10, 200, Some(100)));
        assert_eq!((limits.memory(), limits.take_refused()), (0, Some(Refused::OwnMemory { maximum: 100 })));
        assert!(!limits.memory_growing(10, 2000, Some(100)));
        assert_eq!(limits.take_refused(), Some(Refused::Memory { limit: 1000 }));
        assert!(!limits.table_growing(1, 20, Some(10)));
        assert_eq!(limits.take_refused(), Some(Refused::OwnTable { maximum: 10 }));
    }

    #[test]
    fn tables_share_one_limit() {
        let mut limits = Limits::new(0);
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None));
        assert!(!limits.table_growing(0, 1, None));
        assert_eq!(limits.take_refused(), Some(Refused::Tables { limit: MAX_TABLE_ELEMENTS }));
    }
}
