//! The outcomes of a run: counts by kind, histograms of fixed size, and the course over time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Deserialize;

use super::connection::{Answer, Fault};

/// Most kinds of outcome that are counted separately. A server that invents codes cannot use more memory.
const MAX_KINDS: usize = 100;
/// Most time slots in a report. In a longer run, every two slots are merged into one of twice the length.
const MAX_SLOTS: usize = 240;
const FIRST_SLOT: Duration = Duration::from_millis(100);
/// A request counts as late if it is sent this long after it was due: the generator or its connections could not keep
/// up.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// A histogram in nanoseconds, with three digits, up to an hour.
pub(super) type Times = Histogram<u64>;
/// A histogram in nanoseconds, with two digits.
pub(super) type SlotTimes = Histogram<u32>;

pub(super) struct Tally {
    began: Instant,
    /// Times of the answers with status 2xx, from when the request was due.
    pub(super) answered: Times,
    /// Times of all other answers.
    pub(super) refused: Times,
    /// Counts by status and, if the server gives one, its stable code.
    pub(super) statuses: BTreeMap<(u16, String), u64>,
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) late: u64,
    /// Requests that were due within the run and never sent.
    pub(super) unsent: u64,
    pub(super) slots: Slots,
}

/// The course of a run, in time slots of equal length.
pub(super) struct Slots {
    pub(super) length: Duration,
    pub(super) slots: Vec<Slot>,
}

#[derive(Clone)]
pub(super) struct Slot {
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) faults: u64,
    /// Times of the successes.
    pub(super) times: SlotTimes,
    /// Times of all other answers; boxed, because most slots have none.
    pub(super) refused_times: Option<Box<SlotTimes>>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
}

impl Tally {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            answered: times(),
            refused: times(),
            statuses: BTreeMap::new(),
            faults: BTreeMap::new(),
            late: 0,
            unsent: 0,
            slots: Slots { length: FIRST_SLOT, slots: Vec::new() },
        }
    }

    /// Records a request that was due at `due`, sent at `sent`, and ended at `now`.
    pub(super) fn record(&mut self, due: Instant, sent: Instant, now: Instant, outcome: Result<Answer, Fault>) {
        self.late += u64::from(sent.saturating_duration_since(due) > LATE);
        match outcome {
            // The body of a success is not looked at.
            Ok(Answer { status, .. }) if (200..300).contains(&status) => {
                self.record_status(due, now, status, String::new());
            }
            Ok(Answer { status, excerpt }) => self.record_status(due, now, status, code(&excerpt)),
            Err(fault) => {
                self.slots.at(now.saturating_duration_since(self.began)).faults += 1;
                *self.faults.entry(fault).or_default() += 1;
            }
        }
    }

    /// Records a result that came at `now`, for a put that was due at `due`.
    pub(super) fn record_result(&mut self, due: Instant, now: Instant, status: u16, code: String) {
        let code = if looks_like_one(&code) { code } else { String::new() };
        self.record_status(due, now, status, code);
    }

    fn record_status(&mut self, due: Instant, now: Instant, status: u16, code: String) {
        let took = nanos(now.saturating_duration_since(due));
        let slot = self.slots.at(now.saturating_duration_since(self.began));
        if (200..300).contains(&status) {
            slot.answered += 1;
            slot.times.saturating_record(took);
            self.answered.saturating_record(took);
        } else {
            slot.refused += 1;
            slot.refused_times().saturating_record(took);
            self.refused.saturating_record(took);
        }
        self.add_status((status, code), 1);
    }

    fn add_status(&mut self, kind: (u16, String), count: u64) {
        let kind = match self.statuses.len() >= MAX_KINDS && !self.statuses.contains_key(&kind) {
            true => (kind.0, "…".to_owned()),
            false => kind,
        };
        *self.statuses.entry(kind).or_default() += count;
    }

    /// Adds the tally of another part of the same run.
    pub(super) fn add(&mut self, other: Self) {
        // Both histograms have the same bounds, so no value is out of range.
        let _ = (self.answered.add(&other.answered), self.refused.add(&other.refused));
        other.statuses.into_iter().for_each(|(kind, count)| self.add_status(kind, count));
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.late += other.late;
        self.unsent += other.unsent;
        self.slots.add(other.slots);
    }

    /// The number of answers of any status.
    pub(super) fn answers(&self) -> u64 {
        self.answered.len() + self.refused.len()
    }

    pub(super) fn faulty(&self) -> u64 {
        self.faults.values().sum()
    }
}

