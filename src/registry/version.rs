//! One version of a service at work: its instances, each with a queue and warm guests of its own.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::image::Ready;
use super::rate::{Limited, Rate};
use super::replacements::{LastTrouble, Replacements, Trouble};
use super::worker::Worker;
use crate::admission::{Admission, Habit, Lanes, Occupancy, Overdue, Place, Turned};
use crate::call::{Call, RequestId};
use crate::config::{Fuel, Isolation, ServiceSpec};
use crate::sandbox::{Guest, InitializeError, Level, LineSink, Program, Room, Run, Settings};
use crate::telemetry::ServiceMetrics;

pub struct Version {
    pub number: u64,
    pub spec: ServiceSpec,
    instances: Vec<Instance>,
    rate: Option<Rate>,
    lanes: Arc<Lanes>,
    habit: Habit,
    metrics: Arc<ServiceMetrics>,
    retired: Arc<AtomicBool>,
    no_snapshot: Option<String>,
    /// Where its guests are, made or promised.
    _room: Room,
    /// Where the choice between instances begins.
    turn: AtomicUsize,
}

/// One instance: the door to its workers, and what keeps it from making new ones.
struct Instance {
    admission: Arc<Admission<Worker>>,
    trouble: Arc<LastTrouble>,
}

/// Why a call has no outcome of its own.
#[derive(Debug)]
pub enum Stopped {
    /// Its deadline has passed.
    Overdue,
    /// The guest that it was to have cannot be made.
    NoGuest(InitializeError),
}

/// A worker's place, given to one call.
pub struct Ticket(Place<Worker>);

impl Ticket {
    /// Whether it was to be had only after a wait in the queue.
    pub fn has_waited(&self) -> bool {
        self.0.has_waited()
    }
}

impl Version {
    /// Makes every guest of every instance that costs more to make than microseconds, and at least one. The first failure
    /// is the version's.
    pub(super) async fn bring_up(
        number: u64,
        spec: ServiceSpec,
        ready: Ready,
        lanes: Arc<Lanes>,
        metrics: Arc<ServiceMetrics>,
    ) -> Result<Arc<Self>, InitializeError> {
        let Ready { program, mut first, no_snapshot } = ready;
        let retired = Arc::new(AtomicBool::new(false));
        let workers = spec.rpc().worker_threads;
        let room = program.reserve(workers.saturating_mul(spec.instances()))?;
        let mut has_made = false;
        let mut instances = Vec::with_capacity(spec.instances());
        for _ in 0..spec.instances() {
            let mut guests = Vec::with_capacity(workers);
            for _ in 0..workers {
                guests.push(match first.take() {
                    Some(guest) => Worker::Guest(guest),
                    None if has_made && program.starts_from_image() => Worker::Promised(Arc::clone(&program)),
                    None => Worker::Guest(make(&lanes, &program).await?),
                });
                has_made = true;
            }
            let trouble = Arc::default();
            let replacements = Replacements {
                service: spec.name().as_str().to_owned(),
                program: Arc::clone(&program),
                lanes: Arc::clone(&lanes),
                metrics: Arc::clone(&metrics),
                retired: Arc::clone(&retired),
                trouble: Arc::clone(&trouble),
            };
            let admission = Admission::new(guests, spec.rpc().max_queue_size, Box::new(replacements));
            instances.push(Instance { admission, trouble });
        }
        let rate = spec.rpc().rate_limit.map(|limit| {
            // The setting is per instance; which one a call goes to is not known yet where the rate is looked at.
            let total = u64::from(limit.get()).saturating_mul(instances.len() as u64);
            Rate::per_second(NonZeroU64::new(total).unwrap_or(NonZeroU64::MIN))
        });
        let turn = AtomicUsize::new(0);
        Ok(Arc::new(Self {
            number,
            spec,
            instances,
            rate,
            lanes,
            habit: Habit::default(),
            metrics,
            retired,
            no_snapshot,
            _room: room,
            turn,
        }))
    }

    /// Looked at before a request's body is read: whether it may come at all.
    pub fn pass_rate(&self) -> Result<(), Limited> {
        self.rate.as_ref().map_or(Ok(()), Rate::pass)
    }

    /// Looked at before a request's body is read: whether there is any use in reading it.
    pub fn is_full(&self) -> bool {
        self.instances.iter().all(|instance| instance.admission.is_full())
    }

    /// Waits in turn for a worker.
    pub async fn admit(&self, deadline: Instant) -> Result<Ticket, Turned> {
        self.pick().admit(deadline).await.map(Ticket)
    }

