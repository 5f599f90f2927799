//! One thread of a run: its connections, and the order in which they send.
//!
//! A free connection takes the next turn: in the closed loop at once, in the open loop when it is due. If no connection
//! is free, the turn waits, but its time still counts from when it was due. So a stalled server cannot hold back the
//! requests that would show the stall.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::arrivals::{Arrivals, Timer};
use super::connection::{Answer, Connection, Fault};
use super::plan::{Pace, Plan, Stop};
use super::results::{Awaited, Put};
use super::tally::Tally;

/// The pause after a connection that could not be made, in a closed loop. In an open loop, the rate delays the next
/// attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// The state that all lanes of a run share.
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) lanes: usize,
    /// The time of the first request of the warm-up, for all lanes.
    pub(super) start: Instant,
    /// Requests that have ended so far, for the progress display.
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    /// The results of the puts, if the service is asynchronous.
    pub(super) awaited: Option<Awaited>,
    /// Measured requests that a closed loop still has to send.
    tickets: AtomicU64,
}

impl Run {
    pub(super) fn new(plan: Plan, lanes: usize) -> Self {
        let tickets = match plan.stop {
            Stop::After(_) => u64::MAX,
            Stop::Requests(count) => count,
        };
        let start = Instant::now() + Duration::from_millis(20);
        let awaited = plan.queue.is_some().then(|| Awaited::new(start + plan.warm_up));
        Self {
            plan,
            lanes,
            start,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            awaited,
            tickets: AtomicU64::new(tickets),
        }
    }

    /// The time at which the measurement begins.
    pub(super) fn measured_from(&self) -> Instant {
        self.start + self.plan.warm_up
    }

    /// The time from which no request is due; `None` for a run that ends by number.
    pub(super) fn end(&self) -> Option<Instant> {
        match self.plan.stop {
            Stop::After(time) => Some(self.measured_from() + time),
            Stop::Requests(_) => None,
        }
    }
}

struct Lane {
    run: Arc<Run>,
    turns: Mutex<Turns>,
    timer: Timer,
    tally: RefCell<Tally>,
    requests: RefCell<usize>,
}

/// The turns of a lane. The connection that waits for the next turn holds the lock; the others queue for the lock.
enum Turns {
    Closed,
    Open {
        arrivals: Arrivals,
        /// Measured requests that this lane still has to send, in a run that ends by number.
        left: u64,
    },
}

/// Runs a lane until the end of the run, or until `stopped` becomes true. Requests in flight are then dropped and not
/// counted.
pub(super) fn work(run: &Arc<Run>, index: usize, mut stopped: watch::Receiver<bool>) -> io::Result<Tally> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let lane = Rc::new(Lane::new(run, index)?);
        let share = share(run.plan.connections as u64, index, run.lanes);
        let mut connections = JoinSet::new();
        for _ in 0..share {
            connections.spawn_local(connection(Rc::clone(&lane)));
        }
        let all = async {
            while let Some(ended) = connections.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            Ok::<_, io::Error>(())
        };
        let outcome = tokio::select! {
            outcome = all => outcome,
            _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
        };
        connections.shutdown().await;
        outcome?;
        let began = run.measured_from();
        Ok(lane.tally.replace(Tally::new(began)))
    })
}

/// The part of `count` that lane `index` has.
fn share(count: u64, index: usize, lanes: usize) -> u64 {
    let (lanes, index) = (lanes as u64, index as u64);
    count / lanes + u64::from(index < count % lanes)
}

impl Lane {
    fn new(run: &Arc<Run>, index: usize) -> io::Result<Self> {
        let turns = match run.plan.pace {
            Pace::Closed => Turns::Closed,
            Pace::Open { rate, by_chance } => Turns::Open {
                arrivals: Arrivals::new(run.start, rate, by_chance, index, run.lanes),
                left: match run.plan.stop {
                    Stop::After(_) => u64::MAX,
                    Stop::Requests(count) => share(count, index, run.lanes),
                },
            },
        };
        Ok(Self {
            run: Arc::clone(run),
            turns: Mutex::new(turns),
            timer: Timer::new()?,
            tally: RefCell::new(Tally::new(run.measured_from())),
            // Lanes begin at different requests of a list.
            requests: RefCell::new(index * run.plan.requests.len() / run.lanes),
        })
    }

