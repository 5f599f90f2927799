//! A watch: a consumer that gets items as they come, over a connection of its own.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, pending};

use super::answer::left;
use super::progress::Bulletin;
use super::protocol::frame::Parts;
use crate::queue::{
    Consumer, Delivery, Holder, Item, Outcome, QueueError, QueueFuture, QueueName, Queues, Reason, Runs, Seat, Tags,
    Want, answered,
};

/// The wish of a consumer for a stream of items.
pub(super) struct Watch {
    pub(super) queues: Queues,
    pub(super) queue: QueueName,
    pub(super) consumer: Consumer,
    /// Most items that it holds.
    pub(super) window: usize,
    /// The lowest index.
    pub(super) from: u64,
    pub(super) tags: Tags,
    pub(super) auto_commit: bool,
    /// True if the progress of items that are being worked on is sent as well.
    pub(super) progress: bool,
    /// The time without a sign of life after which the consumer counts as gone.
    pub(super) lease: Duration,
    /// The time that it may hold one item.
    pub(super) timeout: Duration,
    pub(super) parts: Parts,
}

/// The connection of a watch.
pub(super) trait Port: Send {
    /// Sends an item; an error if the client is gone, or takes nothing for [`PATIENCE`].
    fn send(&mut self, item: &Item, parts: Parts) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Waits until the client gives a sign of life, or is gone. Dropping the future loses nothing.
    fn listen(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Asks for a sign of life. Returns false if the client cannot give one over this connection: then only the end of
    /// the connection shows that the client has left.
    fn ask(&mut self) -> impl Future<Output = Result<bool, Gone>> + Send;
}

/// The time in which a client must take the next bytes of an item, at most 16 KiB of them.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The client has left, or the connection must end because of an error. The port keeps that error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// The end of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Left,
    /// The client gave no sign of life over a WebSocket.
    Silent,
    /// The queue refuses further items.
    Queue(QueueError),
    /// The host ends.
    Drain,
}

impl Watch {
    /// Passes items on until one side ends.
    pub(super) async fn run(self, port: &mut impl Port) -> End {
        let attendance = self.queues.consumers.enter(&self.queue, self.consumer.clone(), self.window, self.auto_commit);
        let seat = attendance.seat();
        let end = self.pass_on(port, seat).await;
        // If the host ends, the delivery does not count.
        let outcome = if end == End::Drain { Outcome::Returned } else { left() };
        let held = seat.holds();
        let given_back = held.iter().map(|(index, held)| {
            self.queues.store.settle(&self.queue, *index, Holder::Lease(held.lease), outcome.clone())
        });
        // An item that is not held any more needs no giving back.
        drop(join_all(given_back).await);
        end
    }

    async fn pass_on(&self, port: &mut impl Port, seat: &Seat) -> End {
        let store = Arc::clone(&self.queues.store);
        let mut taking: Option<QueueFuture<'_, Vec<Delivery>>> = None;
        let mut renewal = tokio::time::interval(self.lease / 3);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut bulletin = self.progress.then(|| Bulletin::new(&self.queue, self.tags.clone()));
        loop {
            if taking.is_none() && seat.free() > 0 {
                taking = Some(store.take(&self.queue, self.want(seat.free())));
            }
            tokio::select! {
                sign = port.listen() => match sign {
                    Ok(()) => heard = Instant::now(),
                    Err(Gone) => return End::Left,
                },
                taken = answered(&mut taking) => {
                    taking = None;
                    let deliveries = match taken {
                        Ok(deliveries) => deliveries,
                        Err(why) => return End::Queue(why),
                    };
                    if let Err(end) = self.send_all(port, seat, deliveries).await {
                        return end;
                    }
                    heard = Instant::now();
                }
                () = seat.changed() => {}
                _ = renewal.tick() => {
                    match port.ask().await {
                        Ok(true) if heard.elapsed() > self.lease => return End::Silent,
                        Ok(_) => {}
                        Err(Gone) => return End::Left,
                    }
                    if let Err(why) = self.renew(seat).await {
                        return End::Queue(why);
                    }
                }
                news = due(&mut bulletin, &self.queues.runs) => {
                    for item in news {
                        if let Err(end) = self.send(port, seat, &item, Parts::All).await {
                            return end;
                        }
                    }
                }
                () = self.queues.ended() => return End::Drain,
            }
        }
    }

