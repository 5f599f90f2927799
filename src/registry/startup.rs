//! The start of the host: counts the services that are done, and keeps the current step of each of the others.
//!
//! With the machine code of all processors on disk, the start is quick. Without it, as in a copy of a data directory
//! that lacks `compiled/`, every processor is compiled again, one after the other. The log, `desc` and `/readyz` show
//! the progress.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{Interval, interval_at};

use super::change::{Report, Step};

/// Time between two log lines about a start that is not finished.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most services that such a line names.
const NAMED: usize = 5;

/// The progress of a host's start.
#[derive(Default)]
pub struct Startup(Mutex<State>);

#[derive(Default)]
struct State {
    total: usize,
    /// Services that were brought up, or have failed.
    done: usize,
    /// The current step of each service that is being brought up.
    steps: BTreeMap<Box<str>, Step>,
}

/// Logs the progress of the start until its end.
pub(super) struct Watch<'a> {
    startup: &'a Startup,
    began: Instant,
    ticks: Interval,
}

impl Startup {
    pub(super) fn of(total: usize) -> Self {
        Self(Mutex::new(State { total, ..State::default() }))
    }

    /// Notes a report of a service that is being brought up.
    pub(super) fn hear(&self, service: &str, report: &Report) {
        if let Report::Begun(step) = report {
            self.state().steps.insert(service.into(), *step);
        }
    }

    pub(super) fn done(&self, service: &str) {
        let mut state = self.state();
        state.steps.remove(service);
        state.done += 1;
    }

    /// The progress in words: `3 of 12 services done`.
    pub fn progress(&self) -> String {
        let state = self.state();
        format!("{} of {} services done", state.done, state.total)
    }

    /// The same for a service that is not done yet: `compiling; 3 of 12 services done`.
    pub fn progress_of(&self, service: &str) -> String {
        let step = self.state().steps.get(service).copied();
        format!("{}; {}", step.map_or("waiting for its turn", doing), self.progress())
    }

    pub(super) fn watch(&self) -> Watch<'_> {
        let (total, began) = (self.state().total, Instant::now());
        if total > 0 {
            tracing::info!(services = total, "bringing up the services");
        }
        Watch { startup: self, began, ticks: interval_at((began + PATIENCE).into(), PATIENCE) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch<'_> {
    /// Waits until the next log line is due, and writes it.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
        let State { total, done, ref steps } = *self.startup.state();
        let under_way: Vec<String> =
            steps.iter().take(NAMED).map(|(service, step)| format!("{} {service}", doing(*step))).collect();
        let more = steps.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let under_way = under_way.join(", ") + &more;
        tracing::info!(done, of = total, under_way, "still bringing up the services");
    }

    pub(super) fn end(self) {
        let total = self.startup.state().total;
        if total > 0 {
            tracing::info!(services = total, took = ?self.began.elapsed(), "the services have been brought up");
        }
    }
}

const fn doing(step: Step) -> &'static str {
    match step {
        Step::Check => "checking",
        Step::Compile => "compiling",
        Step::Initialize => "initialising",
        Step::Snapshot => "taking a snapshot of",
        Step::WarmUp => "warming up",
        Step::Swap => "switching over",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_for_what() {
        let startup = Startup::of(3);
        assert_eq!(startup.progress_of("b"), "waiting for its turn; 0 of 3 services done");
        startup.hear("a", &Report::Begun(Step::Compile));
        startup.hear("b", &Report::Begun(Step::Compile));
        startup.hear("b", &Report::Notice("no snapshot".into()));
        startup.done("a");
        assert_eq!(startup.progress_of("b"), "compiling; 1 of 3 services done");
        startup.hear("b", &Report::Begun(Step::Initialize));
        assert_eq!(startup.progress_of("b"), "initialising; 1 of 3 services done");
        startup.done("b");
        assert_eq!(startup.progress(), "2 of 3 services done");
    }
}