    /// Answers a call with the admitted worker. Dropping the future stops the guest.
    ///
    /// `began` is the present moment, which the caller has just looked at.
    pub async fn run(&self, ticket: Ticket, call: Arc<Call>, began: Instant) -> Result<Run, Stopped> {
        let deadline = call.deadline;
        let reuse = self.spec.sandbox().isolation == Isolation::Reuse;
        let work = Box::pin(async move {
            let Ticket(mut place) = ticket;
            let guest = place.start().guest().await.map_err(Stopped::NoGuest)?;
            let run = guest.run(call, began).await;
            let may_stay = reuse && run.left_the_guest_whole();
            let worn = guest.worn().filter(|_| may_stay);
            if may_stay && worn.is_none() {
                place.release();
            }
            Ok((run, worn))
        });
        let mut interrupted = Interrupted { metrics: &self.metrics, fault: Some("client_closed") };
        let outcome = self.lanes.run(&self.habit, began, deadline, work).await;
        let outcome = outcome.map_err(|Overdue| Stopped::Overdue).flatten().map(|(run, worn)| {
            if let Some(worn) = worn {
                self.metrics.recycled(worn.name());
            }
            run
        });
        interrupted.fault = match &outcome {
            Err(Stopped::Overdue) => Some("deadline_exceeded"),
            Err(Stopped::NoGuest(_)) => {
                self.metrics.initialize_failed();
                None
            }
            Ok(run) if run.left_the_guest_whole() => None,
            Ok(run) => run.result.as_ref().err().map(crate::sandbox::Fault::kind),
        };
        drop(interrupted);
        outcome
    }

    /// Why guests are initialised one by one; `None` where they start from a snapshot.
    pub fn no_snapshot(&self) -> Option<&str> {
        self.no_snapshot.as_deref()
    }

    pub fn occupancy(&self) -> Vec<Occupancy> {
        self.instances.iter().map(|instance| instance.admission.occupancy()).collect()
    }

    /// What keeps each instance from replacing its guests; `None` where nothing does.
    pub fn troubles(&self) -> Vec<Option<Trouble>> {
        let trouble = |instance: &Instance| {
            // The last trouble is of interest only while it lasts.
            let lasts = instance.admission.occupancy().stalled > 0;
            lasts.then(|| instance.trouble.last()).flatten()
        };
        self.instances.iter().map(trouble).collect()
    }

    /// The less loaded of two neighbours, beginning at another one each time; one that has workers, if any has.
    fn pick(&self) -> &Arc<Admission<Worker>> {
        let count = self.instances.len();
        if count == 1 {
            return &self.instances[0].admission;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let (a, b) = (&self.instances[first].admission, &self.instances[(first + 1) % count].admission);
        let picked = if b.load() < a.load() { b } else { a };
        if !picked.is_deserted() {
            return picked;
        }
        let others = self.instances.iter().map(|instance| &instance.admission);
        others.min_by_key(|other| (other.is_deserted(), other.load())).unwrap_or(picked)
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

/// Counts the guest that a call cost, also when the call's future is dropped.
struct Interrupted<'a> {
    metrics: &'a ServiceMetrics,
    fault: Option<&'static str>,
}

impl Drop for Interrupted<'_> {
    fn drop(&mut self) {
        if let Some(fault) = self.fault {
            self.metrics.restarted(fault);
        }
    }
}

/// Makes a guest in the background, where its `initialize` may take long.
pub(super) async fn make(lanes: &Lanes, program: &Arc<Program>) -> Result<Guest, InitializeError> {
    let program = Arc::clone(program);
    match lanes.background().spawn(async move { program.instantiate().await }).await {
        Ok(made) => made,
        Err(error) => Err(InitializeError::Host(error.to_string())),
    }
}

/// What a service file means for its guests.
pub(crate) fn guest_settings(spec: &ServiceSpec, model_dir: Option<PathBuf>) -> Settings {
    let sandbox = spec.sandbox();
    Settings {
        fuel: match sandbox.fuel {
            Fuel::Metered(fuel) => Some(fuel),
            Fuel::Unlimited => None,
        },
        memory_limit: usize::try_from(sandbox.memory_bytes).unwrap_or(usize::MAX),
        envs: spec.envs().to_vec(),
        model_dir,
        model_entry: spec.model().entry.clone(),
        model_config: spec.model().config.clone(),
        initialize_timeout: sandbox.initialize_timeout,
        max_response_bytes: sandbox.max_response_bytes,
        log_bytes: sandbox.log_bytes_per_request,
        max_requests: sandbox.max_requests_per_instance.map(|max| max.get().into()),
        image: None,
    }
}

/// A version's guests speak into the host's log.
pub(super) fn log_sink(service: &str, version: u64, metrics: Arc<ServiceMetrics>) -> Arc<dyn LineSink> {
    Arc::new(LogSink { service: service.to_owned(), version, metrics })
}

struct LogSink {
    service: String,
    version: u64,
    metrics: Arc<ServiceMetrics>,
}

impl LineSink for LogSink {
    fn line(&self, request: Option<RequestId>, level: Level, text: &str) {
        let (service, version) = (self.service.as_str(), self.version);
        let request_id = request.as_ref().map(RequestId::as_str).unwrap_or_default();
        // The level of an event is fixed where it is written, hence one line each.
        match level {
            Level::Error => tracing::error!(target: "processor", service, version, request_id, "{text}"),
            Level::Warn => tracing::warn!(target: "processor", service, version, request_id, "{text}"),
            Level::Info => tracing::info!(target: "processor", service, version, request_id, "{text}"),
            Level::Debug => tracing::debug!(target: "processor", service, version, request_id, "{text}"),
            Level::Trace => tracing::trace!(target: "processor", service, version, request_id, "{text}"),
        }
    }

    fn dropped(&self, request: Option<RequestId>, count: u64) {
        self.metrics.log_dropped(count);
        let request_id = request.as_ref().map(RequestId::as_str).unwrap_or_default();
        tracing::warn!(target: "processor", service = self.service, request_id, count, "log lines dropped: the request had used up its bytes");
    }
}
