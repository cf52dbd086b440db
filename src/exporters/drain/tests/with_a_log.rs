//! The loop with a real log on disk and a backend in process.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::{RetrySettings, Settings, run};
use super::{numbered, request, texts};
use crate::exporters::{Request, SendError, Sent, Sink, State, Status};
use crate::otlp::Signal;
use crate::spool::{
    Cursor, CursorInspection, DeadLetter, Log, LogOptions, Need, OnFull, Options, Reader, Spool, Start,
};

type Answer = Box<dyn Fn(&[String]) -> Option<Result<Sent, SendError>> + Send + Sync>;

/// A backend that answers as told; no answer hangs for ever.
pub(super) struct Backend {
    answer: Mutex<Arc<Answer>>,
    pub(super) taken: Mutex<Vec<Vec<String>>>,
}

impl Backend {
    pub(super) fn new(
        answer: impl Fn(&[String]) -> Option<Result<Sent, SendError>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(Arc::new(Box::new(answer))), taken: Mutex::default() })
    }

    pub(super) fn well() -> Arc<Self> {
        Self::new(|_| Some(Ok(Sent::default())))
    }

    pub(super) fn answers(
        &self,
        answer: impl Fn(&[String]) -> Option<Result<Sent, SendError>> + Send + Sync + 'static,
    ) {
        *self.answer.lock().unwrap() = Arc::new(Box::new(answer));
    }

    pub(super) fn records(&self) -> Vec<String> {
        self.taken.lock().unwrap().concat()
    }
}

impl Sink for Backend {
    fn send(&self, request: Request) -> impl Future<Output = Result<Sent, SendError>> + Send {
        let texts = texts(&request.payload);
        let answer = Arc::clone(&self.answer.lock().unwrap());
        let answer = answer(&texts);
        if matches!(answer, Some(Ok(_))) {
            self.taken.lock().unwrap().push(texts);
        }
        async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }
}

/// A log in a directory of its own.
pub(super) struct Lab {
    directory: tempfile::TempDir,
    spool: Spool,
    pub(super) log: Log,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::with(Options::default().log)
    }

    pub(super) fn with(options: LogOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let log = spool.log_with("logs", options).unwrap();
        Self { directory, spool, log }
    }

    /// The cursor's account, which must close.
    pub(super) fn account(&self) -> CursorInspection {
        let log = self.spool.inspect().unwrap().logs.into_iter().find(|log| log.name == "logs").unwrap();
        let account = log.cursors.into_iter().find(|cursor| cursor.name == "backend").unwrap();
        let dropped: u64 = account.dropped_items.iter().map(|(_, items)| items).sum();
        let settled = account.delivered_items + account.parked_items + account.skipped_items + dropped;
        assert_eq!(account.accepted_items, settled + account.pending.items, "{account:?}");
        account
    }

    /// The texts and reasons of the dead letters.
    fn dead_letters(&self) -> Vec<(String, String)> {
        let reader = Reader::open(self.directory.path()).unwrap();
        let mut letters = Vec::new();
        let mut log = reader.read_dead_letters("logs").unwrap();
        while let Some(frame) = log.next().unwrap() {
            let (_, letter) = DeadLetter::from_frame(&frame).unwrap();
            letters.extend(texts(&letter.payload).into_iter().map(|text| (text, letter.reason.clone())));
        }
        letters
    }

    pub(super) fn append(&self, texts: &[String]) {
        self.log.append(Signal::Logs.tag(), request(texts), texts.len() as u32).unwrap().wait().unwrap();
    }

    fn cursor(&self) -> Cursor {
        self.log.cursor("backend", Start::Oldest, Need::Required).unwrap()
    }

    /// As after a restart of the process.
    fn reopen(self) -> Self {
        let Self { directory, spool, log } = self;
        spool.close().unwrap();
        drop((spool, log));
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let log = spool.log("logs").unwrap();
        Self { directory, spool, log }
    }
}

pub(super) fn quick() -> Settings {
    let retry = RetrySettings {
        initial_interval: Duration::from_millis(10),
        max_interval: Duration::from_millis(40),
        ..RetrySettings::default()
    };
    Settings { retry, ..Settings::default() }
}

/// A drain that runs.
pub(super) struct Running {
    status: Arc<Status>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Cursor>,
}

impl Running {
    pub(super) fn start(lab: &Lab, backend: &Arc<Backend>, settings: Settings) -> Self {
        Self::with(lab.cursor(), backend, settings)
    }

