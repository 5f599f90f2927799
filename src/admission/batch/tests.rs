use tokio::sync::mpsc;

use super::super::{Replace, Vacancy};
use super::*;

const MAX_WAIT: Duration = Duration::from_millis(50);

type Begun = (Place<u32>, Batch<u32, String>);

/// Keeps batches that have begun for the test to work on.
struct Begin(mpsc::UnboundedSender<Begun>);

impl Work<u32, u32, String> for Begin {
    fn begin(&self, place: Place<u32>, batch: Batch<u32, String>) {
        let _ = self.0.send((place, batch));
    }
}

/// Keeps vacancies for the test to fill.
#[derive(Clone, Default)]
struct Vacancies(Arc<Mutex<Vec<Vacancy<u32>>>>);

impl Replace<u32> for Vacancies {
    fn replace(&self, vacancy: Vacancy<u32>) {
        self.0.lock().unwrap().push(vacancy);
    }
}

struct Scene {
    batcher: Arc<Batcher<u32, String>>,
    admission: Arc<Admission<u32>>,
    vacancies: Vacancies,
    begun: mpsc::UnboundedReceiver<Begun>,
}

impl Scene {
    fn set(workers: u32, max_size: usize, max_waiting: usize) -> Self {
        let vacancies = Vacancies::default();
        let admission = Admission::new((0..workers).collect(), 1, Box::new(vacancies.clone()));
        let (sender, begun) = mpsc::unbounded_channel();
        let limits = BatchLimits { max_size, max_wait: MAX_WAIT, max_waiting };
        let batcher = Arc::new(Batcher::new(limits, Arc::clone(&admission), Begin(sender)));
        Self { batcher, admission, vacancies, begun }
    }

    /// Starts a call, which waits from now on.
    async fn call(&self, call: u32) -> tokio::task::JoinHandle<Result<String, Unanswered>> {
        self.call_until(call, Duration::from_secs(5)).await
    }

    async fn call_until(&self, call: u32, time: Duration) -> tokio::task::JoinHandle<Result<String, Unanswered>> {
        let seat = self.batcher.seat().expect("a seat");
        let deadline = (tokio::time::Instant::now() + time).into_std();
        let waits = tokio::spawn(seat.answer(call, deadline));
        tokio::task::yield_now().await;
        waits
    }

    /// Waits for the next batch. Nothing else may happen before it.
    async fn next(&mut self) -> Begun {
        self.begun.recv().await.expect("a batch")
    }

    fn none_has_begun(&mut self) -> bool {
        self.begun.try_recv().is_err()
    }
}

fn calls(batch: &Batch<u32, String>) -> Vec<u32> {
    batch.members.iter().map(|member| member.call).collect()
}

