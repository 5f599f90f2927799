//! Consumers that wait, in both implementations.

use std::sync::Arc;
use std::time::Duration;

use super::super::memory::MemoryQueues;
use super::super::{
    Bounds, Clock, Holder, KEY_KEPT, Key, LocalQueues, MOST_BYTES, NewItem, Outcome, QueueError, QueueName, QueueStore,
    Reason, Selection, Settled, Tags, Want, Whereabouts,
};
use super::{TestClock, bounds, item, run, tagged, want};

/// Runs a test with each implementation, on the clocks of the machine.
fn each<F: Future<Output = ()>>(test: impl Fn(Arc<dyn QueueStore>) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let local = LocalQueues::open(&dir.path().join("queues.redb"), Clock::system()).unwrap();
    let stores: [Arc<dyn QueueStore>; 2] = [Arc::new(MemoryQueues::new(Clock::system())), Arc::new(local)];
    for store in stores {
        run(async {
            store.open(&QueueName::input("s"), bounds()).await.unwrap();
            store.open(&QueueName::sink("s"), bounds()).await.unwrap();
            test(store).await;
        });
    }
}

fn waiting(most: usize) -> Want {
    Want { wait: true, ..want(most) }
}

#[test]
fn a_waiting_consumer_gets_the_next_item() {
    each(|store| async move {
        let queue = QueueName::input("s");
        let taking = tokio::spawn({
            let (store, queue) = (Arc::clone(&store), queue.clone());
            async move { store.take(&queue, waiting(5)).await }
        });
        tokio::task::yield_now().await;
        store.put(&queue, item("a"), None).await.unwrap();
        let taken = taking.await.unwrap().unwrap();
        assert_eq!((taken.len(), taken[0].count, &*taken[0].item.data), (1, 1, &b"a"[..]));
        let found = store.find(&queue, 1).await.unwrap();
        assert_eq!(found, Some(Whereabouts::Leased { consumer: "eas.test".into(), count: 1 }));
    });
}

#[test]
fn an_item_that_nobody_waits_for_any_more_stays() {
    each(|store| async move {
        let queue = QueueName::input("s");
        for wish in 0..2 {
            let given_up = {
                let store = Arc::clone(&store);
                let queue = queue.clone();
                async move {
                    match wish {
                        0 => drop(store.take(&queue, waiting(5)).await),
                        _ => drop(store.pop(&queue, Selection { most: 5, wait: true, ..Selection::default() }).await),
                    }
                }
            };
            assert!(tokio::time::timeout(Duration::from_millis(30), given_up).await.is_err(), "it waits");
        }
        store.put(&queue, item("a"), None).await.unwrap();
        let taken = store.take(&queue, waiting(1)).await.unwrap();
        assert_eq!((taken[0].item.index, taken[0].count), (1, 1), "it was not delivered before");
    });
}

/// The answer of the database may be there already when its caller leaves.
#[test]
fn an_item_whose_caller_leaves_before_it_has_read_it_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalQueues::open(&dir.path().join("queues.redb"), Clock::system()).unwrap();
    run(async {
        let queue = QueueName::input("s");
        store.open(&queue, bounds()).await.unwrap();
        store.put(&queue, item("a"), None).await.unwrap();
        for round in 0..40 {
            let mut taking = store.take(&queue, want(1));
            let mut popping = store.pop(&queue, Selection { most: 1, ..Selection::default() });
            let asked: &mut (dyn Future<Output = ()> + Unpin + Send) = match round % 2 {
                0 => &mut Box::pin(async { drop((&mut taking).await) }),
                _ => &mut Box::pin(async { drop((&mut popping).await) }),
            };
            let answered = std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::pin!(&mut *asked).poll(cx)));
            assert!(answered.await.is_pending(), "the writer is another thread");
            // The answer arrives during these, and is not read.
            for _ in 0..round / 8 {
                store.status(&queue).await.unwrap();
            }
            drop((taking, popping));
            let is_back = async || {
                let status = store.status(&queue).await.unwrap();
                (status.leased, status.live()) == (0, 1)
            };
            let mut looks = 0;
            while !is_back().await {
                looks += 1;
                assert!(looks < 1000, "round {round}: it does not come back");
            }
        }
    });
}

