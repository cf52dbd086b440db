//! The thread that delivers, with a small runtime of its own: the application may have none, or may be in one.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use opentelemetry::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::exporters::otlp::Otlp;
use crate::exporters::{Status, drain};
use crate::spool::Cursor;

/// A running drain.
#[derive(Debug)]
pub(super) struct Delivery {
    status: Arc<Status>,
    stop: oneshot::Sender<()>,
    /// Closes when the thread has let go of the cursor.
    ended: Receiver<()>,
}

impl Delivery {
    /// Starts to deliver what the cursor reads.
    pub(super) fn start(cursor: Cursor, client: Otlp, settings: drain::Settings) -> io::Result<Self> {
        let status = Arc::new(Status::default());
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = sync_channel(1);
        let (ending, ended) = sync_channel(0);
        let shared = Arc::clone(&status);
        let deliver = move |runtime: &Runtime| {
            // A dropped sender stops it too.
            let stopped = async { stopped.await.unwrap_or(()) };
            drop(runtime.block_on(drain::run(cursor, Arc::new(client), settings, shared, stopped)));
        };
        std::thread::Builder::new().name("tidegate-sdk".into()).spawn(move || in_runtime(&started, ending, deliver))?;
        starting.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        Ok(Self { status, stop, ended })
    }

    pub(super) fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Stops, and waits until the cursor is closed; false when that takes longer than `limit`.
    pub(super) fn stop(self, limit: Duration) -> bool {
        // Nobody hears it when the thread has ended.
        self.stop.send(()).ok();
        matches!(self.ended.recv_timeout(limit), Err(std::sync::mpsc::RecvTimeoutError::Disconnected))
    }
}

fn in_runtime(started: &SyncSender<io::Result<()>>, ending: SyncSender<()>, deliver: impl FnOnce(&Runtime)) {
    // What the client logs must not come back to it as records to deliver.
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    // For the runtime's own threads as long as they live.
    let suppress = || std::mem::forget(Context::enter_telemetry_suppressed_scope());
    match Builder::new_current_thread().enable_all().thread_name("tidegate-sdk-io").on_thread_start(suppress).build() {
        Ok(runtime) => {
            started.send(Ok(())).ok();
            deliver(&runtime);
            drop(ending);
            // A name that is being looked up may take its time.
            runtime.shutdown_background();
        }
        Err(error) => {
            started.send(Err(error)).ok();
        }
    }
}
