//! The processing of batches: one call of the guest for all requests, and after a fault one call for each request.
//!
//! The repetition is safe: a fault costs the guest its memory, and a guest can change only its memory, so nothing
//! remains of the failed call. Only the request at fault then gets the fault. A processor that returns the wrong number
//! of results would do so again, so all requests get that fault at once.

use std::sync::Arc;
use std::time::Instant;

use super::faults::{AtWork, Faults, Loss};
use super::supplies::Supplies;
use super::ticket::Stopped;
use super::worker::Worker;
use crate::admission::{self, Admission, Member, Overdue, Place, Rejected, SliceHistory, Unanswered, Work};
use crate::call::{Batched, Call};
use crate::sandbox::{BatchRun, Fault, InitializeError, RecycleReason, Run, share};

/// The outcome of one request of a batch.
pub(in crate::registry) type Outcome = Result<Run, Stopped>;
type Batch = admission::Batch<Arc<Call>, Outcome>;
type Request = Member<Arc<Call>, Outcome>;

/// Everything that the processing of a batch needs.
#[derive(Clone)]
pub(in crate::registry) struct BatchRunner {
    pub(in crate::registry) supplies: Supplies,
    pub(in crate::registry) admission: Arc<Admission<Worker>>,
    pub(in crate::registry) slice_history: Arc<SliceHistory>,
    /// The faults of the instance.
    pub(in crate::registry) faults: Arc<Faults>,
}

impl Work<Worker, Arc<Call>, Outcome> for BatchRunner {
    fn begin(&self, place: Place<Worker>, batch: Batch) {
        // A separate task, so that the batch does not end with the caller that started it.
        tokio::spawn(self.clone().work_on(place, batch));
    }
}

impl BatchRunner {
    async fn work_on(self, place: Place<Worker>, mut batch: Batch) {
        let began = Instant::now();
        let calls: Vec<Arc<Call>> = batch.members.iter().map(|member| Arc::clone(&member.call)).collect();
        for call in &calls {
            call.spent.note_batch(Batched { began, size: calls.len() });
        }
        let Supplies { executor, metrics, .. } = &self.supplies;
        metrics.batched(calls.len());
        let Some(first) = calls.first().map(|call| call.request_id) else { return };
        // Each caller is answered at its own deadline; the guest runs until the last of them.
        let deadline = batch.members.iter().map(|member| member.deadline).max().unwrap_or(began);
        let work = Box::pin(together(place, calls, began));
        let at_work = AtWork::begin(&*self.faults, first, began, deadline);
        let outcome = tokio::select! {
            biased;
            outcome = executor.run(&self.slice_history, began, deadline, work) => outcome,
            () = batch.abandoned() => return,
        };
        let outcome = match outcome {
            Err(Overdue) => Err(Stopped::Overdue),
            Ok(done) => done.map_err(Stopped::NoGuest),
        };
        // Counted before any caller gets its answer.
        at_work.end(outcome.as_ref().map(|(run, ..)| run.failed().map(Loss::of)));
        let members = batch.members;
        match outcome {
            Err(Stopped::NoGuest(error)) => members.into_iter().for_each(|member| member.answer(no_guest(&error))),
            Err(_) => members.into_iter().for_each(|member| member.fail(Unanswered::Overdue)),
            Ok((run, worn, place)) => self.hand_out(run, worn, place, members).await,
        }
    }

    /// Gives each caller its own result.
    async fn hand_out(&self, run: BatchRun, worn: Option<RecycleReason>, place: Place<Worker>, members: Vec<Request>) {
        let spoilt = run.failed().is_some();
        let BatchRun { results, fuel, memory, ended } = run;
        let size = members.len();
        let results = match results {
            Err(failed) if size > 1 && !is_everyones(&failed.fault) => return self.one_by_one(place, members).await,
            Err(failed) => (0..size).map(|_| Err(failed.clone())).collect(),
            Ok(results) => results,
        };
        if let Some(worn) = worn {
            self.supplies.metrics.recycled(worn.name());
        } else if !spoilt {
            place.release();
        }
        for (index, (member, result)) in members.into_iter().zip(results).enumerate() {
            let fuel = fuel.map(|fuel| share(fuel, size, index));
            member.answer(Ok(Run { result, fuel, memory, ended }));
        }
    }

    /// Makes each call separately, in the place of the guest that failed.
    async fn one_by_one(&self, place: Place<Worker>, members: Vec<Request>) {
        let (mut held, mut is_spoilt) = (Some(place), true);
        for mut member in members {
            if member.is_gone() {
                continue;
            }
            let mut place = match held.take() {
                Some(place) => place,
                // The place was lost with the previous call.
                None => match self.admission.admit(member.deadline).await {
                    Ok(place) => place,
                    Err(Rejected::Overdue) => {
                        member.fail(Unanswered::Overdue);
                        continue;
                    }
                    Err(Rejected::NoWorker | Rejected::QueueFull) => {
                        member.fail(Unanswered::NoWorker);
                        continue;
                    }
                },
            };
            if is_spoilt {
                place.start().promise(&self.supplies.program);
            }
            let outcome = self.alone(place, &mut member).await;
            is_spoilt = match &outcome {
                Some(Ok((run, _))) => !run.left_the_guest_whole(),
                _ => false,
            };
            match outcome {
                None => {}
                Some(Ok((run, place))) => {
                    held = Some(place);
                    member.answer(Ok(run));
                }
                Some(Err(Stopped::Overdue)) => member.fail(Unanswered::Overdue),
                Some(Err(stopped)) => member.answer(Err(stopped)),
            }
        }
        if let Some(place) = held.filter(|_| !is_spoilt) {
            place.release();
        }
    }

    /// Makes one call of the batch separately. Returns the outcome with the place, or `None` if the caller has left.
    async fn alone(
        &self,
        mut place: Place<Worker>,
        member: &mut Request,
    ) -> Option<Result<(Run, Place<Worker>), Stopped>> {
        let (now, call, deadline) = (Instant::now(), Arc::clone(&member.call), member.deadline);
        let work = Box::pin(async move {
            let run = place.start().guest().await?.run(call, now).await;
            Ok::<_, InitializeError>((run, place))
        });
        let at_work = AtWork::begin(&*self.faults, member.call.request_id, now, deadline);
        let outcome = tokio::select! {
            biased;
            outcome = self.supplies.executor.run(&self.slice_history, now, deadline, work) => outcome,
            () = member.gone() => return None,
        };
        let outcome = match outcome {
            Err(Overdue) => Err(Stopped::Overdue),
            Ok(done) => done.map_err(Stopped::NoGuest),
        };
        at_work.end(outcome.as_ref().map(|(run, _)| Loss::of_run(run)));
        Some(outcome)
    }
}

/// Passes all calls to one guest.
async fn together(
    mut place: Place<Worker>,
    calls: Vec<Arc<Call>>,
    began: Instant,
) -> Result<(BatchRun, Option<RecycleReason>, Place<Worker>), InitializeError> {
    let guest = place.start().guest().await?;
    let run = guest.run_batch(&calls, began).await;
    let worn = guest.recycle_reason().filter(|_| run.failed().is_none());
    Ok((run, worn, place))
}

/// True if every request of the batch would meet the fault again.
fn is_everyones(fault: &Fault) -> bool {
    matches!(fault, Fault::BadAnswer { .. } | Fault::Host { .. })
}

fn no_guest(error: &InitializeError) -> Outcome {
    Err(Stopped::NoGuest(InitializeError::Host(error.to_string())))
}