#[test]
fn results_go_to_those_who_wait_for_their_requests() {
    each(|store| async move {
        let queue = QueueName::sink("s");
        let asking: Vec<_> = (0..50)
            .map(|id| {
                let (store, queue) = (Arc::clone(&store), queue.clone());
                let tags: Tags = [(Tags::REQUEST_ID, format!("r{id}"))].into_iter().collect();
                tokio::spawn(async move {
                    store.pop(&queue, Selection { most: 1, tags, wait: true, ..Selection::default() }).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for id in (0..50).rev() {
            store.put(&queue, tagged(&id.to_string(), &[("requestId", &format!("r{id}"))]), None).await.unwrap();
        }
        for (id, asking) in asking.into_iter().enumerate() {
            let popped = asking.await.unwrap().unwrap();
            assert_eq!(popped[0].data, id.to_string());
        }
        assert_eq!(store.status(&queue).await.unwrap().live(), 0);
    });
}

#[test]
fn room_in_the_sink_lets_a_waiting_consumer_go_on() {
    each(|store| async move {
        let (queue, sink) = (QueueName::input("s"), QueueName::sink("s"));
        store.open(&sink, Bounds { length: 1, ..bounds() }).await.unwrap();
        for data in ["a", "b"] {
            store.put(&queue, item(data), None).await.unwrap();
        }
        let with_room = |wait| Want { room_in: Some(sink.clone()), wait, ..want(5) };
        let taken = store.take(&queue, with_room(true)).await.unwrap();
        assert_eq!(taken.len(), 1, "there is room for one result");
        assert_eq!(store.take(&queue, with_room(false)).await.unwrap(), []);
        let result = Some(Box::new((sink.clone(), item("A"))));
        let holder = Holder::Lease(taken[0].lease);
        store.settle(&queue, 1, holder, Outcome::Done { result }).await.unwrap();
        let taking = tokio::spawn({
            let (store, queue, want) = (Arc::clone(&store), queue.clone(), with_room(true));
            async move { store.take(&queue, want).await }
        });
        tokio::task::yield_now().await;
        let popped = store.pop(&sink, Selection { most: 1, ..Selection::default() }).await.unwrap();
        assert_eq!(popped[0].data, "A");
        let second = taking.await.unwrap().unwrap();
        assert_eq!(second[0].item.index, 2, "the other queue was asked again when there was room");
    });
}

#[test]
fn an_end_is_told_to_those_who_wait() {
    each(|store| async move {
        let queue = QueueName::input("s");
        store.put(&queue, item("a"), None).await.unwrap();
        store.end(&queue, false).await.unwrap();
        assert_eq!(store.put(&queue, item("b"), None).await, Err(QueueError::Ended));
        let taken = store.take(&queue, waiting(1)).await.unwrap();
        let taking = tokio::spawn({
            let (store, queue) = (Arc::clone(&store), queue.clone());
            async move { store.take(&queue, waiting(1)).await }
        });
        tokio::task::yield_now().await;
        let holder = Holder::Lease(taken[0].lease);
        let settled = store.settle(&queue, 1, holder, Outcome::Done { result: None }).await;
        assert_eq!(settled, Ok(Settled::Removed));
        assert_eq!(taking.await.unwrap(), Err(QueueError::Ended));
    });
}

#[test]
fn of_two_consumers_one_holds_an_item_and_a_late_one_is_refused() {
    each(|store| async move {
        let queue = QueueName::input("s");
        for round in 1..=100 {
            store.put(&queue, item("a"), None).await.unwrap();
            let take = || store.take(&queue, want(1));
            let (first, second) = tokio::join!(take(), take());
            let mut held = first.unwrap();
            held.extend(second.unwrap());
            assert_eq!(held.len(), 1, "round {round}");
            let (index, lease) = (held[0].item.index, held[0].lease);
            let returned = store.settle(&queue, index, Holder::Lease(lease), Outcome::Returned).await;
            assert_eq!(returned, Ok(Settled::Ready));
            let again = take().await.unwrap();
            for outcome in [Outcome::Done { result: None }, Outcome::Failed(Reason::new("X", "")), Outcome::Returned] {
                let late = store.settle(&queue, index, Holder::Lease(lease), outcome).await;
                assert_eq!(late, Err(QueueError::LeaseLost { index }), "the lease has ended");
            }
            let done = Outcome::Done { result: None };
            assert_eq!(store.settle(&queue, index, Holder::Lease(again[0].lease), done).await, Ok(Settled::Removed));
        }
    });
}

#[test]
fn a_lease_that_is_not_renewed_ends_by_itself() {
    each(|store| async move {
        let queue = QueueName::input("s");
        store.open(&queue, Bounds { deliveries: 1, ..bounds() }).await.unwrap();
        store.put(&queue, item("a"), None).await.unwrap();
        let short = Want { hold: Duration::from_millis(20), ..waiting(1) };
        store.take(&queue, short).await.unwrap();
        let mut arrivals = store.arrivals(&queue).unwrap();
        loop {
            let dead = store.dead(&queue, 0, 10).await.unwrap();
            if let Some(dead) = dead.first() {
                assert_eq!((dead.reason.code.as_str(), dead.deliveries), (Reason::LEASE_EXPIRED, 1));
                break;
            }
            let _ = tokio::time::timeout(Duration::from_millis(5), arrivals.changed()).await;
        }
        assert_eq!(store.requeue(&queue, None).await, Ok(1));
        assert_eq!(store.take(&queue, waiting(1)).await.unwrap()[0].count, 1, "the count begins anew");
    });
}

/// The wall clock says nothing about leases and pauses.
#[test]
fn a_jump_of_the_wall_clock_delivers_nothing_early() {
    let dir = tempfile::tempdir().unwrap();
    let time = TestClock::new();
    let local = LocalQueues::open(&dir.path().join("queues.redb"), time.clock()).unwrap();
    let stores: [Arc<dyn QueueStore>; 2] = [Arc::new(MemoryQueues::new(time.clock())), Arc::new(local)];
    for store in stores {
        run(async {
            let queue = QueueName::input("s");
            store.open(&queue, bounds()).await.unwrap();
            for data in ["leased", "delayed"] {
                store.put(&queue, item(data), None).await.unwrap();
            }
            let taken = store.take(&queue, want(2)).await.unwrap();
            let failed = Outcome::Failed(Reason::new("408", ""));
            store.settle(&queue, 2, Holder::Lease(taken[1].lease), failed).await.unwrap();
            for seconds in [3600, -7200, 3600] {
                time.jump(seconds);
                assert_eq!(store.take(&queue, want(2)).await.unwrap(), [], "after a jump of {seconds} s");
            }
            time.pass(Duration::from_secs(1));
            assert_eq!(store.take(&queue, want(2)).await.unwrap()[0].item.index, 2, "after its pause");
            time.pass(Duration::from_secs(30));
            assert_eq!(store.status(&queue).await.unwrap().delayed, 2, "after their leases");
        });
    }
}

#[test]
fn a_wish_for_later_items_does_not_hold_up_another_one() {
    each(|store| async move {
        let queue = QueueName::input("s");
        let tags: Tags = [("t", "1")].into_iter().collect();
        let from = |from| Want { from, tags: tags.clone(), ..waiting(1) };
        let later = tokio::spawn({
            let (store, queue, want) = (Arc::clone(&store), queue.clone(), from(1000));
            async move { store.take(&queue, want).await }
        });
        tokio::task::yield_now().await;
        let now = tokio::spawn({
            let (store, queue, want) = (Arc::clone(&store), queue.clone(), from(0));
            async move { store.take(&queue, want).await }
        });
        tokio::task::yield_now().await;
        store.put(&queue, tagged("a", &[("t", "1")]), None).await.unwrap();
        let taken = tokio::time::timeout(Duration::from_secs(20), now).await.unwrap().unwrap().unwrap();
        assert_eq!(taken[0].item.index, 1);
        later.abort();
    });
}

#[test]
fn the_published_state_follows_each_change() {
    let dir = tempfile::tempdir().unwrap();
    let time = TestClock::new();
    let path = dir.path().join("queues.redb");
    let queue = QueueName::input("s");
    let bounds = Bounds { length: 1, deliveries: 1, retention: Some(Duration::from_secs(60)), ..bounds() };
    run(async {
        let store = LocalQueues::open(&path, time.clock()).unwrap();
        store.open(&queue, bounds).await.unwrap();
        store.put(&queue, item("a"), None).await.unwrap();
        let seen = |store: &LocalQueues| {
            let status = store.glance(&queue).unwrap();
            (status.live(), status.leased, status.dead, store.is_full(&queue))
        };
        assert_eq!(seen(&store), (1, 0, 0, true));
        drop(store);
        let store = LocalQueues::open(&path, time.clock()).unwrap();
        store.open(&queue, bounds).await.unwrap();
        assert_eq!(seen(&store), (1, 0, 0, true), "after a start");
        let taken = store.take(&queue, want(1)).await.unwrap();
        assert_eq!(seen(&store), (1, 1, 0, true), "after a take");
        let failed = Outcome::Failed(Reason::new("408", "late"));
        store.settle(&queue, 1, Holder::Lease(taken[0].lease), failed).await.unwrap();
        assert_eq!(seen(&store), (0, 0, 1, true), "after a failure");
        time.pass(Duration::from_secs(61));
        store.status(&queue).await.unwrap();
        assert_eq!(seen(&store), (0, 0, 0, false), "after the time for which items are kept");
    });
}

#[test]
fn one_request_gets_no_more_than_a_bound_of_data() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalQueues::open(&dir.path().join("queues.redb"), Clock::system()).unwrap();
    let queue = QueueName::input("s");
    run(async {
        store.open(&queue, Bounds { payload: MOST_BYTES / 2, ..bounds() }).await.unwrap();
        for _ in 0..5 {
            let data = vec![b'x'; MOST_BYTES / 2].into();
            store.put(&queue, NewItem { data, ..item("") }, None).await.unwrap();
        }
        let all = Selection { most: 5, ..Selection::default() };
        assert_eq!(store.read(&queue, all.clone()).await.unwrap().len(), 2, "read");
        assert_eq!(store.take(&queue, want(5)).await.unwrap().len(), 2, "taken");
        assert_eq!(store.pop(&queue, all.clone()).await.unwrap().len(), 2, "removed");
        assert_eq!(store.pop(&queue, all).await.unwrap().len(), 1, "the rest");
    });
}

#[test]
fn an_item_that_was_put_back_is_not_delivered_with_an_old_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalQueues::open(&dir.path().join("queues.redb"), Clock::system()).unwrap();
    let queue = QueueName::input("s");
    run(async {
        store.open(&queue, bounds()).await.unwrap();
        store.put(&queue, item("a"), None).await.unwrap();
        let first = store.take(&queue, want(1)).await.unwrap();
        let old = Holder::Lease(first[0].lease);
        store.settle(&queue, 1, old.clone(), Outcome::Returned).await.unwrap();
        // The caller leaves before it has its answer.
        let popped = store.pop(&queue, Selection { most: 1, ..Selection::default() });
        assert!(futures_util::FutureExt::now_or_never(popped).is_none());
        let second = store.take(&queue, waiting(1)).await.unwrap();
        assert_ne!(second[0].lease, first[0].lease);
        let late = store.settle(&queue, 1, old, Outcome::Done { result: None }).await;
        assert_eq!(late, Err(QueueError::LeaseLost { index: 1 }));
    });
}

#[test]
fn many_leased_items_keep_no_other_from_growing_old() {
    let dir = tempfile::tempdir().unwrap();
    let time = TestClock::new();
    let store = LocalQueues::open(&dir.path().join("queues.redb"), time.clock()).unwrap();
    let queue = QueueName::input("s");
    run(async {
        let retention = Some(Duration::from_secs(10));
        store.open(&queue, Bounds { retention, ..bounds() }).await.unwrap();
        for _ in 0..600 {
            store.put(&queue, item("a"), None).await.unwrap();
        }
        assert_eq!(store.take(&queue, want(550)).await.unwrap().len(), 550);
        time.pass(Duration::from_secs(11));
        let status = store.status(&queue).await.unwrap();
        assert_eq!((status.counts.expired, status.leased), (50, 550));
    });
}

#[test]
fn old_keys_are_forgotten_however_many_there_are() {
    const KEYS: usize = 1200;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queues.redb");
    let (time, queue) = (TestClock::new(), QueueName::input("s"));
    let store = LocalQueues::open(&path, time.clock()).unwrap();
    run(async {
        store.open(&queue, Bounds { length: 2, ..bounds() }).await.unwrap();
        for number in 0..KEYS {
            let key = Key { text: number.to_string(), digest: [0; 32] };
            store.put(&queue, item("a"), Some(key)).await.unwrap();
            store.pop(&queue, Selection { most: 1, ..Selection::default() }).await.unwrap();
        }
        time.pass(KEY_KEPT + Duration::from_secs(1));
        // Each operation makes a batch, and each batch forgets some.
        for _ in 0..4 {
            store.status(&queue).await.unwrap();
        }
    });
    drop(store);
    let keys: redb::TableDefinition<'_, (u32, &str), &[u8]> = redb::TableDefinition::new("keys");
    let database = redb::Database::open(&path).unwrap();
    let table = redb::ReadableDatabase::begin_read(&database).unwrap().open_table(keys).unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&table).unwrap(), 0);
}
