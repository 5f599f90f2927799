//! What stands behind one place of an instance.

use std::sync::Arc;

use crate::sandbox::{Guest, InitializeError, Program};

/// A guest, or the promise of one where a guest starts from an image: it takes microseconds then, so it is made when
/// first needed, and services at rest hold no more guests than they have been found to need.
pub(in crate::registry) enum Worker {
    /// In a box, since a worker is handed from place to place with every call.
    Guest(Box<Guest>),
    Promised(Arc<Program>),
}

impl From<Guest> for Worker {
    fn from(guest: Guest) -> Self {
        Self::Guest(Box::new(guest))
    }
}

impl Worker {
    /// Lets go of a guest that must not be used again; the next one is made when it is needed.
    pub(in crate::registry) fn promise(&mut self, program: &Arc<Program>) {
        *self = Self::Promised(Arc::clone(program));
    }

    /// The guest; made now, if it was only promised.
    pub(in crate::registry) async fn guest(&mut self) -> Result<&mut Guest, InitializeError> {
        loop {
            match self {
                Self::Guest(guest) => return Ok(guest),
                // In a box, so that calls whose guest is there do not carry the room for making one.
                Self::Promised(program) => *self = Box::pin(program.instantiate()).await?.into(),
            }
        }
    }
}
