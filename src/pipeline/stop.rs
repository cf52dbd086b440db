//! Telling the parts of the graph to stop, in the order in which data flows.

use std::future::Future;

use tokio::sync::watch;

/// Says once, to any number of parts, that it is time to stop.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn now(&self) {
        self.0.send_replace(true);
    }

    /// Completes when [`Stop::now`] was called.
    pub(super) fn requested(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.subscribe();
        async move {
            // An error means that the sender is gone, and with it the graph: stop as well.
            receiver.wait_for(|stop| *stop).await.map_or_else(|_| (), |_| ());
        }
    }
}
