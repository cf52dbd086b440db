//! Requests whose bodies are on their way. There are so many places for them over all ports, each with the memory of a
//! first part. When all are taken, or others wait for memory that one of them holds, the slowest gives way: who
//! announces much and sends little takes nothing from who sends.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::idle::InFlight;
use super::refusal::Refusal;
use crate::turns::Turns;

/// Requests that are read, or wait for memory, at once.
const PLACES: usize = 256;
/// Requests that wait for such a place: a burst is no reason to send anybody away.
const LINE: usize = 256;
/// How often who waits asks another to give way.
const ASK: Duration = Duration::from_millis(100);
/// What a request reads before memory is admitted for all of it.
pub(super) const FIRST: usize = 64 << 10;
/// Who sends `FIRST` in this keeps what he has, and may pause for as long.
const PACE: Duration = Duration::from_secs(1);
/// When the first byte is late.
const GRACE: Duration = Duration::from_millis(100);

/// The places for requests whose bodies are on their way.
#[derive(Debug, Clone)]
pub(super) struct Arrivals {
    free: Arc<Semaphore>,
    line: Turns,
    under_way: Arc<Mutex<Vec<Arc<State>>>>,
}

/// One of them.
#[derive(Debug)]
struct State {
    progress: Mutex<Progress>,
    go: Notify,
}

#[derive(Debug)]
struct Progress {
    /// When its sender is late; none: it does not wait for him, or was asked to go already.
    due: Option<Instant>,
    /// It has memory for more than its first part.
    holds: bool,
}

/// A request that is being read, until dropped.
#[derive(Debug)]
pub(super) struct Arrival<'r> {
    pub(super) request: &'r InFlight,
    state: Arc<State>,
    all: Arrivals,
    _place: OwnedSemaphorePermit,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(PLACES)), line: Turns::new(LINE), under_way: Arc::default() }
    }
}

impl Arrivals {
    /// Takes a place, or waits for one, and asks those whose senders are late for theirs; none when too many wait.
    pub(super) async fn begin<'r>(&self, request: &'r InFlight) -> Option<Arrival<'r>> {
        let place = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let (_in_line, _at_work) = (self.line.try_take()?, request.at_work());
                self.insistently(|_| true, Arc::clone(&self.free).acquire_owned()).await.ok()?
            }
        };
        let progress = Progress { due: Some(Instant::now() + GRACE), holds: false };
        let state = Arc::new(State { progress: Mutex::new(progress), go: Notify::new() });
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&state));
        Some(Arrival { request, state, all: self.clone(), _place: place })
    }

    /// Waits for memory, and asks those who hold some and are late to give it up.
    pub(super) async fn wait_for_memory<T>(&self, memory: impl Future<Output = T>) -> T {
        self.insistently(|progress| progress.holds, memory).await
    }

    async fn insistently<T>(&self, may: impl Fn(&Progress) -> bool, wanted: impl Future<Output = T>) -> T {
        let mut wanted = pin!(wanted);
        loop {
            match timeout(ASK, &mut wanted).await {
                Ok(wanted) => return wanted,
                Err(_) => self.ask_the_slowest(&may),
            };
        }
    }

    /// Asks the one that is most late, if there is one.
    fn ask_the_slowest(&self, may: impl Fn(&Progress) -> bool) -> bool {
        let (now, under_way) = (Instant::now(), self.under_way.lock().unwrap_or_else(PoisonError::into_inner));
        let late = under_way.iter().filter_map(|state| {
            let progress = state.progress();
            progress.due.filter(|due| *due <= now && may(&progress)).map(|due| (due, state))
        });
        let Some((_, slowest)) = late.min_by_key(|(due, _)| *due) else { return false };
        slowest.progress().due = None;
        slowest.go.notify_one();
        true
    }
}

impl State {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival<'_> {
    /// So many bytes of its body came.
    pub(super) fn came(&self, bytes: usize) {
        self.request.came(bytes);
        let mut progress = self.state.progress();
        progress.due = progress.due.map(|due| paid(due, bytes, Instant::now() + PACE));
    }

