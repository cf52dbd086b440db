//! What the process is told from outside: stop, stop at once, reload.

use std::sync::Arc;
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::output::{Failure, say};

/// What was asked for and is not done yet.
pub(super) struct Signals {
    stop: watch::Receiver<Option<Instant>>,
    reload: Arc<Notify>,
}

/// The next thing to do.
pub(super) enum Told {
    /// Stop, as was asked for at this moment.
    Stop(Instant),
    Reload,
}

impl Signals {
    /// Listens from now on, in a task of its own: whatever the agent is busy with, the second request to stop ends the
    /// process.
    pub(super) fn listen() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|e| Failure::new(format!("signals cannot be received: {e}")));
        let (terminate, interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let hangup = on(SignalKind::hangup())?;
        // Else a write beyond what the process may write to one file ends it. Handled, it fails and is told.
        drop(on(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let (told, stop) = watch::channel(None);
        let reload = Arc::new(Notify::new());
        tokio::spawn(listen(Handlers { terminate, interrupt, hangup }, told, Arc::clone(&reload)));
        Ok(Self { stop, reload })
    }

    /// Waits for what is to be done next. Stopping comes first; requests to reload that wait are one.
    pub(super) async fn next(&mut self) -> Told {
        let asked = self.stop.wait_for(Option::is_some);
        tokio::select! {
            biased;
            // The listening task ends only with the runtime.
            asked = asked => Told::Stop(asked.ok().and_then(|asked| *asked).unwrap_or_else(Instant::now)),
            () = self.reload.notified() => Told::Reload,
        }
    }

    /// Whether the process was asked to stop.
    pub(super) fn stop_asked(&self) -> bool {
        self.stop.borrow().is_some()
    }
}

struct Handlers {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

async fn listen(mut handlers: Handlers, stop: watch::Sender<Option<Instant>>, reload: Arc<Notify>) {
    loop {
        let Handlers { terminate, interrupt, hangup } = &mut handlers;
        tokio::select! {
            _ = terminate.recv() => stop_or_end(&stop),
            _ = interrupt.recv() => stop_or_end(&stop),
            _ = hangup.recv() => reload.notify_one(),
        }
    }
}

/// The second request ends the process. As safe as a kill: what was acknowledged is on disk.
#[allow(clippy::disallowed_methods, reason = "at once means without waiting for anything")]
fn stop_or_end(stop: &watch::Sender<Option<Instant>>) {
    if stop.borrow().is_none() {
        stop.send_replace(Some(Instant::now()));
        return;
    }
    say("stopped at once; what was in flight will be sent again");
    std::process::exit(1);
}
