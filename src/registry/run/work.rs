//! The run of a call: a worker's guest answers it, at once, in the background, or as a stream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::faults::{AtWork, Faults};
use super::instance::Instance;
use super::streamed::{CallDeadline, Overseer, Working, of_ended};
use super::ticket::{Claim, Stopped, Ticket};
use super::version::Version;
use super::worker::Worker;
use crate::admission::{Begun, Overdue, Place, Unanswered};
use crate::call::{Answer, Call, Raced};
use crate::config::Isolation;
use crate::sandbox::{InitializeError, RecycleReason, Run};

/// The outcome of a call.
pub enum Ran {
    Ended(Run),
    /// The guest goes on with its work while its answer is sent.
    Streaming(Box<Answer>),
}

/// The outcome of a guest's work on one call, and the reason to replace the guest although it is intact.
pub(in crate::registry) struct Worked {
    pub(in crate::registry) run: Run,
    pub(in crate::registry) worn: Option<RecycleReason>,
}

/// The work on a call when its answer begins or it ends, whichever comes first.
enum Computed {
    Ended(Worked),
    Streaming(Box<Answer>, Working),
}

impl Version {
    /// Answers a call with the admitted worker. Dropping the future stops the guest.
    ///
    /// `began` is the present time, which the caller has already read.
    pub async fn run(&self, ticket: Ticket, call: Arc<Call>, began: Instant) -> Result<Ran, Stopped> {
        let Ticket { claim, instance } = ticket;
        let instance = &self.instances[instance];
        match claim {
            Claim::Worker(place) => self.run_by_itself(instance, place, call, began).await,
            Claim::Seat(seat) => {
                let deadline = call.deadline.at();
                match instance.grace.within(Box::pin(seat.answer(call, deadline))).await {
                    None => Err(Stopped::Retired),
                    Some(Ok(outcome)) => outcome.map(Ran::Ended),
                    Some(Err(Unanswered::Overdue)) => Err(Stopped::Overdue),
                    Some(Err(Unanswered::NoWorker)) => Err(Stopped::NoWorker),
                    Some(Err(Unanswered::Lost)) => {
                        Err(Stopped::NoGuest(InitializeError::Host("the work on its batch was dropped".into())))
                    }
                }
            }
        }
    }

    async fn run_by_itself(
        &self,
        instance: &Arc<Instance>,
        place: Place<Worker>,
        call: Arc<Call>,
        began: Instant,
    ) -> Result<Ran, Stopped> {
        let at_work = AtWork::begin(&*instance.faults, call.request_id, began, call.deadline.at());
        let outcome = match self.compute(instance, place, &call, began).await {
            Ok(Computed::Streaming(answer, working)) => {
                let at_work = at_work.detach(Arc::clone(&instance.faults));
                return Ok(Ran::Streaming(self.watch(instance, call, working, at_work).watch(answer)));
            }
            Ok(Computed::Ended(Worked { run, worn })) => {
                worn.into_iter().for_each(|worn| self.supplies.metrics.recycled(worn.name()));
                Ok(run)
            }
            Err(stopped) => Err(stopped),
        };
        at_work.end_call(self.spec.enable_crash_block(), &outcome);
        outcome.map(Ran::Ended)
    }

    fn watch(
        &self,
        instance: &Arc<Instance>,
        call: Arc<Call>,
        working: Working,
        at_work: AtWork<Arc<Faults>>,
    ) -> Overseer {
        let (instance, spec) = (Arc::clone(instance), Arc::clone(&self.spec));
        let metrics = Arc::clone(&self.supplies.metrics);
        Overseer { call, working, at_work, instance, spec, metrics }
    }

    /// Answers a call of the host itself with a worker of this instance. The call is not counted.
    pub(in crate::registry) async fn run_alone(&self, instance: usize, call: Arc<Call>) -> Result<Ran, Stopped> {
        let instance = &self.instances[instance];
        let place = instance.admission.admit(call.deadline.at()).await.map_err(|_| Stopped::Overdue)?;
        match self.compute(instance, place, &call, Instant::now()).await? {
            Computed::Ended(Worked { run, .. }) => Ok(Ran::Ended(run)),
            Computed::Streaming(answer, working) => {
                let faults = Arc::clone(&instance.faults);
                let at_work = AtWork::begin(faults, call.request_id, Instant::now(), call.deadline.at());
                Ok(Ran::Streaming(self.watch(instance, call, working, at_work).watch(answer)))
            }
        }
    }

    async fn compute(
        &self,
        instance: &Instance,
        mut place: Place<Worker>,
        call: &Arc<Call>,
        began: Instant,
    ) -> Result<Computed, Stopped> {
        let reuse = self.reuses_guests();
        let blocked = self.spec.enable_crash_block().then(|| Arc::clone(&instance.crashes));
        let called = Arc::clone(call);
        let work = Box::pin(async move {
            let request_id = called.request_id;
            let guest = place.start().guest().await.map_err(Stopped::NoGuest)?;
            let run = guest.run(called, began).await;
            let may_stay = reuse && run.left_the_guest_whole();
            let worn = guest.recycle_reason().filter(|_| may_stay);
            match (&run.result, blocked) {
                (Err(failed), Some(crashes)) if failed.fault.is_crash() => {
                    crashes.keep(place.give_up(), request_id, failed.fault.to_string(), &failed.stack);
                }
                _ if may_stay && worn.is_none() => place.release(),
                _ => {}
            }
            Ok(Worked { run, worn })
        });
        let (executor, deadline) = (&self.supplies.executor, || CallDeadline(Arc::clone(call)));
        let begun = match self.spec.queue() {
            // Nobody waits for a first slice on this thread.
            Some(queue) => Ok(Begun::Running(executor.run_queued(queue.weight, deadline(), work))),
            None if self.supplies.program.may_hold_its_thread() => {
                Ok(Begun::Running(executor.run_in_background(deadline(), work)))
            }
            None => executor.begin(&self.slice_history, began, call.deadline.at(), deadline, work).await,
        };
        let begun = begun.map_err(|Overdue| Stopped::Overdue)?;
        let mut working = match begun {
            Begun::Done(worked) => return worked.map(ended),
            Begun::Running(working) => working,
        };
        let raced = instance.grace.within(pin!(call.streaming.race(&mut working))).await;
        match raced {
            None => Err(Stopped::Retired),
            Some(Raced::Ended(Err(Overdue))) => Err(Stopped::Overdue),
            Some(Raced::Ended(Ok(worked))) => worked.map(ended),
            Some(Raced::Answering(answer)) => Ok(Computed::Streaming(answer, working)),
        }
    }

    /// True if guests read the bodies of their requests while these arrive.
    pub fn reads_uploads(&self) -> bool {
        self.supplies.program.reads_uploads()
    }

    /// True if a guest answers several requests in turn.
    fn reuses_guests(&self) -> bool {
        match self.spec.sandbox().isolation {
            Some(isolation) => isolation == Isolation::Reuse,
            None => self.supplies.program.reuses_guests(),
        }
    }
}

fn ended(mut worked: Worked) -> Computed {
    worked.run.result = worked.run.result.and_then(of_ended);
    Computed::Ended(worked)
}