    pub(super) fn with(cursor: Cursor, backend: &Arc<Backend>, settings: Settings) -> Self {
        let status = Arc::new(Status::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let task = tokio::spawn(run(cursor, Arc::clone(backend), settings, Arc::clone(&status), shutdown));
        Self { status, stop, task }
    }

    pub(super) async fn stop(self) -> Cursor {
        drop(self.stop);
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("the drain did not stop").unwrap()
    }
}

/// Waits for a condition, ten seconds at most.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn records_are_delivered_in_order_and_the_cursor_remembers() {
    let lab = Lab::new();
    lab.append(&numbered("a", 3));
    let backend = Backend::well();
    let drain = Running::start(&lab, &backend, quick());
    until("the first frame", || backend.records().len() == 3).await;
    lab.append(&numbered("b", 2));
    until("the second frame", || backend.records().len() == 5).await;
    assert_eq!(backend.records(), [numbered("a", 3), numbered("b", 2)].concat());
    let cursor = drain.stop().await;
    assert_eq!(cursor.pending().items, 0);
    drop(cursor);

    let lab = lab.reopen();
    lab.append(&numbered("c", 1));
    let backend = Backend::well();
    let drain = Running::start(&lab, &backend, quick());
    until("only what is new", || backend.records() == numbered("c", 1)).await;
    drop(drain.stop().await);
}

#[tokio::test]
async fn frames_are_concatenated_up_to_the_batch_size() {
    let lab = Lab::new();
    for i in 0..100 {
        lab.append(&numbered(&format!("f{i}"), 10));
    }
    let backend = Backend::well();
    let bytes = request(&numbered("f00", 10)).len();
    let drain = Running::start(&lab, &backend, Settings { max_batch_bytes: 25 * bytes, ..quick() });
    until("all", || backend.records().len() == 1000).await;
    let sizes: Vec<usize> = backend.taken.lock().unwrap().iter().map(Vec::len).collect();
    assert!(sizes.len() <= 5 && sizes.iter().all(|size| *size <= 260), "{sizes:?}");
    drop(drain.stop().await);
}

#[tokio::test]
async fn a_batch_holds_one_signal_and_a_foreign_frame_is_parked() {
    let lab = Lab::new();
    lab.append(&numbered("a", 1));
    let traces = bytes::Bytes::new();
    lab.log.append(Signal::Traces.tag(), traces, 0).unwrap().wait().unwrap();
    lab.log.append(200, bytes::Bytes::from_static(b"of a user's own"), 7).unwrap().wait().unwrap();
    lab.append(&numbered("b", 1));
    let backend = Backend::well();
    let drain = Running::start(&lab, &backend, quick());
    until("both", || backend.records() == ["a-0", "b-0"]).await;
    assert_eq!(backend.taken.lock().unwrap().len(), 3, "the traces went in a request of their own");
    let cursor = drain.stop().await;
    assert_eq!(cursor.pending().items, 0);
}

