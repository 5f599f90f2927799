//! Random operations on two stores, whose answers must be equal.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::super::memory::MemoryQueues;
use super::super::{
    Bounds, Consumer, Holder, Key, Lease, LocalQueues, NewItem, Outcome, QueueName, QueueStore, Reason, Selection,
    Tags, Want,
};
use super::{TestClock, all, rounds, run};

/// An operation on one queue.
#[derive(Clone, Debug)]
enum Operation {
    Open(Bounds),
    Close(bool),
    Put(NewItem, Option<Key>),
    Take(Want),
    Renew(Vec<(u64, Holder)>),
    Settle(u64, Holder, Outcome),
    KeepPartial(u64, Holder, Bytes),
    Read(Selection),
    Pop(Selection),
    Delete(Vec<u64>),
    Truncate(u64),
    End(bool),
    Find(u64),
    Count(Option<u8>, Tags),
    Status,
    Dead(u64, usize),
    Requeue(Option<Vec<u64>>),
    Purge(Option<Vec<u64>>),
}

/// The answer, as text: it shows the values and the errors.
async fn answer(store: &dyn QueueStore, queue: &QueueName, operation: Operation) -> String {
    use Operation as Op;
    match operation {
        Op::Open(bounds) => format!("{:?}", store.open(queue, bounds).await),
        Op::Close(with_items) => match store.close(queue, with_items).await {
            Ok(()) => format!("{:?}", store.remove(queue).await),
            Err(why) => format!("Err({why:?})"),
        },
        Op::Put(item, key) => format!("{:?}", store.put(queue, item, key).await),
        Op::Take(want) => format!("{:?}", store.take(queue, want).await),
        Op::Renew(leases) => format!("{:?}", store.renew(queue, leases, Duration::from_secs(20)).await),
        Op::Settle(index, holder, outcome) => format!("{:?}", store.settle(queue, index, holder, outcome).await),
        Op::KeepPartial(index, holder, bytes) => {
            format!("{:?}", store.keep_partial(queue, index, holder, bytes).await)
        }
        Op::Read(selection) => format!("{:?}", store.read(queue, selection).await),
        Op::Pop(selection) => format!("{:?}", store.pop(queue, selection).await),
        Op::Delete(indexes) => format!("{:?}", store.delete(queue, indexes).await),
        Op::Truncate(before) => format!("{:?}", store.truncate(queue, before).await),
        Op::End(at_once) => format!("{:?}", store.end(queue, at_once).await),
        Op::Find(index) => format!("{:?}", store.find(queue, index).await),
        Op::Count(priority, tags) => format!("{:?}", store.count(queue, priority, tags).await),
        Op::Status => format!("{:?}", store.status(queue).await),
        Op::Dead(from, most) => format!("{:?}", store.dead(queue, from, most).await),
        Op::Requeue(indexes) => format!("{:?}", store.requeue(queue, indexes).await),
        Op::Purge(indexes) => format!("{:?}", store.purge(queue, indexes).await),
    }
}

/// Draws operations. Small numbers of queues, indexes and tags make operations meet each other.
struct Draw(Rng);

impl Draw {
    fn queue(&mut self) -> QueueName {
        match self.0.u8(..10) {
            0 => QueueName::input("other"),
            1..4 => QueueName::sink("service"),
            _ => QueueName::input("service"),
        }
    }

    fn index(&mut self) -> u64 {
        self.0.u64(..40)
    }

    fn some<T>(&mut self, draw: impl Fn(&mut Self) -> T) -> Option<T> {
        self.0.bool().then(|| draw(self))
    }

    fn tags(&mut self) -> Tags {
        let count = self.0.usize(..3);
        let pick = |draw: &mut Self| {
            let name = *draw.0.choice(&["a", "b", Tags::REQUEST_ID]).unwrap();
            (name, draw.0.u8(..3).to_string())
        };
        (0..count).map(|_| pick(self)).collect()
    }

    fn bounds(&mut self) -> Bounds {
        Bounds {
            length: self.0.u64(1..30),
            payload: self.0.usize(4..12),
            deliveries: self.0.u32(1..4),
            retention: self.some(|draw| Duration::from_secs(draw.0.u64(1..300))),
        }
    }

    fn item(&mut self) -> NewItem {
        let length = self.0.usize(..8);
        NewItem {
            priority: *self.0.choice(&[0, 0, 0, 1, 100]).unwrap(),
            tags: self.tags(),
            target: format!("/{}", self.0.u8(..3)),
            headers: vec![("x".into(), Bytes::from(vec![self.0.u8(..); 2]))],
            data: (0..length).map(|_| self.0.u8(..)).collect(),
        }
    }

    fn key(&mut self) -> Key {
        Key { text: self.0.u8(..4).to_string(), digest: [self.0.u8(..2); 32] }
    }

    fn consumer(&mut self) -> Consumer {
        Consumer::new(*self.0.choice(&["one", "two"]).unwrap())
    }

