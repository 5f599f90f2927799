//! Faults: every way in which a guest can end a call other than by answering. Each costs the guest its instance, except
//! [`Fault::Failure`].

use std::fmt;

use wasmtime::Trap;

use super::backtrace::{self, FaultAddress};
use super::limits::Refused;

/// The reason why a call gave no answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The processor declined. `status` is its own, or `None` for the service's `trap_status`. The guest is intact.
    Failure {
        status: Option<u16>,
        message: String,
    },
    /// The guest reported a panic and ended itself.
    Panic {
        message: String,
        location: Option<String>,
    },
    /// The guest did something that WebAssembly forbids, or gave up by `unreachable` or `exit`.
    Trap {
        reason: String,
        /// The function that trapped, if it is known.
        function: Option<String>,
    },
    /// A stack overflow; `function` is the recursive function, if it is known.
    StackOverflow {
        function: Option<String>,
        /// Another possible cause, if the overflow is not certain.
        or_else: Option<&'static str>,
    },
    /// The guest ended itself after it was refused more memory or more table elements.
    OutOfMemory {
        refused: Refused,
    },
    FuelExhausted {
        budget: u64,
    },
    /// The guest returned an answer that must not be sent.
    BadAnswer {
        reason: String,
    },
    /// The host could not provide what the call needed.
    Host {
        reason: String,
    },
}

impl Fault {
    /// True if the guest must not be used again.
    pub const fn spoils(&self) -> bool {
        !matches!(self, Self::Failure { .. })
    }

    /// True if the guest crashed by itself: it was not stopped, and did not return an invalid answer.
    pub const fn is_crash(&self) -> bool {
        match self {
            Self::Panic { .. } | Self::Trap { .. } | Self::StackOverflow { .. } | Self::OutOfMemory { .. } => true,
            Self::Failure { .. } | Self::FuelExhausted { .. } | Self::BadAnswer { .. } | Self::Host { .. } => false,
        }
    }

    /// Short and stable: the `fault` label of metrics and log lines.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Failure { .. } => "failure",
            Self::Panic { .. } => "panic",
            Self::Trap { .. } => "trap",
            Self::StackOverflow { .. } => "stack_overflow",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::FuelExhausted { .. } => "fuel_exhausted",
            Self::BadAnswer { .. } => "bad_answer",
            Self::Host { .. } => "host",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure { message, .. } => f.write_str(message),
            Self::Panic { message, location: Some(location) } => {
                write!(f, "the processor panicked: {message}, at {location}")
            }
            Self::Panic { message, location: None } => write!(f, "the processor panicked: {message}"),
            Self::Trap { reason, function } => {
                write!(f, "the processor trapped: {reason}")?;
                function.iter().try_for_each(|function| write!(f, ", in {function}"))
            }
            Self::StackOverflow { function, or_else } => {
                f.write_str("the processor trapped: call stack exhausted")?;
                function.iter().try_for_each(|function| write!(f, ", in {function}"))?;
                or_else.iter().try_for_each(|other| write!(f, " ({other})"))
            }
            Self::OutOfMemory { refused: Refused::Memory { limit } } => {
                write!(f, "the processor ran out of memory: its limit is {} MiB (sandbox.memory_mb)", limit >> 20)
            }
            Self::OutOfMemory { refused: Refused::OwnMemory { maximum } } => write!(
                f,
                "the processor ran out of memory: the maximum that its module declares is {} MiB (set when it was linked)",
                maximum >> 20
            ),
            Self::OutOfMemory { refused: Refused::Tables { limit } } => {
                write!(f, "the processor ran out of table elements: all its tables together may have {limit}")
            }
            Self::OutOfMemory { refused: Refused::OwnTable { maximum } } => {
                write!(f, "the processor ran out of table elements: the maximum that its module declares is {maximum}")
            }
            Self::FuelExhausted { budget } => write!(f, "the request used up its fuel of {budget}"),
            Self::BadAnswer { reason } => write!(f, "the processor's answer cannot be sent: {reason}"),
            Self::Host { reason } => f.write_str(reason),
        }
    }
}

