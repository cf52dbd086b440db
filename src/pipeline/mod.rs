//! Builds and runs the graph: receivers into logs, logs through cursors into exporters; reloads it; stops it.
//!
//! A stop goes with the flow. Receivers stop accepting and finish what they began; the kernel's rings are emptied;
//! drains stop where they are; then the logs are sealed by their owner. A backend that does not answer delays none
//! of it, because what it did not take is on disk.
//!
//! A reload is a pause and a start. What is [`Kept`] over it: the kernel receiver, which goes on writing into its log,
//! the counts of receivers and exporters, the receivers' memory for requests in flight, and the passwords that they
//! checked.

mod budgets;
pub(crate) mod control;
mod drains;
mod kernel;
mod losses;
mod observe;
mod receivers;
mod stop;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::config::{Config, Id, Pipeline, SELF_LOG};
use crate::listen::{BindError, Ports};
use crate::receivers::Intake;
use crate::receivers::otlp;
use crate::spool::{self, Log, Spool};

pub use kernel::Kernel;

use budgets::Budgets;
use drains::{Drain, Statuses};
use receivers::Receivers;
use stop::Stop;

/// Why the graph could not be built. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A log or a cursor could not be opened.
    #[error(transparent)]
    Spool(#[from] spool::Error),
    /// A port could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A receiver cannot listen.
    #[error(transparent)]
    Listen(otlp::ListenError),
    /// The runtime did not take a socket, or a thread could not be had.
    #[error("the system refused a thread or a socket: {0}")]
    System(#[from] std::io::Error),
    /// An exporter cannot work as configured.
    #[error("exporter {exporter}: {reason}")]
    Exporter {
        /// Its id.
        exporter: String,
        /// Why.
        reason: String,
    },
}

impl From<otlp::ListenError> for StartError {
    fn from(error: otlp::ListenError) -> Self {
        match error {
            otlp::ListenError::Bind(error) => Self::Bind(error),
            other => Self::Listen(other),
        }
    }
}

/// What outlives a reload.
#[derive(Debug, Default)]
pub struct Kept {
    kernel: Kernel,
    intakes: BTreeMap<Id, Intake>,
    statuses: Statuses,
    budgets: Budgets,
    /// Of those who send.
    passwords: otlp::RememberedPasswords,
    ports: Ports,
}

impl Kept {
    /// What is there before the first start.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel, ..Self::default() }
    }

    /// Stops what no graph runs around any more.
    pub async fn stop(mut self) {
        if let Err(error) = tokio::task::spawn_blocking(move || self.kernel.stop()).await {
            tracing::error!(%error, "the kernel receiver did not stop");
        }
    }
}

/// The running graph.
#[derive(Debug)]
pub struct Agent {
    receivers: Receivers,
    drains: Vec<Drain>,
    observers: observe::Observers,
    control: control::Control,
    stop_telling: Stop,
    teller: JoinHandle<()>,
    facts: Vec<String>,
}

impl Agent {
    /// Binds every port, opens every log and cursor, then starts everything; or starts nothing, and leaves what is kept
    /// as it was. Needs a runtime of several threads: it blocks its own while hooks are attached.
    ///
    /// # Errors
    /// The first thing that could not be had.
    pub async fn start(config: &Config, spool: &Spool, kept: &mut Kept) -> Result<Self, StartError> {
        // Ports first: an agent that cannot listen must not have moved a cursor.
        let budgets = Budgets::of(&config.receivers, &kept.budgets);
        kept.ports.begin();
        let bound = receivers::bind(config, &budgets, &kept.passwords, &mut kept.ports)?;
        let listeners = observe::bind(config, &mut kept.ports)?;
        let logs = open_logs(config, spool)?;
        let own = losses::open(spool, &config.spool.log)?;
        let unopened = spool.open_retired()?;
        let intakes = intakes(config, &logs, &kept.intakes);
        let mut facts = receivers::facts(&bound);
        let drains = drains::start(config, &logs, &own, &kept.statuses)?;
        let mut others: Vec<String> = drains.iter().filter(|drain| drain.log != SELF_LOG).map(Drain::fact).collect();
        others.extend(listeners.facts());
        others.extend(unopened.into_iter().map(|(log, error)| format!("log {log} is in no pipeline: {error}")));
        others.extend(trouble::facts(spool));
        let observed = observe::Observed::new(spool.clone(), &intakes, &drains);
        let observers = listeners.serve(&Arc::new(observed))?;
        // Last of what can fail. On the calling thread: a thread's rights are its own.
        tokio::task::block_in_place(|| kept.kernel.turn_to(config, &intakes))?;
        facts.extend(kept.kernel.facts(config).into_iter().chain(others));
        let receivers = Receivers::start(bound, &intakes);
        kept.ports.settle();
        kept.budgets = budgets;
        kept.intakes = intakes;
        kept.statuses = drains.iter().map(Drain::status_by_cursor).collect();
        let control = control::Controlled::new(spool.clone(), &drains).serve();
        let stop_telling = Stop::new();
        let teller =
            tokio::spawn(losses::tell(losses::Losses::new(config, spool.clone(), own), stop_telling.requested()));
        Ok(Self { receivers, drains, observers, control, stop_telling, teller, facts })
    }

    /// What was started, a line each.
    #[must_use]
    pub fn facts(&self) -> &[String] {
        &self.facts
    }

    /// Stops all but what is kept, by `deadline` at the latest. Requests are taken until the rest has stopped; those in
    /// flight then go on beside what is started next. The spool stays open.
    pub async fn pause(self, deadline: Instant) {
        self.control.stop(deadline).await;
        stop_telling(self.stop_telling, self.teller).await;
        drains::stop(self.drains, deadline).await;
        self.observers.hand_over().await;
        self.receivers.hand_over(deadline).await;
    }

    /// Stops in the order of the flow, by `deadline` at the latest. The spool stays open.
    pub async fn stop(self, mut kept: Kept, deadline: Instant) {
        // Who comes now is refused at once.
        kept.ports = Ports::default();
        self.control.stop(deadline).await;
        self.receivers.stop(deadline).await;
        kept.stop().await;
        stop_telling(self.stop_telling, self.teller).await;
        drains::stop(self.drains, deadline).await;
        self.observers.stop().await;
    }
}

async fn stop_telling(stop: Stop, teller: JoinHandle<()>) {
    stop.now();
    if let Err(error) = teller.await {
        tracing::error!(%error, "the teller of losses ended badly");
    }
}

fn open_logs(config: &Config, spool: &Spool) -> Result<BTreeMap<String, Log>, spool::Error> {
    let open =
        |pipeline: &Pipeline| Ok((pipeline.log.clone(), spool.log_with(&pipeline.log, pipeline.options.clone())?));
    config.pipelines.iter().map(open).collect()
}

/// One intake per receiver: the logs of the pipelines that name it. Counts go on from `before`.
fn intakes(config: &Config, logs: &BTreeMap<String, Log>, before: &BTreeMap<Id, Intake>) -> BTreeMap<Id, Intake> {
    let intake = |receiver: &Id| {
        let named = config.pipelines.iter().filter(|pipeline| pipeline.receivers.contains(receiver));
        let logs = named.filter_map(|p| Some((p.id.signal(), logs.get(&p.log)?.clone()))).collect();
        let waits = |log: &Log| config.pipelines.iter().any(|p| p.log == log.name() && config.waits_for_room(p));
        before.get(receiver).cloned().unwrap_or_default().with_logs(logs).waiting_at(waits)
    };
    config.receivers.keys().map(|id| (id.clone(), intake(id))).collect()
}
