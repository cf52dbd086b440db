//! The ways in that listen: bound before anything starts, stopped before the drains.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Stop;
use crate::config::{Config, Id, Receiver};
use crate::receivers::{Intake, otlp};

/// Binds the ports of every `otlp` receiver.
pub(super) fn bind(config: &Config) -> Result<BTreeMap<Id, otlp::Bound>, otlp::ListenError> {
    // One budget for all: what is in flight is bounded for the agent, not for a receiver.
    let (admission, mut bound) = (otlp::Admission::default(), BTreeMap::new());
    for (id, receiver) in &config.receivers {
        if let Receiver::Otlp(settings) = receiver {
            bound.insert(id.clone(), otlp::bind(&id.to_string(), settings)?.sharing(admission.clone()));
        }
    }
    Ok(bound)
}

/// The start-up lines.
pub(super) fn facts(bound: &BTreeMap<Id, otlp::Bound>) -> Vec<String> {
    bound.iter().map(|(id, bound)| format!("receiver {id}: {}", bound.endpoints())).collect()
}

/// The running receivers.
#[derive(Debug)]
pub(super) struct Receivers {
    stop: Stop,
    servers: JoinSet<()>,
}

impl Receivers {
    pub(super) fn start(bound: BTreeMap<Id, otlp::Bound>, intakes: &BTreeMap<Id, Intake>) -> Self {
        let (stop, mut servers) = (Stop::new(), JoinSet::new());
        for (id, bound) in bound {
            if let Some(intake) = intakes.get(&id) {
                let server = bound.serve(intake.clone(), stop.requested());
                servers.spawn(async move {
                    // On a task of its own, so that a panic is told when it happens.
                    match tokio::spawn(server).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::error!(receiver = %id, %error, "the receiver ended"),
                        Err(error) => tracing::error!(receiver = %id, %error, "the receiver ended badly"),
                    }
                });
            }
        }
        Self { stop, servers }
    }

    /// Stops accepting and waits for the requests in flight.
    pub(super) async fn stop(mut self, deadline: Instant) {
        self.stop.now();
        let finished = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(left(deadline), finished).await.is_err() {
            tracing::warn!("requests in flight were cut off; their senders were not acknowledged and will send again");
            self.servers.abort_all();
        }
    }
}

/// Until the deadline, but never nothing: what is already done must be seen as done.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(10))
}
