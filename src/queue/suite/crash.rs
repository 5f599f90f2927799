//! Power failures and damage: a disk that loses or tears what was not synced, and flipped bits.

use std::time::Duration;

use fastrand::Rng;

use super::super::memory::MemoryQueues;
use super::super::{
    Bounds, Delivery, Holder, Lease, LocalQueues, NewItem, Outcome, QueueError, QueueName, QueueStore, Reason,
    Selection, Want,
};
use super::disk::{Bytes, DATABASE, Disk, Image, LOG};
use super::{TestClock, all, bounds, must, rounds, run, want};

/// The items of both queues with the count of the next delivery, and the dead ones.
async fn contents(store: &dyn QueueStore, time: &TestClock) -> String {
    time.pass(Duration::from_secs(61));
    let mut text = String::new();
    for queue in [QueueName::input("s"), QueueName::sink("s")] {
        let sum = |data: &[u8]| crc32fast::hash(data);
        let taken = store.take(&queue, want(usize::MAX)).await.unwrap_or_default();
        for Delivery { item, lease, count, .. } in taken {
            text += &format!("{queue} {}: {lease:?} {count} {:?} {:x}\n", item.index, item.tags, sum(&item.data));
        }
        for dead in store.dead(&queue, 0, usize::MAX).await.unwrap_or_default() {
            text += &format!("{queue} {}: {:?} {} dead\n", dead.item.index, dead.reason, dead.deliveries);
        }
    }
    text
}

fn payload(rng: &mut Rng) -> NewItem {
    let data: Vec<u8> = (0..rng.usize(..900)).map(|_| rng.u8(..)).collect();
    NewItem {
        data: data.into(),
        tags: [("requestId", rng.u32(..).to_string())].into_iter().collect(),
        ..NewItem::default()
    }
}

/// One random change of the two queues.
async fn change(store: &dyn QueueStore, rng: &mut Rng) -> String {
    let (input, sink) = (QueueName::input("s"), QueueName::sink("s"));
    let index = rng.u64(1..40);
    let holder = Holder::Lease(Lease(rng.u32(1..3)));
    match rng.u8(..10) {
        0..5 => format!("{:?}", store.put(&input, payload(rng), None).await),
        5..7 => {
            let most = rng.usize(1..4);
            format!("{:?}", store.take(&input, Want { room_in: Some(sink), ..want(most) }).await)
        }
        7 => {
            let result = Some(Box::new((sink, payload(rng))));
            format!("{:?}", store.settle(&input, index, holder, Outcome::Done { result }).await)
        }
        8 => {
            let reason = Reason::new("408", "too late");
            format!("{:?}", store.settle(&input, index, holder, Outcome::Failed(reason)).await)
        }
        _ => {
            let selection = Selection { most: 1, ..all() };
            format!("{:?}", store.pop(&sink, selection).await)
        }
    }
}

/// Figures of one run.
#[derive(Debug, Default)]
struct Figures {
    operations: usize,
    images: usize,
    double: usize,
}

/// Runs random operations, and checks images of the disk at every sync. Each image must have everything that was
/// acknowledged, and the operation that was under way completely or not at all.
fn survive(seed: u64, operations: usize, images_per_sync: usize, syncs: bool) -> Result<Figures, String> {
    let time = TestClock::new();
    let disk = Disk::new(Bytes::default(), true);
    let (local, model) = (disk.queues(&time).unwrap(), MemoryQueues::new(time.clock()));
    let mut rng = Rng::with_seed(seed);
    let mut figures = Figures::default();
    run(async {
        for queue in [QueueName::input("s"), QueueName::sink("s")] {
            local.open(&queue, bounds()).await.unwrap();
            model.open(&queue, bounds()).await.unwrap();
        }
        disk.photograph(Rng::with_seed(seed + 1), images_per_sync);
        disk.0.lock().unwrap().syncs = syncs;
        for number in 0..operations {
            figures.operations += 1;
            let before = model.copy(time.clock());
            let same = rng.clone();
            let expected = change(&model, &mut rng).await;
            let found = change(&local, &mut same.clone()).await;
            assert_eq!(found, expected, "seed {seed}, operation {number}");
            let after = model.copy(time.clock());
            for (image, bytes) in disk.take_images().iter().map(Image::bytes).enumerate() {
                let told = |what: String| format!("seed {seed}, operation {number}, image {image}: {what}");
                figures.images += 1;
                let rng = Rng::with_seed(seed + figures.images as u64);
                let again = check(bytes, [&before, &after], &time, Some(rng)).await.map_err(told)?;
                // The power fails again while the database is repaired.
                for bytes in again {
                    figures.double += 1;
                    check(bytes, [&before, &after], &time, None)
                        .await
                        .map_err(|what| told(format!("again: {what}")))?;
                }
            }
        }
        Ok(figures)
    })
}