/// The facts about a guest that has just failed, besides the error itself.
pub(super) struct Circumstances {
    pub(super) panic: Option<(String, Option<String>)>,
    pub(super) refused: Option<Refused>,
    pub(super) fuel_budget: u64,
}

/// Determines the fault of a failed call into the guest.
///
/// The order matters: fuel and stack are certain, a reported panic explains the trap that follows it, and refused
/// memory explains only a trap without another explanation.
pub(super) fn classify(error: &wasmtime::Error, circumstances: Circumstances) -> Fault {
    let trap = error.downcast_ref::<Trap>();
    if let Some(Trap::OutOfFuel) = trap {
        return Fault::FuelExhausted { budget: circumstances.fuel_budget };
    }
    if let Some(Trap::StackOverflow) = trap {
        let function = backtrace::repeated(error).or_else(|| backtrace::innermost(error));
        return Fault::StackOverflow { function, or_else: None };
    }
    let out_of_bounds = matches!(trap, Some(Trap::MemoryOutOfBounds)).then(|| backtrace::place(error));
    if let Some(fault) = out_of_bounds.and_then(|place| exhausted(error, place)) {
        return fault;
    }
    if let Some((message, location)) = circumstances.panic {
        return Fault::Panic { message, location };
    }
    if let Some(refused) = circumstances.refused {
        return Fault::OutOfMemory { refused };
    }
    if let Some(FaultAddress::BelowMemory) = out_of_bounds {
        let reason =
            format!("{} just below the beginning of memory (perhaps its stack ran out)", told(Trap::MemoryOutOfBounds));
        return Fault::Trap { reason, function: backtrace::innermost(error) };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Fault::Host { reason: format!("the host has no room for it now: {}", error.root_cause()) };
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Fault::Trap { reason: format!("it exited with status {}", exit.0), function: None };
    }
    let reason = trap.map_or_else(|| error.root_cause().to_string(), |trap| told(*trap));
    Fault::Trap { reason, function: backtrace::innermost(error) }
}

/// Returns the engine's text for a trap, without the words that the host's sentence already has.
fn told(trap: Trap) -> String {
    if trap == Trap::UnreachableCodeReached {
        return "unreachable executed".into();
    }
    let words = trap.to_string();
    words.strip_prefix("wasm trap: ").unwrap_or(&words).to_owned()
}

/// Returns a stack overflow in the guest's memory, if the access out of bounds at `place` looks like one.
fn exhausted(error: &wasmtime::Error, place: FaultAddress) -> Option<Fault> {
    let or_else = match place {
        FaultAddress::BelowMemory => None,
        FaultAddress::Unknown => Some("out of bounds memory access while many of its calls were open"),
        FaultAddress::Elsewhere => return None,
    };
    let function = backtrace::repeated(error)?;
    Some(Fault::StackOverflow { function: Some(function), or_else })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_says_what_was_done_and_where() {
        let unreachable = told(Trap::UnreachableCodeReached);
        let fault = Fault::Trap { reason: unreachable.clone(), function: Some("echo::answer".into()) };
        assert_eq!(fault.to_string(), "the processor trapped: unreachable executed, in echo::answer");
        let fault = Fault::Trap { reason: unreachable, function: None };
        assert_eq!(fault.to_string(), "the processor trapped: unreachable executed");
        assert_eq!(told(Trap::IntegerDivisionByZero), "integer divide by zero");
    }

    #[test]
    fn want_of_memory_names_the_setting() {
        let told = Fault::OutOfMemory { refused: Refused::Memory { limit: 16 << 20 } }.to_string();
        assert_eq!(told, "the processor ran out of memory: its limit is 16 MiB (sandbox.memory_mb)");
        let told = Fault::OutOfMemory { refused: Refused::Tables { limit: 20_000 } }.to_string();
        assert_eq!(told, "the processor ran out of table elements: all its tables together may have 20000");
    }
}
