//! The worker of one place of an instance.

use std::sync::Arc;

use crate::sandbox::{Guest, InitializeError, Program};

/// A guest, or the promise of a guest that starts from an image. Such a guest takes microseconds to create, so it is
/// created on first use, and idle services hold no more guests than they have needed.
pub(in crate::registry) enum Worker {
    /// Boxed, because a worker is moved with every call.
    Guest(Box<Guest>),
    Promised(Arc<Program>),
}

impl From<Guest> for Worker {
    fn from(guest: Guest) -> Self {
        Self::Guest(Box::new(guest))
    }
}

impl Worker {
    /// Drops a guest that must not be used again. The next one is created when it is needed.
    pub(in crate::registry) fn promise(&mut self, program: &Arc<Program>) {
        *self = Self::Promised(Arc::clone(program));
    }

    /// Returns the guest, and creates it first if it was only promised.
    pub(in crate::registry) async fn guest(&mut self) -> Result<&mut Guest, InitializeError> {
        loop {
            match self {
                Self::Guest(guest) => return Ok(guest),
                // Boxed, so that calls with an existing guest do not reserve space for creating one.
                Self::Promised(program) => *self = Box::pin(program.instantiate()).await?.into(),
            }
        }
    }
}