/// Checks that an image has one of two states. Returns images of the disk that were made while it was opened.
async fn check(
    bytes: Bytes,
    allowed: [&MemoryQueues; 2],
    time: &TestClock,
    photograph: Option<Rng>,
) -> Result<Vec<Bytes>, String> {
    let disk = Disk::new(bytes, true);
    if let Some(rng) = photograph {
        disk.photograph(rng, 1);
    }
    // The store that is tested goes on with its own time.
    let own = time.fork();
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disk.queues(&own)));
    let local = opened.map_err(|_| "opening it panics")?.map_err(|error| format!("it cannot be opened: {error}"))?;
    let images = disk.take_images().iter().map(Image::bytes).collect();
    for queue in [QueueName::input("s"), QueueName::sink("s")] {
        local.open(&queue, bounds()).await.map_err(|error| error.to_string())?;
    }
    let mut expected = Vec::new();
    for model in allowed {
        let own = time.fork();
        let copy = model.copy(own.clock());
        copy.crash();
        expected.push(contents(&copy, &own).await);
    }
    let found = contents(&local, &own).await;
    match expected.contains(&found) {
        true => Ok(images),
        false => Err(format!("it has\n{found}and not\n{}", expected.join("or\n"))),
    }
}

#[test]
fn no_power_failure_loses_what_was_acknowledged() {
    let runs = rounds(3, 60);
    let mut sum = Figures::default();
    for seed in 0..runs {
        let figures = survive(seed * 1000, 60, 4, true).unwrap();
        sum.operations += figures.operations;
        sum.images += figures.images;
        sum.double += figures.double;
    }
    println!("seeds 0 to {}: {sum:?}", (runs - 1) * 1000);
    let least = usize::try_from(runs * 150).unwrap();
    must("queue.power_failures.images", "≥ 150 for each seed", sum.images, sum.images >= least);
    must("queue.power_failures.double", "≥ 150 for each seed", sum.double, sum.double >= least);
    // A loss fails `survive`.
    must("queue.power_failures.lost", "0", 0, true);
}

#[test]
fn a_disk_that_does_not_sync_fails_the_test_above() {
    assert!(survive(7, 60, 4, false).is_err());
}

/// Flips bits of a file of a store with 60 items, one at a time, and takes all items out. Returns the number of times
/// that the store was opened, of items that were delivered as they were put, and of items that were found damaged.
fn flip_bits(file: usize, ended_in_order: bool) -> [usize; 3] {
    let (time, input) = (TestClock::new(), QueueName::input("s"));
    let disk = Disk::new(Bytes::default(), true);
    let mut rng = Rng::with_seed(1);
    let items: Vec<NewItem> = (0..60).map(|_| payload(&mut rng)).collect();
    let local = disk.queues(&time).unwrap();
    run(async {
        local.open(&input, bounds()).await.unwrap();
        for item in &items {
            local.put(&input, item.clone(), None).await.unwrap();
        }
    });
    let image = disk.0.lock().unwrap().live.clone();
    drop(local);
    let whole = if ended_in_order { disk.0.lock().unwrap().live.clone() } else { image };
    // Most of the file is empty, so bits are drawn where there is something.
    let used: Vec<usize> = (0..whole[file].len()).filter(|at| whole[file][*at] != 0).collect();
    let (mut opened, mut dead, mut delivered) = (0, 0, 0);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        bytes[file][*rng.choice(&used).unwrap()] ^= 1 << rng.u8(..8);
        let disk = Disk::new(bytes, true);
        let Ok(Ok(local)) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disk.queues(&time))) else {
            continue;
        };
        run(async {
            if local.open(&input, bounds()).await.is_err() {
                return;
            }
            opened += 1;
            let mut found = 0;
            for _ in 0..items.len() {
                match local.take(&input, want(5)).await {
                    Ok(deliveries) if deliveries.is_empty() => break,
                    Ok(deliveries) => {
                        for delivery in deliveries {
                            let sent = &items[usize::try_from(delivery.item.index).unwrap() - 1];
                            assert_eq!((&delivery.item.data, &delivery.item.tags), (&sent.data, &sent.tags));
                            found += 1;
                        }
                    }
                    Err(QueueError::Unavailable(_) | QueueError::Ended | QueueError::NoQueue(_)) => return,
                    Err(other) => panic!("{other}"),
                }
            }
            let dead_now = local.dead(&input, 0, 100).await.map_or(0, |dead| dead.len());
            if file == LOG {
                // A damaged record at the end cannot be told from one that was never written whole.
                assert!(found + dead_now >= items.len() - 1, "{found} delivered, {dead_now} dead");
            }
            delivered += found;
            dead += dead_now;
        });
    }
    [opened, delivered, dead]
}

