//! The task of one service: it holds as many items as the service has workers.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::callback::Callbacks;
use super::{Shared, can_pump, item};
use crate::config::Queue;
use crate::queue::{Consumer, Delivery, QueueError, QueueFuture, QueueName, Tags, Want, answered};
use crate::registry::Service;

/// The time for which items are leased to this host. The host renews the leases while it lives, so the time matters only
/// if this task hangs.
pub(super) const HOLD: Duration = Duration::from_secs(30);
/// The pause after the queues' storage has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Takes items and has them processed, until the service does not run any more or the host ends, and no item is left.
pub(super) async fn pump(mut shared: Shared, service: Arc<Service>) {
    let (input, sink) = (QueueName::input(service.name()), QueueName::sink(service.name()));
    let consumer = Consumer::processor();
    let mut changes = shared.registry.changes();
    let queues = shared.registry.queues().clone();
    let mut running = JoinSet::new();
    let mut window = 0;
    let mut attendance = None;
    let callbacks = Arc::new(Callbacks::new(Arc::clone(&service), Arc::clone(&shared.registry)));
    let mut taking: Option<QueueFuture<'_, Vec<Delivery>>> = None;
    // True if the queue gives out nothing more. Dead letters that are requeued are a change of the service's.
    let mut is_over = false;
    loop {
        let settings = settings(&service).filter(|_| !shared.is_ending());
        if settings.is_none() {
            // An item may take hours, and meanwhile the service may run again.
            taking = None;
            if running.is_empty() {
                break;
            }
        }
        let workers = workers(&service);
        if workers != window {
            window = workers;
            let entered = queues.consumers.enter(&input, consumer.clone(), window, false);
            attendance = Some(Arc::new(entered));
        }
        let settings_are_there = settings.is_some();
        let free = window.saturating_sub(running.len());
        if taking.is_none() && free > 0 && settings.is_some() && !is_over {
            let want = Want {
                consumer: consumer.clone(),
                most: free,
                from: 0,
                tags: Tags::default(),
                hold: HOLD,
                room_in: Some(sink.clone()),
                wait: true,
            };
            taking = Some(queues.store.take(&input, want));
        }
        tokio::select! {
            taken = answered(&mut taking) => {
                taking = None;
                match (taken, &attendance, settings) {
                    (Ok(deliveries), Some(attendance), Some(settings)) => for delivery in deliveries {
                        attendance.seat().got(delivery.item.index, delivery.lease);
                        let task = item::Task {
                            shared: shared.clone(),
                            service: Arc::clone(&service),
                            attendance: Arc::clone(attendance),
                            settings: settings.clone(),
                            callbacks: Arc::clone(&callbacks),
                        };
                        running.spawn(task.work(input.clone(), sink.clone(), delivery));
                    },
                    (Ok(_), ..) => {}
                    (Err(QueueError::Ended | QueueError::NoQueue(_)), ..) => is_over = true,
                    (Err(why), ..) => {
                        tracing::warn!(service = service.name(), error = why.to_string(), "no items can be taken");
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                }
            }
            Some(_) = running.join_next() => {}
            changed = changes.changed() => match changed {
                // An end of the queue that is on its way may be older than the change.
                Ok(()) => (is_over, taking) = (false, None),
                Err(_) => break,
            },
            () = shared.draining(), if settings_are_there => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// The settings of the service's queues, if it runs.
fn settings(service: &Service) -> Option<Queue> {
    can_pump(service).then(|| service.look().asynchronous().and_then(|spec| spec.queue().cloned())).flatten()
}

/// The number of workers of the running versions.
fn workers(service: &Service) -> usize {
    let state = service.look();
    let versions = state.phase.serving().into_iter().flat_map(|serving| serving.versions());
    versions.map(|version| version.spec.instances() * version.spec.rpc().worker_threads).sum()
}