    /// Completes when others need its place or its memory.
    pub(super) async fn asked_to_go(&self) {
        self.state.go.notified().await;
    }

    /// Waits for memory for the whole body: meanwhile it does not wait for its sender. From then on it holds that.
    pub(super) async fn hold<T>(&self, memory: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let _at_work = self.request.at_work();
        self.state.progress().due = None;
        let memory = tokio::select! {
            biased;
            // Before: somebody waits for its place.
            () = self.asked_to_go() => return Err(Refusal::GaveWay),
            memory = memory => memory?,
        };
        *self.state.progress() = Progress { due: Some(Instant::now() + PACE), holds: true };
        Ok(memory)
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut under_way = self.all.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = under_way.iter().position(|state| Arc::ptr_eq(state, &self.state)) {
            under_way.swap_remove(at);
        }
    }
}

/// What was due at `due` after so many more bytes, `most` at the latest: nobody sends ahead for long pauses.
pub(super) fn paid(due: Instant, bytes: usize, most: Instant) -> Instant {
    let parts = u32::try_from(bytes).unwrap_or(u32::MAX);
    (due + PACE / FIRST as u32 * parts).min(most)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::super::idle::Activity;
    use super::*;

    #[tokio::test]
    async fn one_request_more_waits_for_the_place_of_one_that_is_late() {
        let (arrivals, request) = (Arrivals::default(), Arc::new(Activity::default()).begin());
        let mut under_way = Vec::new();
        for _ in 0..PLACES {
            under_way.push(arrivals.begin(&request).await.unwrap());
        }
        let late = under_way.swap_remove(7);
        under_way.iter().for_each(|arrival| arrival.came(2 * FIRST));
        let gives_way = async {
            timeout(PACE, late.asked_to_go()).await.expect("another was asked");
            drop(late);
        };
        let (taken, ()) = tokio::join!(timeout(PACE, arrivals.begin(&request)), gives_way);
        assert!(taken.expect("the late one keeps its place").is_some());
    }

    #[tokio::test]
    async fn what_comes_when_too_many_wait_is_sent_away_at_once() {
        let (arrivals, request) = (Arrivals::default(), Arc::new(Activity::default()).begin());
        let mut under_way = Vec::new();
        for _ in 0..PLACES {
            under_way.push(arrivals.begin(&request).await.unwrap());
        }
        let mut line: Vec<_> = (0..LINE).map(|_| Box::pin(arrivals.begin(&request))).collect();
        for one in &mut line {
            assert!(timeout(Duration::ZERO, one).await.is_err(), "it waits");
        }
        let one_more = timeout(Duration::ZERO, arrivals.begin(&request)).await;
        assert!(one_more.expect("it waits too").is_none());
        drop(under_way);
        for one in line {
            assert!(one.await.is_some());
        }
    }

    #[tokio::test]
    async fn who_was_asked_to_go_waits_for_no_memory_any_more() {
        let (arrivals, request) = (Arrivals::default(), Arc::new(Activity::default()).begin());
        let arrival = arrivals.begin(&request).await.unwrap();
        sleep(GRACE).await;
        assert!(arrivals.ask_the_slowest(|_| true));
        let waiting = timeout(PACE, arrival.hold(std::future::pending::<Result<(), Refusal>>()));
        assert!(matches!(waiting.await.expect("it waits"), Err(Refusal::GaveWay)));
    }

    #[tokio::test]
    async fn who_waits_for_memory_is_not_late() {
        let (arrivals, request) = (Arrivals::default(), Arc::new(Activity::default()).begin());
        let arrival = arrivals.begin(&request).await.unwrap();
        let waiting = arrival.hold(async {
            sleep(2 * GRACE).await;
            assert!(!arrivals.ask_the_slowest(|_| true));
            Ok(())
        });
        waiting.await.unwrap();
        assert!(!arrivals.ask_the_slowest(|_| true), "its sender has a moment to hear that it may go on");
    }
}
