//! Processors that misbehave, each in one way, and the expected reaction of a host.
//!
//! A guest is a few lines of WebAssembly text: its misbehaviour. The rest of the processor is the same for all and
//! stands in [`frame`]. A POST makes a guest misbehave. A GET answers the number of calls of this instance, so that a
//! test sees whether it got a fresh instance. Guests that do not fit into the frame are components of their own.

mod answers;
mod bombs;
mod composed;
mod cpu;
mod files;
mod frame;
mod growers;
mod host_calls;
mod initialize;
mod memory;
mod probe;
mod random;
mod realloc;
mod tenants;

pub use self::bombs::{bombs, of_data};
pub use self::composed::{composed, doubled};
pub use self::files::{damaged, good, not_components};
pub use self::frame::{core_module, processor};
pub use self::growers::growers;
pub use self::probe::{End, STAIN, canary, stain};
pub use self::random::random;

/// One hostile processor.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// The entry in the list of threats: a letter for the kind, a number, and a word if one number has several guests.
    pub id: String,
    pub title: &'static str,
    pub expect: Expect,
    /// The `sandbox` section of the service file, as JSON.
    pub sandbox: &'static str,
    pub component: Vec<u8>,
}

/// The expected outcome of the misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The answer is 200, and the guest stays.
    Answer,
    /// The guest declines with this status, and stays.
    Declines(u16),
    /// 400 `processor_exception` with this text; the guest is replaced.
    Fault(&'static str),
    /// 400 `fuel_exhausted`; the guest is replaced.
    Fuel,
    /// 408 at its deadline; the guest is replaced.
    Overdue,
    /// The deploy is refused with this text.
    Refused(&'static str),
}

/// Makes every guest that is called with one request at a time.
pub fn all() -> Vec<Hostile> {
    [
        cpu::guests(),
        memory::guests(),
        realloc::guests(),
        initialize::guests(),
        host_calls::guests(),
        answers::guests(),
        tenants::guests(),
    ]
    .concat()
}

/// Makes a processor that runs `text` when it is told to misbehave.
fn guest(id: impl Into<String>, title: &'static str, expect: Expect, text: &str) -> Hostile {
    Hostile { id: id.into(), title, expect, sandbox: "{}", component: processor(text) }
}

/// Makes the bytes of a component from its text.
///
/// # Panics
/// If it is not WebAssembly.
pub fn component_of(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Makes a guest from a component's text, for components that are not a processor or cannot run.
fn component(id: impl Into<String>, title: &'static str, expect: Expect, text: &str) -> Hostile {
    let component = component_of(text);
    Hostile { id: id.into(), title, expect, sandbox: "{}", component }
}

impl Hostile {
    /// Changes the settings.
    fn under(self, sandbox: &'static str) -> Self {
        Self { sandbox, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_guest_can_be_written_and_has_a_name_of_its_own() {
        let guests = [all(), bombs(), growers()].concat();
        let ids: HashSet<&str> = guests.iter().map(|guest| guest.id.as_str()).collect();
        assert_eq!(ids.len(), guests.len());
        assert!(guests.iter().all(|guest| guest.component.starts_with(b"\0asm\x0d\0\x01\0")));
    }

    #[test]
    fn a_seed_makes_the_same_module_each_time() {
        for seed in 0..50 {
            assert_eq!(random(seed), random(seed));
        }
        assert_ne!(random(1), random(2));
    }

    #[test]
    fn the_processor_that_looks_for_canaries_can_be_written() {
        for end in End::ALL {
            assert!(!canary(end).is_empty());
        }
    }
}