/// Answers every call and releases the worker.
fn work(mut place: Place<u32>, batch: Batch<u32, String>) {
    place.start();
    for member in batch.members {
        let answer = format!("answer to {}", member.call);
        member.answer(answer);
    }
    place.release();
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_leaves_at_once_and_each_call_gets_its_own_answer() {
    let mut scene = Scene::set(1, 3, 64);
    let began = tokio::time::Instant::now();
    let mut waiting = Vec::new();
    for call in [7, 8, 9] {
        waiting.push((call, scene.call(call).await));
    }
    let (place, batch) = scene.next().await;
    assert_eq!((calls(&batch), began.elapsed()), (vec![7, 8, 9], Duration::ZERO));
    assert_eq!(scene.batcher.waiting(), 0, "who is worked on no longer waits");
    work(place, batch);
    for (call, answer) in waiting {
        assert_eq!(answer.await.unwrap(), Ok(format!("answer to {call}")));
    }
    assert_eq!(scene.admission.load(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_fill_leaves_when_its_oldest_has_waited_long_enough() {
    let mut scene = Scene::set(1, 3, 64);
    let began = tokio::time::Instant::now();
    let first = scene.call(1).await;
    tokio::time::advance(MAX_WAIT / 2).await;
    let second = scene.call(2).await;
    let (place, batch) = scene.next().await;
    assert_eq!((calls(&batch), began.elapsed()), (vec![1, 2], MAX_WAIT));
    work(place, batch);
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_size_make_the_next_batch() {
    let mut scene = Scene::set(2, 2, 64);
    for call in 0..5 {
        scene.call(call).await;
    }
    let (first, second) = (scene.next().await, scene.next().await);
    assert_eq!((calls(&first.1), calls(&second.1)), (vec![0, 1], vec![2, 3]));
    work(first.0, first.1);
    work(second.0, second.1);
    let began = tokio::time::Instant::now();
    let (place, batch) = scene.next().await;
    assert_eq!((calls(&batch), began.elapsed()), (vec![4], MAX_WAIT));
    work(place, batch);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_due_grows_while_it_waits_for_a_worker() {
    let mut scene = Scene::set(1, 4, 64);
    scene.call(0).await;
    let (place, batch) = scene.next().await;
    scene.call(1).await;
    tokio::time::advance(2 * MAX_WAIT).await;
    scene.call(2).await;
    scene.call(3).await;
    assert!(scene.none_has_begun(), "the worker is busy");
    work(place, batch);
    let (place, batch) = scene.next().await;
    assert_eq!(calls(&batch), [1, 2, 3]);
    work(place, batch);
}

#[tokio::test(start_paused = true)]
async fn seats_are_counted_exactly() {
    let mut scene = Scene::set(1, 2, 3);
    scene.call(0).await;
    scene.call(1).await;
    let (place, batch) = scene.next().await;
    let seat = scene.batcher.seat().unwrap();
    scene.call(2).await;
    scene.call(3).await;
    assert!(scene.batcher.is_full());
    assert_eq!(scene.batcher.seat().err(), Some(Rejected::QueueFull), "three wait, and a seat not yet used counts");
    drop(seat);
    assert_eq!(scene.batcher.waiting(), 2);
    assert!(scene.batcher.seat().is_ok());
    work(place, batch);
    let (place, batch) = scene.next().await;
    assert_eq!(scene.batcher.waiting(), 0);
    work(place, batch);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_waiting_is_never_worked_on() {
    let mut scene = Scene::set(1, 3, 3);
    let gone = scene.call(1).await;
    let stays = scene.call(2).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert_eq!(scene.batcher.waiting(), 1);
    let (place, batch) = scene.next().await;
    assert_eq!(calls(&batch), [2]);
    work(place, batch);
    assert!(stays.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn when_all_have_left_the_worker_stays_untouched() {
    let mut scene = Scene::set(1, 3, 3);
    let gone = scene.call(1).await;
    gone.abort();
    assert!(gone.await.is_err());
    tokio::time::sleep(10 * MAX_WAIT).await;
    assert!(scene.none_has_begun());
    assert_eq!((scene.batcher.waiting(), scene.admission.load()), (0, 0));
    assert!(scene.vacancies.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_waiting_is_this_calls_alone() {
    let mut scene = Scene::set(1, 3, 64);
    scene.call(0).await;
    let (place, batch) = scene.next().await;
    let overdue = scene.call_until(1, MAX_WAIT).await;
    let other = scene.call(2).await;
    assert_eq!(overdue.await.unwrap(), Err(Unanswered::Overdue));
    assert_eq!(scene.batcher.waiting(), 1);
    work(place, batch);
    let (place, batch) = scene.next().await;
    assert_eq!(calls(&batch), [2]);
    work(place, batch);
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_during_the_work_is_this_calls_alone() {
    let mut scene = Scene::set(1, 2, 64);
    let overdue = scene.call_until(1, MAX_WAIT).await;
    let other = scene.call(2).await;
    let (place, batch) = scene.next().await;
    assert_eq!(overdue.await.unwrap(), Err(Unanswered::Overdue));
    assert!(batch.members[0].is_gone() && !batch.members[1].is_gone());
    work(place, batch);
    assert_eq!(other.await.unwrap(), Ok("answer to 2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_abandoned_when_the_last_of_its_callers_has_left() {
    let mut scene = Scene::set(1, 2, 64);
    let (one, other) = (scene.call(1).await, scene.call(2).await);
    let (place, mut batch) = scene.next().await;
    one.abort();
    let waited = tokio::time::timeout(MAX_WAIT, batch.abandoned()).await;
    assert!(waited.is_err(), "one still waits");
    other.abort();
    batch.abandoned().await;
    drop((place, batch));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_is_told() {
    let mut scene = Scene::set(1, 1, 64);
    let call = scene.call(1).await;
    drop(scene.next().await);
    assert_eq!(call.await.unwrap(), Err(Unanswered::Lost));
}

#[tokio::test(start_paused = true)]
async fn when_no_worker_can_be_made_all_are_told_at_once_and_later_ones_are_served_again() {
    let mut scene = Scene::set(1, 1, 64);
    scene.call(1).await;
    let (mut place, _batch) = scene.next().await;
    let waiting = scene.call(2).await;
    place.start();
    drop(place);
    let mut vacancy = scene.vacancies.0.lock().unwrap().pop().unwrap();
    vacancy.stall();
    assert_eq!(waiting.await.unwrap(), Err(Unanswered::NoWorker));
    assert_eq!(scene.batcher.waiting(), 0);
    vacancy.fill(7);
    let call = scene.call(3).await;
    let (place, batch) = scene.next().await;
    work(place, batch);
    assert_eq!(call.await.unwrap(), Ok("answer to 3".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_a_batch_is_whoever_came_while_the_workers_were_busy() {
    let (sender, mut begun) = mpsc::unbounded_channel();
    let admission = Admission::new(vec![0], 1, Box::new(Vacancies::default()));
    let limits = BatchLimits { max_size: 8, max_wait: Duration::ZERO, max_waiting: 8 };
    let batcher = Batcher::new(limits, admission, Begin(sender));
    let soon = (tokio::time::Instant::now() + Duration::from_secs(5)).into_std();
    let call = |call| {
        let waits = tokio::spawn(batcher.seat().unwrap().answer(call, soon));
        async { drop((waits, tokio::task::yield_now().await)) }
    };
    call(1).await;
    let (place, batch) = begun.recv().await.unwrap();
    assert_eq!(calls(&batch), [1]);
    call(2).await;
    call(3).await;
    work(place, batch);
    let (place, batch) = begun.recv().await.unwrap();
    assert_eq!(calls(&batch), [2, 3]);
    work(place, batch);
}
