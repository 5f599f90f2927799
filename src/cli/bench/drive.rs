//! Starts the lanes of a run and the readers of results, shows the progress, and ends the run.

use std::future::pending;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, sleep_until};

use super::lane::{self, Run};
use super::plan::Stop;
use super::results::{Awaited, Results};
use super::sink;
use super::tally::Tally;
use crate::cli::failure::Failure;
use crate::cli::screen::{Screen, duration};

const TICK: Duration = Duration::from_millis(200);

/// The number of threads. Half of the processors are left to the server, which is often on the same machine.
pub(super) fn lanes(connections: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (processors / 2).clamp(1, connections)
}

/// The end of a run.
pub(super) struct Ended {
    pub(super) tally: Tally,
    /// The results, if the service is asynchronous.
    pub(super) results: Option<Results>,
    /// The length of the measurement, without the wait for results after it.
    pub(super) took: Duration,
    /// True if the run was interrupted.
    pub(super) was_stopped: bool,
}

/// Runs all lanes until they end or the run is interrupted, and waits for the results if the service is asynchronous.
pub(super) fn carry_out(run: &Arc<Run>, screen: &Screen) -> Result<Ended, Failure> {
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let (ended, ends) = tokio::sync::mpsc::unbounded_channel();
    thread::scope(|scope| {
        for index in 0..run.lanes {
            let (run, stopped, ended) = (Arc::clone(run), stopped.clone(), ended.clone());
            scope.spawn(move || {
                // The receiver outlives all lanes.
                let _ = ended.send(lane::work(&run, index, stopped));
            });
        }
        drop(ended);
        runtime.block_on(async {
            // The readers end when the set is dropped.
            let mut readers = JoinSet::new();
            if run.awaited.is_some() {
                (0..sink::READERS).for_each(|_| drop(readers.spawn(sink::read(Arc::clone(run)))));
            }
            let mut desk = Desk {
                run,
                progress: screen.spinner("bench"),
                ticks: tokio::time::interval(TICK),
                interrupts: signal(SignalKind::interrupt()).ok(),
            };
            let tally = desk.load(ends, &stop).await.context("the load generator failed");
            let mut was_stopped = *stop.borrow();
            let took = run.took(was_stopped);
            if let (Some(awaited), Some(queue), true) = (&run.awaited, &run.plan.queue, tally.is_ok()) {
                was_stopped |= desk.wait(awaited, queue.patience).await;
            }
            desk.progress.finish_and_clear();
            let results = run.awaited.as_ref().map(Awaited::finish);
            Ok(Ended { tally: tally?, results, took, was_stopped })
        })
    })
}

/// The progress of a run for the user, and the interrupts with which the user ends it.
struct Desk<'a> {
    run: &'a Run,
    progress: ProgressBar,
    ticks: Interval,
    /// `None` if interrupts cannot be caught. An interrupt then ends the process.
    interrupts: Option<Signal>,
}

impl Desk<'_> {
    /// Adds up the tallies of the lanes until all have ended. An interrupt stops them.
    async fn load(
        &mut self,
        mut ends: UnboundedReceiver<io::Result<Tally>>,
        stop: &watch::Sender<bool>,
    ) -> io::Result<Tally> {
        let mut tally = Tally::new(self.run.measured_from());
        let mut failure = None;
        loop {
            tokio::select! {
                part = ends.recv() => match part {
                    Some(Ok(part)) => tally.add(part),
                    Some(Err(error)) => {
                        failure = Some(error);
                        stop.send_replace(true);
                    }
                    None => return failure.map_or(Ok(tally), Err),
                },
                _ = self.ticks.tick() => self.progress.set_prefix(self.run.progress()),
                () = interrupt(&mut self.interrupts) => drop(stop.send_replace(true)),
            }
        }
    }

    /// Waits until all results have come, or none has for `patience`. Returns true if an interrupt ended the wait.
    async fn wait(&mut self, awaited: &Awaited, patience: Duration) -> bool {
        let begin = Instant::now();
        loop {
            let left = awaited.left();
            let until = awaited.last().map_or(begin, |last| last.max(begin)) + patience;
            if left == 0 || Instant::now() >= until {
                return false;
            }
            tokio::select! {
                () = awaited.changed() => {}
                () = sleep_until(until.into()) => {}
                _ = self.ticks.tick() => self.progress.set_prefix(format!("waiting for {left} results")),
                () = interrupt(&mut self.interrupts) => return true,
            }
        }
    }
}

/// Waits for an interrupt. None is lost between two calls.
async fn interrupt(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => drop(interrupts.recv().await),
        None => pending().await,
    }
}

impl Run {
    fn took(&self, was_stopped: bool) -> Duration {
        let elapsed = Instant::now().saturating_duration_since(self.measured_from());
        match self.plan.stop {
            // Answers that come after the end belong to requests that were due before it, so they do not lengthen the
            // run.
            Stop::After(time) if !was_stopped => time,
            _ => elapsed,
        }
    }

    fn progress(&self) -> String {
        let now = Instant::now();
        let (done, failed) = (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let left = match self.end().filter(|end| *end > now) {
            Some(end) => format!(", {} left", duration(end - now)),
            None => String::new(),
        };
        let seconds = now.saturating_duration_since(self.start).as_secs_f64().max(1e-3);
        let what = if now < self.measured_from() { "warming up" } else { "measuring" };
        let to_come = self.awaited.as_ref().map(|awaited| format!(", {} results to come", awaited.left()));
        let to_come = to_come.unwrap_or_default();
        format!("{what}: {done} requests, {:.0} a second, {failed} failed{to_come}{left}", done as f64 / seconds)
    }
}