    fn holder(&mut self) -> Holder {
        match self.0.bool() {
            true => Holder::Lease(Lease(self.0.u32(1..4))),
            false => Holder::Consumer(self.consumer()),
        }
    }

    fn want(&mut self) -> Want {
        Want {
            consumer: self.consumer(),
            most: self.0.usize(..4),
            from: if self.0.u8(..4) == 0 { self.index() } else { 0 },
            tags: if self.0.u8(..3) == 0 { self.tags() } else { Tags::default() },
            hold: Duration::from_secs(self.0.u64(1..40)),
            room_in: self.some(|_| QueueName::sink("service")),
            wait: false,
        }
    }

    fn selection(&mut self) -> Selection {
        Selection {
            from: if self.0.bool() { self.index() } else { 0 },
            most: self.0.usize(1..5),
            tags: self.tags(),
            newest_first: self.0.bool(),
            wait: false,
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.0.u8(..6) {
            0 | 1 => Outcome::Done { result: None },
            2 | 3 => Outcome::Done { result: Some(Box::new((QueueName::sink("service"), self.item()))) },
            4 => Outcome::Failed(Reason::new("408", "too late")),
            _ => Outcome::Returned,
        }
    }

    fn indexes(&mut self) -> Vec<u64> {
        (0..self.0.usize(..4)).map(|_| self.index()).collect()
    }

    fn operation(&mut self) -> Operation {
        use Operation as Op;
        match self.0.u8(..100) {
            0..2 => Op::Open(self.bounds()),
            2 => Op::Close(self.0.bool()),
            3..30 => Op::Put(self.item(), self.some(Self::key)),
            30..45 => Op::Take(self.want()),
            45..48 => Op::Renew(vec![(self.index(), self.holder()), (self.index(), self.holder())]),
            48..70 => Op::Settle(self.index(), self.holder(), self.outcome()),
            70..73 => Op::KeepPartial(self.index(), self.holder(), vec![self.0.u8(..); self.0.usize(..12)].into()),
            73..76 => Op::Read(self.selection()),
            76..79 => Op::Pop(self.selection()),
            79..82 => Op::Delete(self.indexes()),
            82 => Op::Truncate(self.index()),
            83 if self.0.u8(..4) == 0 => Op::End(self.0.bool()),
            83..88 => Op::Find(self.index()),
            88..91 => Op::Count(self.some(|draw| draw.0.u8(..2)), self.tags()),
            91..95 => Op::Status,
            95..97 => Op::Dead(self.index() / 2, 3),
            97..99 => Op::Requeue(self.some(Self::indexes)),
            _ => Op::Purge(self.some(Self::indexes)),
        }
    }
}

/// Compares the two stores over random operations, passing time, jumping clocks and restarts of the host.
fn compare(seed: u64, operations: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queues.redb");
    let time = TestClock::new();
    let model = MemoryQueues::new(time.clock());
    let mut local = LocalQueues::open(&path, time.clock()).unwrap();
    let mut draw = Draw(Rng::with_seed(seed));
    let queues = [QueueName::input("service"), QueueName::sink("service"), QueueName::input("other")];
    let mut open: std::collections::BTreeMap<QueueName, Bounds> = std::collections::BTreeMap::new();
    run(async {
        for number in 0..operations {
            match draw.0.u8(..60) {
                0..4 => time.pass(Duration::from_millis(draw.0.u64(..3_000))),
                4 => time.pass(Duration::from_secs(draw.0.u64(..100))),
                5 if draw.0.bool() => time.jump(3_600),
                5 => time.jump(-3_600),
                6 if draw.0.u8(..3) == 0 => {
                    drop(local);
                    local = LocalQueues::open(&path, time.clock()).unwrap();
                    model.crash();
                    for (queue, bounds) in &open {
                        local.open(queue, *bounds).await.unwrap();
                    }
                }
                _ => {}
            }
            // Reads show the last commit. Any operation of the writer commits what is due.
            let _ = local.status(&queues[0]).await;
            let (queue, operation) = match queues.get(number) {
                Some(queue) => (queue.clone(), Operation::Open(draw.bounds())),
                None => (draw.queue(), draw.operation()),
            };
            let expected = answer(&model, &queue, operation.clone()).await;
            let found = answer(&local, &queue, operation.clone()).await;
            assert_eq!(found, expected, "seed {seed}, operation {number} on {queue}: {operation:?}");
            match operation {
                Operation::Open(bounds) => drop(open.insert(queue, bounds)),
                Operation::Close(_) if expected == "Ok(())" => drop(open.remove(&queue)),
                _ => {}
            }
            if number % 16 == 0 {
                for queue in &queues {
                    for look in [Operation::Status, Operation::Read(all()), Operation::Dead(0, 100)] {
                        let expected = answer(&model, queue, look.clone()).await;
                        let found = answer(&local, queue, look.clone()).await;
                        assert_eq!(found, expected, "seed {seed}, after operation {number}, {queue}: {look:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn the_database_answers_as_the_reference_does() {
    for seed in 0..rounds(30, 1000) {
        compare(seed, 400);
    }
}