impl Slots {
    fn at(&mut self, since: Duration) -> &mut Slot {
        while since >= self.length * MAX_SLOTS as u32 {
            self.double();
        }
        let index = (since.as_nanos() / self.length.as_nanos()) as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::new);
        }
        &mut self.slots[index]
    }

    fn double(&mut self) {
        self.length *= 2;
        let pairs = self.slots.chunks(2).map(|pair| {
            let mut sum = pair[0].clone();
            pair[1..].iter().for_each(|slot| sum.add(slot));
            sum
        });
        self.slots = pairs.collect();
    }

    fn add(&mut self, mut other: Self) {
        while self.length < other.length {
            self.double();
        }
        while other.length < self.length {
            other.double();
        }
        if self.slots.len() < other.slots.len() {
            self.slots.resize_with(other.slots.len(), Slot::new);
        }
        self.slots.iter_mut().zip(&other.slots).for_each(|(sum, slot)| sum.add(slot));
    }
}

impl Slot {
    fn new() -> Self {
        Self { answered: 0, refused: 0, faults: 0, times: slot_times(), refused_times: None }
    }

    fn refused_times(&mut self) -> &mut SlotTimes {
        self.refused_times.get_or_insert_with(|| Box::new(slot_times()))
    }

    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.faults += other.faults;
        let _ = self.times.add(&other.times);
        if let Some(times) = &other.refused_times {
            let _ = self.refused_times().add(&**times);
        }
    }
}

fn slot_times() -> SlotTimes {
    let times = Histogram::new_with_bounds(10_000, 3_600_000_000_000, 2);
    times.unwrap_or_else(|_| unreachable!("these bounds and digits are within what it takes"))
}

pub(super) fn times() -> Times {
    let times = Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3);
    times.unwrap_or_else(|_| unreachable!("these bounds and digits are within what it takes"))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The server's stable code, if the body is a problem that has one.
pub(super) fn code(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    problem.map(|problem| problem.code).filter(|code| looks_like_one(code)).unwrap_or_default()
}

/// True if this is what a stable code looks like. It then is harmless in a terminal.
fn looks_like_one(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn answer(status: u16, excerpt: &str) -> Result<Answer, Fault> {
        Ok(Answer { status, excerpt: excerpt.as_bytes().to_vec() })
    }

    #[test]
    fn times_count_from_when_a_request_was_due() {
        let began = Instant::now();
        let mut tally = Tally::new(began);
        tally.record(began, began + 40 * MS, began + 50 * MS, answer(200, ""));
        tally.record(began, began + LATE, began + 2 * MS, answer(450, r#"{"code":"queue_full","detail":"x"}"#));
        tally.record(began, began, began + 3 * MS, Err(Fault::Timeout));
        assert_eq!((tally.late, tally.answers(), tally.faulty()), (1, 2, 1));
        assert!(tally.answered.equivalent(tally.answered.max(), 50_000_000));
        let kinds: Vec<_> = tally.statuses.keys().map(|(status, code)| format!("{status} {code}")).collect();
        assert_eq!(kinds, ["200 ", "450 queue_full"]);
    }

    #[test]
    fn parts_of_a_run_are_added_whatever_the_length_of_their_slots() {
        let began = Instant::now();
        let (mut short, mut long) = (Tally::new(began), Tally::new(began));
        short.record(began, began, began + 150 * MS, answer(200, ""));
        for second in [0, 30, 100] {
            let now = began + Duration::from_secs(second);
            long.record(now, now, now, answer(500, "no problem"));
        }
        assert_eq!((short.slots.length, long.slots.length), (100 * MS, 800 * MS));
        short.add(long);
        assert_eq!((short.answers(), short.slots.length), (4, 800 * MS));
        assert!(short.slots.slots.len() <= MAX_SLOTS);
        let sum = |of: fn(&Slot) -> u64| short.slots.slots.iter().map(of).sum::<u64>();
        assert_eq!((sum(|slot| slot.answered), sum(|slot| slot.times.len())), (1, 1));
        let refused = |slot: &Slot| slot.refused_times.as_ref().map_or(0, |times| times.len());
        assert_eq!((sum(|slot| slot.refused), sum(refused)), (3, 3));
        assert_eq!((short.slots.slots[0].answered, short.slots.slots[125].refused), (1, 1));
    }

    #[test]
    fn a_server_cannot_fill_the_memory_with_codes() {
        let began = Instant::now();
        let mut tally = Tally::new(began);
        for number in 0..1000 {
            tally.record(began, began, began, answer(500, &format!("{{\"code\":\"c{number}\"}}")));
        }
        assert!(tally.statuses.len() <= MAX_KINDS + 1);
        assert_eq!(tally.statuses.values().sum::<u64>(), 1000);
        assert_eq!(code(b"{\"code\":\"\\u001b[2J\"}"), "");
        assert_eq!(code(format!("{{\"code\":\"{}\"}}", "x".repeat(65)).as_bytes()), "");
    }
}
