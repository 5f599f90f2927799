//! The replacement of failed guests.
//!
//! A guest that starts from an image is created by the call that needs it. A guest that needs `initialize` is created
//! in the background: the first attempt is made at once. If `initialize` fails, further attempts follow at growing
//! intervals, and the cause can be queried meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::worker::Worker;
use crate::admission::{Executor, Replace, Vacancy};
use crate::sandbox::Program;
use crate::telemetry::ServiceMetrics;

/// Pauses between attempts to create a guest whose `initialize` fails.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The reason why the latest guest could not be created, and the time of the next attempt.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub error: String,
    pub next_attempt: Instant,
}

/// The latest trouble of an instance. It may be over.
#[derive(Default)]
pub(in crate::registry) struct LastTrouble(Mutex<Option<Trouble>>);

impl LastTrouble {
    pub(in crate::registry) fn last(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Trouble) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }
}

/// Everything that a new guest of one instance needs.
pub(in crate::registry) struct Replacements {
    pub(in crate::registry) service: String,
    pub(in crate::registry) program: Arc<Program>,
    pub(in crate::registry) executor: Arc<Executor>,
    pub(in crate::registry) metrics: Arc<ServiceMetrics>,
    pub(in crate::registry) retired: Arc<AtomicBool>,
    pub(in crate::registry) trouble: Arc<LastTrouble>,
}

impl Replace<Worker> for Replacements {
    fn replace(&self, mut vacancy: Vacancy<Worker>) {
        if self.retired.load(Ordering::Relaxed) {
            return;
        }
        if self.program.starts_from_image() {
            return vacancy.fill(Worker::Promised(Arc::clone(&self.program)));
        }
        let (program, retired) = (Arc::clone(&self.program), Arc::clone(&self.retired));
        let (service, metrics, trouble) = (self.service.clone(), Arc::clone(&self.metrics), Arc::clone(&self.trouble));
        self.executor.background().spawn(async move {
            let mut pause = FIRST_PAUSE;
            while !retired.load(Ordering::Relaxed) {
                match program.instantiate().await {
                    Ok(guest) => return vacancy.fill(guest.into()),
                    Err(error) => {
                        metrics.initialize_failed();
                        let retry_in_ms = pause.as_millis() as u64;
                        tracing::error!(service, %error, retry_in_ms, "a guest cannot be replaced");
                        trouble.note(Trouble { error: error.to_string(), next_attempt: Instant::now() + pause });
                        vacancy.stall();
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        });
    }
}