#[tokio::test]
async fn an_outage_stands_still_and_loses_nothing() {
    let lab = Lab::new();
    let backend = Backend::new(|_| Some(Err(SendError::Retry { reason: "connection refused".into(), after: None })));
    let drain = Running::start(&lab, &backend, quick());
    for i in 0..20 {
        lab.append(&numbered(&format!("f{i}"), 5));
    }
    until("several attempts", || drain.status.snapshot().failures >= 3).await;
    assert_eq!(drain.status.snapshot().state, State::Retrying);
    assert_eq!(drain.status.snapshot().last_error.as_deref(), Some("connection refused"));
    backend.answers(|_| Some(Ok(Sent::default())));
    until("all", || backend.records().len() == 100).await;
    until("well", || drain.status.snapshot().state == State::Ok).await;
    let cursor = drain.stop().await;
    assert_eq!(cursor.pending().items, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_parked_and_all_others_delivered() {
    let lab = Lab::new();
    let bad: BTreeSet<String> = ["f3-7", "f11-0", "f11-1", "f19-49"].map(str::to_owned).into();
    for i in 0..20 {
        lab.append(&numbered(&format!("f{i}"), 50));
    }
    let is_bad = bad.clone();
    let backend = Backend::new(move |texts| {
        let refused = texts.iter().any(|text| is_bad.contains(text));
        Some(if refused { Err(SendError::Refused { reason: "INTERNAL".into() }) } else { Ok(Sent::default()) })
    });
    let drain = Running::start(&lab, &backend, Settings { requests_in_flight: 3, max_batch_bytes: 4096, ..quick() });
    until("the bad ones parked", || drain.status.snapshot().parked_items == 4).await;
    until("all others", || drain.status.snapshot().sent_items == 996).await;
    assert!(backend.records().iter().all(|text| !bad.contains(text)));
    let cursor = drain.stop().await;
    assert_eq!(cursor.pending().items, 0);
    let account = lab.account();
    assert_eq!((account.delivered_items, account.parked_items), (996, 4));
    // A reader beside the writer sees a frame once a later one, or the mark of a quiet moment, vouches for it.
    until("the dead letters", || lab.dead_letters().len() == 4).await;
    let letters = lab.dead_letters();
    assert!(letters.iter().all(|(_, reason)| reason == "INTERNAL"), "{letters:?}");
    assert_eq!(letters.into_iter().map(|(text, _)| text).collect::<BTreeSet<_>>(), bad);
}

#[tokio::test]
async fn a_log_that_drops_its_oldest_under_a_slow_backend_still_adds_up() {
    let options = LogOptions {
        max_size: Some(2 << 20),
        segment_size: Some(256 << 10),
        retain_size: 0,
        on_full: OnFull::DropOldest,
        ..Options::default().log
    };
    let lab = Lab::with(options);
    let backend = Backend::new(|_| Some(Err(SendError::Refused { reason: "INTERNAL".into() })));
    let settings = Settings { max_batch_bytes: 64 << 10, requests_in_flight: 3, ..quick() };
    let drain = Running::start(&lab, &backend, settings);
    let long = |i: usize| numbered(&format!("f{i}-{}", "x".repeat(2_000)), 20);
    for i in 0..200 {
        lab.append(&long(i));
    }
    until("drops", || lab.account().dropped_items.iter().any(|(_, items)| *items > 0)).await;
    until("several refusals", || drain.status.snapshot().failures > 10).await;
    backend.answers(|_| Some(Ok(Sent::default())));
    until("all that is left", || lab.account().pending.items == 0).await;
    drop(drain.stop().await);
    let account = lab.account();
    let dropped: u64 = account.dropped_items.iter().map(|(_, items)| items).sum();
    assert_eq!(account.delivered_items + dropped, 4_000);
    let taken: BTreeSet<String> = backend.records().into_iter().collect();
    assert_eq!(
        taken.len() as u64,
        account.delivered_items,
        "in flight when it was dropped: counted as what became of it"
    );
    assert!(taken.is_superset(&long(199).into_iter().collect()), "the newest are kept");
}

#[tokio::test]
async fn a_backend_that_hangs_does_not_delay_the_stop_by_more_than_the_grace() {
    let lab = Lab::new();
    lab.append(&numbered("a", 1));
    let backend = Backend::new(|_| None);
    let drain = Running::start(&lab, &backend, quick());
    until("an attempt", || drain.status.snapshot().attempts == 1).await;
    let begun = std::time::Instant::now();
    let cursor = drain.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(cursor.pending().items, 1);
}

#[tokio::test]
async fn a_backend_that_is_away_does_not_delay_the_stop() {
    let lab = Lab::new();
    lab.append(&numbered("a", 1));
    let backend = Backend::new(|_| Some(Err(SendError::Retry { reason: "away".into(), after: None })));
    let slow = Settings { retry: RetrySettings::default(), ..Settings::default() };
    let drain = Running::start(&lab, &backend, slow);
    until("a failure", || drain.status.snapshot().failures == 1).await;
    let begun = std::time::Instant::now();
    let cursor = drain.stop().await;
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(cursor.pending().items, 1);
}

#[tokio::test]
async fn a_sink_that_panics_is_tried_again() {
    let lab = Lab::new();
    lab.append(&numbered("a", 1));
    let backend = Backend::new(|_| panic!("a defect"));
    let drain = Running::start(&lab, &backend, quick());
    until("two attempts", || drain.status.snapshot().failures >= 2).await;
    backend.answer.clear_poison();
    backend.answers(|_| Some(Ok(Sent::default())));
    until("delivered", || backend.records().len() == 1).await;
    drop(drain.stop().await);
}

#[tokio::test]
async fn what_cannot_be_parked_stays_in_the_log_and_others_pass() {
    let lab = Lab::new();
    lab.append(&numbered("bad", 1));
    lab.append(&numbered("good", 1));
    // A closed log still reads, but takes no dead letters.
    let cursor = lab.cursor();
    lab.spool.close().unwrap();
    let backend = Backend::new(|texts| {
        let is_bad = texts.contains(&"bad-0".to_owned());
        Some(if is_bad { Err(SendError::BadData { reason: "no".into() }) } else { Ok(Sent::default()) })
    });
    let drain = Running::with(cursor, &backend, quick());
    until("the good one", || backend.records() == ["good-0"]).await;
    until("the failure", || drain.status.snapshot().state == State::Failed).await;
    assert!(drain.status.snapshot().last_error.unwrap().contains("a dead letter cannot be written"));
    assert_eq!(drain.status.snapshot().parked_items, 0);
    let cursor = drain.stop().await;
    assert_eq!(cursor.pending().items, 1);
}

#[tokio::test]
async fn a_closed_log_leaves_the_drain_idle_until_it_is_stopped() {
    let lab = Lab::new();
    let backend = Backend::well();
    let drain = Running::start(&lab, &backend, quick());
    lab.append(&numbered("a", 1));
    until("delivered", || backend.records().len() == 1).await;
    lab.spool.close().unwrap();
    drop(drain.stop().await);
}
