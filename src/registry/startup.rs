//! The progress of the host's start, and the current step of each service that is being brought up.
//!
//! With the machine code of all processors on disk, the start is quick. Without it, as in a copy of a data directory
//! that lacks `compiled/`, every processor is compiled again, one after the other. The log, `desc` and `/readyz` show
//! the progress.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{Interval, interval_at};

use super::change::{Report, Step};

/// Time between two log lines about an unfinished start.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most services that such a line names.
const NAMED: usize = 5;

/// The progress of a host's start.
#[derive(Default)]
pub(super) struct Startup(Mutex<State>);

#[derive(Default)]
struct State {
    /// Services to bring up at the start. The remaining ones are counted by their phase, because an operator may stop,
    /// start or delete one before its turn.
    total: usize,
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

    /// Records a report of a service that is being brought up.
    pub(super) fn hear(&self, service: &str, report: &Report) {
        if let Report::Begun(step) = report {
            self.state().steps.insert(service.into(), *step);
        }
    }

    pub(super) fn ended(&self, service: &str) {
        self.state().steps.remove(service);
    }

    /// Describes the progress while `left` services remain: `3 of 12 services done`.
    pub(super) fn progress(&self, left: usize) -> String {
        let total = self.state().total;
        format!("{} of {total} services done", total.saturating_sub(left))
    }

    /// As [`Self::progress`], for a service that is not done yet: `compiling; 3 of 12 services done`.
    pub(super) fn progress_of(&self, service: &str, left: usize) -> String {
        let step = self.state().steps.get(service).copied();
        format!("{}; {}", step.map_or("waiting for its turn", doing), self.progress(left))
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
    /// Waits until the next log line is due, and writes it. `left` returns the number of remaining services.
    pub(super) async fn tick(&mut self, left: impl Fn() -> usize) {
        self.ticks.tick().await;
        let left = left();
        let State { total, ref steps } = *self.startup.state();
        let done = total.saturating_sub(left);
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
            tracing::info!(
                services = total,
                took_ms = self.began.elapsed().as_millis() as u64,
                "the services have been brought up"
            );
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
        assert_eq!(startup.progress_of("b", 3), "waiting for its turn; 0 of 3 services done");
        startup.hear("a", &Report::Begun(Step::Compile));
        startup.hear("b", &Report::Begun(Step::Compile));
        startup.hear("b", &Report::Notice("no snapshot".into()));
        startup.ended("a");
        assert_eq!(startup.progress_of("a", 2), "waiting for its turn; 1 of 3 services done");
        assert_eq!(startup.progress_of("b", 2), "compiling; 1 of 3 services done");
        startup.hear("b", &Report::Begun(Step::Initialize));
        assert_eq!(startup.progress_of("b", 2), "initialising; 1 of 3 services done");
        assert_eq!(startup.progress(0), "3 of 3 services done");
    }
}
