//! The budget of address space that the pools of all engines share.
//!
//! A pool reserves address space for every guest that it may hold: 4 GiB for a memory, however little the guest uses.
//! The budget is divided once among the kinds of engines, so that the number of guests of a kind does not depend on
//! which kind was needed first.

use rustix::process::{Resource, getrlimit};

use super::engine::{GUARD, RESERVATION, STACK, STACKS_OF_TASKS};
use super::limits::MAX_TABLE_ELEMENTS;
use super::needs::TABLES_PER_PLACE;
use super::room::SPARE;

/// The page size. Tables are rounded up to it, and each stack has a guard page.
const PAGE: u64 = 4096;
/// Bytes of a table's element.
const ELEMENT: u64 = 8;
/// The engines that share the budget: metered and unmetered.
const FULL_POOLS: u64 = 2;
/// The pool for components of WASI 0.3 has a sixteenth of the places. It is made beside the budget when such a
/// component comes, and takes at most a twelfth of the budget's size.
const ASYNC_PLACES: u32 = 16;
const ASYNC_PART: u64 = 12;

/// Bytes of address space for the pools of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressSpace {
    bytes: u64,
    /// True if the process's own limit (`ulimit -v`) applies, and not the machine's.
    is_limited: bool,
}

/// The size of each engine's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Places that services can reserve. A guest with one memory takes one place.
    pub places: u32,
    /// Further places, for guests of which a snapshot is taken and for guests whose memory is still being cleared.
    pub(super) spare: u32,
    /// Places that were requested.
    pub wanted: u32,
    is_limited: bool,
}

impl AddressSpace {
    /// Returns three quarters of this process's address space; the rest is for its heap, its threads and its files.
    pub(super) fn of_this_process() -> Self {
        // The stack lies near the end of the address space: below 2^47 on x86-64, below 2^39 to 2^52 on others.
        let here = 0_u8;
        let machine = (&raw const here).addr().next_power_of_two() as u64;
        let limit = getrlimit(Resource::As).current;
        Self {
            bytes: limit.unwrap_or(u64::MAX).min(machine) / 4 * 3,
            is_limited: limit.is_some_and(|limit| limit < machine),
        }
    }

    /// Returns the pool of each kind of engine, for `wanted` places with memories of at most `memory` bytes.
    pub(super) fn pool(self, wanted: u32, memory: usize) -> Pool {
        let each = self.bytes / FULL_POOLS;
        let fitting = u32::try_from(each / place(memory, 1)).unwrap_or(u32::MAX);
        self.fitted(wanted, fitting)
    }

    /// Returns the pool for components of WASI 0.3. It is outside of the budget, so that it takes nothing from the
    /// others.
    pub(super) fn async_pool(self, wanted: u32, memory: usize) -> Pool {
        let fitting = u32::try_from(self.bytes / ASYNC_PART / place(memory, STACKS_OF_TASKS)).unwrap_or(u32::MAX);
        self.fitted(wanted.div_ceil(ASYNC_PLACES), fitting)
    }

    fn fitted(self, wanted: u32, fitting: u32) -> Pool {
        let spare = SPARE.min(fitting / 8);
        Pool { places: wanted.min(fitting - spare), spare, wanted, is_limited: self.is_limited }
    }
}

/// Returns the address space for one place of a pool with so many stacks for each.
fn place(memory: usize, stacks: u32) -> u64 {
    let table = (MAX_TABLE_ELEMENTS as u64 * ELEMENT).next_multiple_of(PAGE);
    RESERVATION.max(memory as u64)
        + GUARD
        + (STACK as u64 + PAGE) * u64::from(stacks)
        + table * u64::from(TABLES_PER_PLACE)
}

impl Pool {
    /// Returns the reason why there are fewer places than requested; `None` if there are as many.
    pub fn shortage(&self) -> Option<String> {
        let Self { places, wanted, is_limited, .. } = self;
        let remedy = if *is_limited { "; its limit is `ulimit -v`" } else { "" };
        (places < wanted).then(|| {
            format!("the process has address space for {places} guests of each kind, metered and unmetered, instead of {wanted}{remedy}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    fn pool(bytes: u64, wanted: u32) -> Pool {
        AddressSpace { bytes, is_limited: true }.pool(wanted, 4 << 30)
    }

    #[test]
    fn what_is_wanted_is_there_where_the_budget_allows() {
        let ample = pool(96 * TIB, 8192);
        assert_eq!((ample.places, ample.spare, ample.shortage()), (8192, 256, None));
        let machine = AddressSpace::of_this_process();
        assert_eq!(machine.pool(8192, 4 << 30).shortage(), None, "{machine:?}");
    }

    #[test]
    fn a_small_budget_is_shared_and_never_exceeded() {
        for bytes in [0, 1 << 30, 8 << 30, 9 << 30, 100 << 30, TIB, 20 * TIB] {
            let small = pool(bytes, 8192);
            let all = u64::from(small.places + small.spare) * place(4 << 30, 1) * FULL_POOLS;
            assert!(all <= bytes && bytes - all < 2 * FULL_POOLS * place(4 << 30, 1), "{bytes}: {small:?}");
            let told = small.shortage().unwrap();
            assert!(
                told.contains(&format!("for {} guests", small.places)) && told.contains("8192; its limit"),
                "{told}"
            );
        }
        assert_eq!(pool(100 << 30, 8192).places, 11);
    }

    #[test]
    fn the_pool_for_wasi_03_is_small_and_stays_outside_of_the_budget() {
        let pool = |bytes| AddressSpace { bytes, is_limited: true }.async_pool(8192, 4 << 30);
        assert_eq!((pool(96 * TIB).places, pool(96 * TIB).shortage()), (512, None));
        let small = pool(100 << 30);
        assert!(small.places >= 1 && small.shortage().is_some(), "{small:?}");
        assert!(u64::from(small.places + small.spare) * place(4 << 30, STACKS_OF_TASKS) <= (100 << 30) / 12);
    }
}
