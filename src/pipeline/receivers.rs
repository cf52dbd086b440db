//! The ways in: attached before the runtime, bound before anything starts, stopped before the drains.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Stop;
use crate::config::{Config, Id, Receiver};
use crate::listen::BindError;
use crate::receivers::kernel::{self, State};
use crate::receivers::{Intake, otlp};

/// The attached hooks of each `kernel` receiver.
#[derive(Debug, Default)]
pub struct Probes(BTreeMap<Id, kernel::Probes>);

/// Attaches the hooks of every `kernel` receiver. Call it on the main thread, before a runtime exists and before
/// rights are dropped. A hook that cannot be attached is reported, and the rest goes on.
#[must_use]
pub fn attach(config: &Config) -> Probes {
    let attach = |(id, receiver): (&Id, &Receiver)| match receiver {
        Receiver::Kernel(settings) => Some((id.clone(), kernel::attach(settings))),
        Receiver::Otlp(_) => None,
    };
    Probes(config.receivers.iter().filter_map(attach).collect())
}

/// Binds the ports of every `otlp` receiver.
pub(super) fn bind(config: &Config) -> Result<BTreeMap<Id, otlp::Bound>, BindError> {
    // One budget for all: what is in flight is bounded for the agent, not for a receiver.
    let (admission, mut bound) = (otlp::Admission::default(), BTreeMap::new());
    for (id, receiver) in &config.receivers {
        if let Receiver::Otlp(settings) = receiver {
            bound.insert(id.clone(), otlp::bind(&id.to_string(), settings)?.sharing(admission.clone()));
        }
    }
    Ok(bound)
}

/// The start-up lines of the receivers.
pub(super) fn facts(bound: &BTreeMap<Id, otlp::Bound>, probes: &Probes) -> Vec<String> {
    let mut facts: Vec<String> =
        bound.iter().map(|(id, bound)| format!("receiver {id}: {}", endpoints(bound))).collect();
    for (id, probes) in &probes.0 {
        let wanted: Vec<_> = probes.reports().iter().filter(|hook| hook.state != State::Disabled).collect();
        let attached = |hook: &&&kernel::HookReport| matches!(hook.state, State::Attached | State::Fallback);
        let count = wanted.iter().filter(attached).count();
        facts.push(format!("receiver {id}: {count} of {} hooks attached", wanted.len()));
        facts.extend(wanted.iter().filter(|hook| hook.state != State::Attached).map(|hook| format!("  {hook}")));
    }
    facts
}

fn endpoints(bound: &otlp::Bound) -> String {
    let grpc = bound.grpc_addr().map(|address| format!("grpc {address}"));
    let http = bound.http_addr().map(|address| format!("http {address}"));
    grpc.into_iter().chain(http).collect::<Vec<_>>().join(", ")
}

/// The running receivers.
#[derive(Debug)]
pub(super) struct Receivers {
    stop: Stop,
    servers: JoinSet<()>,
    kernels: Vec<kernel::Running>,
}

impl Receivers {
    pub(super) fn start(
        bound: BTreeMap<Id, otlp::Bound>,
        probes: Probes,
        intakes: &BTreeMap<Id, Intake>,
    ) -> io::Result<Self> {
        let (stop, mut servers) = (Stop::new(), JoinSet::new());
        for (id, bound) in bound {
            if let Some(intake) = intakes.get(&id) {
                let server = bound.serve(intake.clone(), stop.requested());
                servers.spawn(async move {
                    if let Err(error) = server.await {
                        tracing::error!(receiver = %id, %error, "the receiver ended");
                    }
                });
            }
        }
        let start = |(id, probes): (Id, kernel::Probes)| Some(probes.start(intakes.get(&id)?.clone()));
        let kernels = probes.0.into_iter().filter_map(start).collect::<io::Result<_>>()?;
        Ok(Self { stop, servers, kernels })
    }

    /// Stops accepting, waits for the requests in flight, empties the kernel's rings.
    pub(super) async fn stop(mut self, deadline: Instant) {
        self.stop.now();
        let finished = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(left(deadline), finished).await.is_err() {
            tracing::warn!("requests in flight were cut off; their senders were not acknowledged and will send again");
            self.servers.abort_all();
        }
        for kernel in self.kernels {
            // Joining the thread that empties the rings blocks.
            match tokio::task::spawn_blocking(move || kernel.stop()).await {
                Ok(stopped) if stopped.unstored_records == 0 => {}
                Ok(stopped) => tracing::error!(
                    records = stopped.unstored_records,
                    "the log did not take the last kernel events: lost"
                ),
                Err(error) => tracing::error!(%error, "the kernel receiver did not stop"),
            }
        }
    }
}

/// Until the deadline, but never nothing: what is already done must be seen as done.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(10))
}
