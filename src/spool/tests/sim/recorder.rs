//! Looks at every operation of the disk: takes the answers that came before it, learns what a sync covered, and keeps
//! the tree and the model of that moment.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::disk::{Call, Observer};
use super::model::{End, Model};
use super::tree::Tree;
use crate::spool::env::lock;
use crate::spool::{Ack, Appended, Error};

/// A moment after an operation.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) after: (Call, PathBuf, bool),
    pub(crate) tree: Tree,
    pub(crate) model: Arc<Model>,
}

#[derive(Debug)]
pub(crate) struct Recorder(Mutex<Recording>);

#[derive(Debug)]
struct Recording {
    model: Arc<Model>,
    /// Log, number and answer to come.
    waiting: Vec<(usize, u64, Ack)>,
    moments: Option<Vec<Moment>>,
    operations: u64,
}

/// Directories of the logs, as the recorder finds them in paths.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

impl Recorder {
    pub(crate) fn new(model: Arc<Model>, keeps_moments: bool) -> Self {
        let moments = keeps_moments.then(Vec::new);
        Self(Mutex::new(Recording { model, waiting: Vec::new(), moments, operations: 0 }))
    }

    pub(crate) fn model(&self) -> Arc<Model> {
        let mut recording = lock(&self.0);
        recording.poll();
        recording.model.clone()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        let mut recording = lock(&self.0);
        recording.poll();
        change(Arc::make_mut(&mut recording.model))
    }

    pub(crate) fn wait_for(&self, log: usize, id: u64, ack: Ack) {
        lock(&self.0).waiting.push((log, id, ack));
    }

    /// The process ended: nobody waits any more.
    pub(crate) fn ended(&self, end: End) {
        let mut recording = lock(&self.0);
        recording.poll();
        recording.waiting.clear();
        Arc::make_mut(&mut recording.model).logs.iter_mut().for_each(|log| log.ended(end));
    }

    pub(crate) fn take_moments(&self) -> Vec<Moment> {
        lock(&self.0).moments.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn operations(&self) -> u64 {
        lock(&self.0).operations
    }
}

impl Recording {
    fn poll(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for (log, id, mut ack) in std::mem::take(&mut self.waiting) {
            match poll(&mut ack) {
                None => self.waiting.push((log, id, ack)),
                Some(Ok(appended)) => Arc::make_mut(&mut self.model).logs[log].answered(id, appended.sequence),
                Some(Err(error)) => assert_is_refusal(&error),
            }
        }
    }
}

/// The answer, if it is there.
pub(crate) fn poll(ack: &mut Ack) -> Option<Result<Appended, Error>> {
    match pin!(ack).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Whatever the disk does, an append is refused in one of these ways.
pub(crate) fn assert_is_refusal(error: &Error) {
    let waits = error.is_full() || error.is_busy() || error.is_poisoned();
    assert!(waits && error.retry_after().is_some() || error.is_closed(), "an append was refused with: {error}");
}

impl Observer for Recorder {
    fn before(&self) {
        lock(&self.0).poll();
    }

    fn after(&self, call: Call, path: &Path, worked: bool, tree: &Tree) {
        let mut recording = lock(&self.0);
        recording.operations += 1;
        let segment = matches!(call, Call::Sync | Call::Write)
            && path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("seg-"));
        let log =
            path.parent().and_then(|dir| NAMES.iter().position(|name| dir.ends_with(Path::new("logs").join(name))));
        if let (true, Some(log)) = (segment, log) {
            let model = &recording.model.logs[log];
            let unsynced = model.synced.len() < model.acked.len();
            if worked && call == Call::Sync && unsynced {
                Arc::make_mut(&mut recording.model).logs[log].segment_synced();
            } else if !worked && unsynced {
                Arc::make_mut(&mut recording.model).logs[log].segment_failed();
            }
        }
        let model = recording.model.clone();
        if let Some(moments) = &mut recording.moments {
            moments.push(Moment { after: (call, path.to_owned(), worked), tree: tree.clone(), model });
        }
    }
}