    /// Waits for the next turn and returns its due time, which is now or in the past; `None` at the end of the run.
    async fn turn(&self) -> io::Result<Option<Instant>> {
        let run = &self.run;
        let mut turns = self.turns.lock().await;
        let Turns::Open { arrivals, left } = &mut *turns else {
            self.timer.until(run.start).await?;
            let now = Instant::now();
            let ended = run.end().is_some_and(|end| now >= end);
            let has_ticket = || {
                let take = |left: u64| left.checked_sub(1);
                now < run.measured_from()
                    || run.tickets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
            };
            return Ok((!ended && has_ticket()).then_some(now));
        };
        if run.end().is_some_and(|end| Instant::now() >= end) {
            self.give_up(arrivals, run.end());
            return Ok(None);
        }
        let due = arrivals.peek();
        if run.end().is_some_and(|end| due >= end) || *left == 0 {
            return Ok(None);
        }
        self.timer.until(due).await?;
        arrivals.advance();
        *left -= u64::from(due >= run.measured_from());
        Ok(Some(due))
    }

    /// Counts the requests that are still due at the end as unsent.
    fn give_up(&self, arrivals: &mut Arrivals, end: Option<Instant>) {
        while end.is_some_and(|end| arrivals.peek() < end) {
            self.tally.borrow_mut().unsent += u64::from(arrivals.peek() >= self.run.measured_from());
            arrivals.advance();
        }
    }

    /// The bytes of the next request; `put` is what it puts, if the service is asynchronous.
    fn next_request(&self, put: Option<&Put<'_>>) -> Cow<'_, [u8]> {
        let requests = &self.run.plan.requests;
        let mut next = self.requests.borrow_mut();
        let request = &requests[*next % requests.len()];
        *next = (*next + 1) % requests.len();
        match (&self.run.plan.queue, put) {
            (Some(queue), Some(put)) => Cow::Owned(queue.numbered(request, put.number)),
            _ => Cow::Borrowed(request),
        }
    }

    fn record(&self, due: Instant, sent: Instant, outcome: Result<Answer, Fault>) {
        let succeeded = has_succeeded(&outcome);
        self.run.done.fetch_add(1, Ordering::Relaxed);
        self.run.failed.fetch_add(u64::from(!succeeded), Ordering::Relaxed);
        if due >= self.run.measured_from() {
            self.tally.borrow_mut().record(due, sent, Instant::now(), outcome);
        }
    }
}

fn has_succeeded(outcome: &Result<Answer, Fault>) -> bool {
    outcome.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
}

async fn connection(lane: Rc<Lane>) -> io::Result<()> {
    let plan = &lane.run.plan;
    let mut kept = None;
    while let Some(due) = lane.turn().await? {
        let sent = Instant::now();
        let deadline = (sent + plan.timeout).into();
        let put = lane.run.awaited.as_ref().map(|awaited| awaited.put(due));
        let exchange = exchange(&lane, kept.take(), put.as_ref());
        let outcome = match timeout_at(deadline, exchange).await {
            Ok(Ok((connection, answer))) => {
                kept = Some(connection);
                Ok(answer)
            }
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::Timeout),
        };
        // A put that failed is dropped.
        if let Some(put) = put.filter(|_| has_succeeded(&outcome)) {
            put.accept();
        }
        let pause = outcome == Err(Fault::Connect) && plan.pace == Pace::Closed;
        lane.record(due, sent, outcome);
        if pause {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Sends one request on the kept connection, or on a new one if the server has closed it.
async fn exchange(lane: &Lane, kept: Option<Connection>, put: Option<&Put<'_>>) -> Result<(Connection, Answer), Fault> {
    let plan = &lane.run.plan;
    let mut connection = match kept.filter(Connection::is_open) {
        Some(connection) => connection,
        None => Connection::open(plan.address).await?,
    };
    let answer = connection.exchange(&lane.next_request(put), plan.is_head).await?;
    Ok((connection, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (count, lanes) in [(10, 3), (2, 4), (0, 2), (7, 1)] {
            assert_eq!((0..lanes).map(|index| share(count, index, lanes)).sum::<u64>(), count);
        }
    }
}