#[test]
fn a_flipped_bit_never_changes_what_is_delivered() {
    let [opened, delivered, dead] = flip_bits(DATABASE, true);
    println!("300 flipped bits of the database: opened {opened} times, {delivered} delivered, {dead} found damaged");
    must("queue.flipped_bits.delivered_as_put", "> 10000", delivered, delivered > 10_000);
    must("queue.flipped_bits.found", "> 50", dead, dead > 50);
    let [opened, delivered, _] = flip_bits(LOG, false);
    println!("300 flipped bits of the log: opened {opened} times, {delivered} delivered");
    must("queue.flipped_bits.log.refused", "> 100", 300 - opened, opened < 200);
    must("queue.flipped_bits.log.delivered_as_put", "> 500", delivered, delivered > 500);
    // The records in the log after a stop in order are never read.
    let [opened, ..] = flip_bits(LOG, true);
    must("queue.flipped_bits.log.opened_after_a_stop", "> 290", opened, opened > 290);
    // An item with other bytes fails the comparison above.
    must("queue.flipped_bits.wrong_payloads", "0", 0, true);
}

#[test]
fn a_queue_keeps_its_bounds_when_the_disk_fails_again_and_again() {
    let (time, leased, written) = (TestClock::new(), QueueName::input("s"), QueueName::sink("s"));
    let disk = Disk::new(Bytes::default(), true);
    let local = disk.queues(&time).unwrap();
    run(async {
        local.open(&leased, Bounds { length: 1, deliveries: 1000, ..bounds() }).await.unwrap();
        local.open(&written, Bounds { length: 2, ..bounds() }).await.unwrap();
        local.put(&leased, super::item("leased"), None).await.unwrap();
        // Fails while an item is written, and then while the files are opened, or when the lease is ended after that.
        for writes in (0..30).step_by(2) {
            disk.0.lock().unwrap().failing = None;
            while !matches!(local.take(&leased, want(1)).await, Ok(taken) if taken.len() == 1) {
                time.pass(Duration::from_secs(61));
            }
            disk.0.lock().unwrap().failing = Some(1);
            loop {
                match local.put(&written, super::item("x"), None).await {
                    Ok(_) | Err(QueueError::Full { length: 2 }) => {
                        let _ = local.pop(&written, all()).await;
                    }
                    Err(QueueError::Unavailable(_)) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            disk.0.lock().unwrap().failing = Some(writes);
            while local.status(&leased).await.is_err() && disk.0.lock().unwrap().failing != Some(0) {
                std::thread::yield_now();
            }
        }
        disk.0.lock().unwrap().failing = None;
        while local.pop(&written, all()).await.is_err() {}
        for data in ["a", "b"] {
            local.put(&written, super::item(data), None).await.unwrap();
        }
        for (queue, length) in [(&leased, 1), (&written, 2)] {
            let refused = local.put(queue, super::item("c"), None).await;
            assert_eq!(refused, Err(QueueError::Full { length }));
        }
    });
}

#[test]
fn a_damaged_item_keeps_no_other_from_growing_old() {
    let (time, input) = (TestClock::new(), QueueName::input("s"));
    let disk = Disk::new(Bytes::default(), true);
    let bounds = Bounds { retention: Some(Duration::from_secs(10)), ..bounds() };
    let put = async |local: &LocalQueues, data: &str| {
        local.put(&input, super::item(data), None).await.unwrap();
    };
    let local = disk.queues(&time).unwrap();
    run(async {
        local.open(&input, bounds).await.unwrap();
        put(&local, "the damaged one").await;
        put(&local, "an intact one").await;
    });
    drop(local);
    let mut bytes = disk.0.lock().unwrap().live.clone();
    let text = b"the damaged one";
    for at in 0..bytes[DATABASE].len() - text.len() {
        if bytes[DATABASE][at..].starts_with(text) {
            bytes[DATABASE][at] ^= 1;
        }
    }
    let local = Disk::new(bytes, true).queues(&time).unwrap();
    run(async {
        local.open(&input, bounds).await.unwrap();
        let taken = local.take(&input, want(5)).await.unwrap();
        assert_eq!(taken.len(), 1);
        let returned = local.settle(&input, 2, Holder::Lease(taken[0].lease), Outcome::Returned).await;
        assert!(returned.is_ok());
        time.pass(Duration::from_secs(11));
        let status = local.status(&input).await.unwrap();
        assert_eq!((status.live(), status.dead, status.counts.expired), (0, 1, 1), "the damaged one stays");
        put(&local, "young").await;
        assert_eq!(local.requeue(&input, None).await, Ok(0), "a damaged item is not delivered again");
        assert_eq!(local.purge(&input, None).await, Ok(1));
        assert_eq!(local.status(&input).await.unwrap().live(), 1);
    });
}
