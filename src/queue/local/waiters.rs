//! Consumers that wait for items.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::{Consumer, Delivery, Item, QueueError, QueueName, Tags};
use super::tables::StateRow;

/// The wish for ready items.
pub(super) struct Wish {
    pub(super) most: usize,
    pub(super) from: u64,
    pub(super) tags: Tags,
    pub(super) newest_first: bool,
    pub(super) wait: bool,
    pub(super) answer: Answer,
}

/// The use that is made of the items, and the channel for them.
pub(super) enum Answer {
    Lease { consumer: Consumer, hold: Duration, room_in: Option<QueueName>, to: Sender<Delivery> },
    Remove { to: Sender<Taken> },
}

/// An item that was removed, and its state before. Both are restored if the caller has left.
pub(super) type Taken = (Item, StateRow);

/// The channel for the items of one wish.
pub(super) type Sender<T> = oneshot::Sender<Result<Vec<T>, QueueError>>;

/// The waiting wishes of a queue, oldest first.
#[derive(Default)]
pub(super) struct Waiters {
    plain: VecDeque<Wish>,
    /// Wishes for the item of one request. There may be thousands of them, so they are found by its id.
    by_request: HashMap<String, VecDeque<Wish>>,
    tagged: VecDeque<Wish>,
    /// The number of wishes at which those whose callers have left are removed.
    prune_at: usize,
}

impl Wish {
    fn is_given_up(&self) -> bool {
        match &self.answer {
            Answer::Lease { to, .. } => to.is_closed(),
            Answer::Remove { to } => to.is_closed(),
        }
    }

    /// Refuses the wish.
    pub(super) fn refuse(self, why: QueueError) {
        // A caller that has left needs no answer.
        match self.answer {
            Answer::Lease { to, .. } => drop(to.send(Err(why))),
            Answer::Remove { to } => drop(to.send(Err(why))),
        }
    }
}

impl Waiters {
    pub(super) fn add(&mut self, wish: Wish) {
        match wish.tags.request_id() {
            Some(id) => self.by_request.entry(id.to_owned()).or_default().push_back(wish),
            None if wish.tags.is_empty() => self.plain.push_back(wish),
            None => self.tagged.push_back(wish),
        }
        if self.len() >= self.prune_at {
            self.prune();
        }
    }

    fn prune(&mut self) {
        const LEAST: usize = 64;
        self.plain.retain(|wish| !wish.is_given_up());
        self.tagged.retain(|wish| !wish.is_given_up());
        self.by_request.retain(|_, wishes| {
            wishes.retain(|wish| !wish.is_given_up());
            !wishes.is_empty()
        });
        self.prune_at = LEAST.max(2 * self.len());
    }

    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.tagged.len() + self.by_request.values().map(VecDeque::len).sum::<usize>()
    }

    /// True if items must be compared with the tags of wishes.
    pub(super) fn choose_by_tags(&self) -> bool {
        !self.by_request.is_empty() || !self.tagged.is_empty()
    }

    /// Removes the wishes without tags, and returns them.
    pub(super) fn take_plain(&mut self) -> VecDeque<Wish> {
        std::mem::take(&mut self.plain)
    }

    /// Removes the oldest wish that an item with this index and these tags can grant, and returns it.
    pub(super) fn take_match(&mut self, index: u64, tags: &Tags) -> Option<Wish> {
        let matches = |wish: &Wish| !wish.is_given_up() && index >= wish.from && tags.contain(&wish.tags);
        if let Some(id) = tags.request_id()
            && let Some(wishes) = self.by_request.get_mut(id)
        {
            let found = wishes.iter().position(matches).and_then(|at| wishes.remove(at));
            if wishes.is_empty() {
                self.by_request.remove(id);
            }
            if found.is_some() {
                return found;
            }
        }
        let at = self.tagged.iter().position(matches)?;
        self.tagged.remove(at)
    }

    /// Refuses all wishes.
    pub(super) fn refuse_all(&mut self, why: &QueueError) {
        let by_request = self.by_request.drain().flat_map(|(_, wishes)| wishes);
        let all = self.plain.drain(..).chain(self.tagged.drain(..)).chain(by_request);
        all.for_each(|wish| wish.refuse(why.clone()));
    }
}
