//! What the service manager is told, as `sd_notify(3)` has it: ready, reloading, stopping, alive. Without a
//! `NOTIFY_SOCKET` nobody is.

use sd_notify::NotifyState;

/// Telemetry is taken: after the start, and again after each reload, whatever became of it.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// With the time, without which `Type=notify-reload` does not know which reload is meant.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// What is in flight is finished; nothing new is taken.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says now and then that the runtime turns, where the service manager asks for that (`WatchdogSec=`).
pub(super) fn keep_watchdog_quiet() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        let mut pace = tokio::time::interval(patience / 2);
        loop {
            pace.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    });
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, ?state, "the service manager cannot be told");
    }
}