    fn want(&self, most: usize) -> Want {
        let (consumer, from, tags) = (self.consumer.clone(), self.from, self.tags.clone());
        Want { consumer, most, from, tags, hold: self.lease, room_in: None, wait: true }
    }

    async fn send_all(&self, port: &mut impl Port, seat: &Seat, deliveries: Vec<Delivery>) -> Result<(), End> {
        for delivery in &deliveries {
            seat.got(delivery.item.index, delivery.lease);
        }
        let mut deliveries = deliveries.into_iter();
        while let Some(Delivery { item, lease, .. }) = deliveries.next() {
            if let Err(end) = self.send(port, seat, &item, self.parts).await {
                self.give_back(seat, deliveries).await;
                return Err(end);
            }
            if self.auto_commit {
                let done = Outcome::Done { result: None };
                // The item may have been deleted meanwhile.
                let _ = self.queues.store.settle(&self.queue, item.index, Holder::Lease(lease), done).await;
                seat.finished(item.index);
            }
        }
        Ok(())
    }

    /// Sends an item. A slow client that takes its items keeps them: their leases are renewed meanwhile.
    async fn send(&self, port: &mut impl Port, seat: &Seat, item: &Item, parts: Parts) -> Result<(), End> {
        let mut sending = pin!(port.send(item, parts));
        loop {
            tokio::select! {
                sent = &mut sending => return sent.map_err(|Gone| End::Left),
                () = tokio::time::sleep(self.lease / 3) => {
                    // A failure of the storage shows at the next take.
                    let _ = self.renew(seat).await;
                }
                () = self.queues.ended() => return Err(End::Drain),
            }
        }
    }

    /// Gives back items that were not sent: their deliveries do not count.
    async fn give_back(&self, seat: &Seat, unsent: impl Iterator<Item = Delivery>) {
        for Delivery { item, lease, .. } in unsent {
            // The item may have been deleted meanwhile.
            let _ = self.queues.store.settle(&self.queue, item.index, Holder::Lease(lease), Outcome::Returned).await;
            seat.finished(item.index);
        }
    }

    /// Renews the leases of the items that the consumer may still hold.
    async fn renew(&self, seat: &Seat) -> Result<(), QueueError> {
        let may_hold = |since: Instant| since.elapsed() < self.timeout;
        let held = seat.holds().into_iter().filter(|(_, held)| may_hold(held.since));
        let leases: Vec<_> = held.map(|(index, held)| (index, Holder::Lease(held.lease))).collect();
        let overdue = seat.holds().into_iter().filter(|(_, held)| !may_hold(held.since));
        for (index, held) in overdue {
            let late = Reason::new("408", "the consumer did not finish the item in time (queue.timeout_ms)");
            let _ =
                self.queues.store.settle(&self.queue, index, Holder::Lease(held.lease), Outcome::Failed(late)).await;
            seat.finished(index);
        }
        if leases.is_empty() {
            return Ok(());
        }
        let lost = self.queues.store.renew(&self.queue, leases, self.lease).await?;
        lost.into_iter().for_each(|index| seat.finished(index));
        Ok(())
    }
}

/// Waits for news of the progress of items, if the consumer wants them.
async fn due(bulletin: &mut Option<Bulletin>, runs: &Runs) -> Vec<Item> {
    match bulletin {
        Some(bulletin) => bulletin.next(runs).await,
        None => pending().await,
    }
}
