//! Tests of every implementation of [`QueueStore`].

mod crash;
mod disk;
mod model;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Bounds, Clock, Consumer, NewItem, Selection, Tags, Want};

/// A clock that a test moves.
#[derive(Clone, Debug)]
struct TestClock {
    base: Instant,
    /// Milliseconds since `base`.
    elapsed: Arc<AtomicU64>,
    /// Milliseconds since 1970.
    wall: Arc<AtomicU64>,
}

impl TestClock {
    fn new() -> Self {
        let wall = 1_700_000_000_000;
        Self { base: Instant::now(), elapsed: Arc::default(), wall: Arc::new(AtomicU64::new(wall)) }
    }

    fn clock(&self) -> Clock {
        let this = self.clone();
        Clock::of(move || {
            let elapsed = Duration::from_millis(this.elapsed.load(Ordering::Relaxed));
            (this.base + elapsed, this.wall.load(Ordering::Relaxed))
        })
    }

    /// Lets time pass.
    fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.elapsed.fetch_add(millis, Ordering::Relaxed);
        self.wall.fetch_add(millis, Ordering::Relaxed);
    }

    /// A clock with the same time, which goes its own way.
    fn fork(&self) -> Self {
        let copy = |value: &AtomicU64| Arc::new(AtomicU64::new(value.load(Ordering::Relaxed)));
        Self { base: self.base, elapsed: copy(&self.elapsed), wall: copy(&self.wall) }
    }

    /// Sets the wall clock forward or back, as an administrator does.
    fn jump(&self, seconds: i64) {
        let millis = seconds.unsigned_abs() * 1000;
        match seconds >= 0 {
            true => self.wall.fetch_add(millis, Ordering::Relaxed),
            false => self.wall.fetch_sub(millis, Ordering::Relaxed),
        };
    }
}

fn bounds() -> Bounds {
    Bounds { length: 1000, payload: 1000, deliveries: 3, retention: None }
}

fn item(data: &str) -> NewItem {
    NewItem { data: data.to_owned().into(), ..NewItem::default() }
}

fn tagged(data: &str, tags: &[(&str, &str)]) -> NewItem {
    NewItem { tags: tags.iter().copied().collect(), ..item(data) }
}

fn want(most: usize) -> Want {
    Want {
        consumer: Consumer::new("eas.test"),
        most,
        from: 0,
        tags: Tags::default(),
        hold: Duration::from_secs(30),
        room_in: None,
        wait: false,
    }
}

fn all() -> Selection {
    Selection { most: usize::MAX, ..Selection::default() }
}

/// Runs a future to its end, without a runtime that would move the time.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The number of repetitions: `short` in every test run, `long` in a chaos run.
fn rounds(short: u64, long: u64) -> u64 {
    if std::env::var("BULKHEAD_CHAOS").is_ok_and(|value| value == "long") { long } else { short }
}

/// Records a figure as the integration tests do, and asserts it.
#[track_caller]
fn must(figure: &str, target: &str, measured: usize, met: bool) {
    let line = serde_json::json!({"figure": figure, "target": target, "measured": measured, "met": met});
    println!("{line}");
    if let Some(path) = std::env::var_os("BULKHEAD_FIGURES") {
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).unwrap();
    }
    assert!(met, "{figure}: {measured}, and the target is {target}");
}
