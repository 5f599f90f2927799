//! Starts the lanes of a run, shows the progress, and ends the run.

use std::io;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;

use super::lane::{self, Run};
use super::plan::Stop;
use super::tally::Tally;
use crate::cli::failure::Failure;
use crate::cli::screen::{Screen, duration};

const TICK: Duration = Duration::from_millis(200);

/// The number of threads. Half of the processors are left to the server, which is often on the same machine.
pub(super) fn lanes(connections: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (processors / 2).clamp(1, connections)
}

/// Runs all lanes until they end or the run is interrupted. Returns the tally, and true if the run was interrupted.
pub(super) fn carry_out(run: &Arc<Run>, screen: &Screen) -> Result<(Tally, bool), Failure> {
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
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
            let progress = screen.spinner("bench");
            let mut ticks = tokio::time::interval(TICK);
            let mut tally = Tally::new(run.measured_from());
            let mut failure: Option<io::Error> = None;
            // One future for the whole run: an interrupt between two futures would be lost.
            let mut is_interrupted = false;
            let mut interrupt = pin!(tokio::signal::ctrl_c());
            loop {
                tokio::select! {
                    part = ends.recv() => match part {
                        Some(Ok(part)) => tally.add(part),
                        Some(Err(error)) => {
                            failure = Some(error);
                            stop.send_replace(true);
                        }
                        None => break,
                    },
                    _ = ticks.tick() => progress.set_prefix(run.progress()),
                    interrupt = &mut interrupt, if !is_interrupted => {
                        is_interrupted = true;
                        // An error means that interrupts cannot be caught. Then the run goes on, and an interrupt ends
                        // the process.
                        stop.send_replace(interrupt.is_ok());
                    }
                }
            }
            progress.finish_and_clear();
            match failure {
                Some(error) => Err(Failure::Failed(anyhow::Error::new(error).context("the load generator failed"))),
                None => Ok((tally, *stop.borrow())),
            }
        })
    })
}

impl Run {
    pub(super) fn took(&self, was_stopped: bool) -> Duration {
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
        format!("{what}: {done} requests, {:.0} a second, {failed} failed{left}", done as f64 / seconds)
    }
}
