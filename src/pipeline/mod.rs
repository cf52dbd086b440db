//! Builds and runs the graph: receivers into logs, logs through cursors into exporters; reloads it; stops it.
//!
//! A stop goes with the flow. Receivers stop accepting and finish what they began; the kernel's rings are emptied;
//! drains stop where they are; then the logs are sealed by their owner. A backend that does not answer delays none
//! of it, because what it did not take is on disk.

mod drains;
mod losses;
mod observe;
mod receivers;
mod stop;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::config::{Config, Id, Pipeline};
use crate::listen::BindError;
use crate::receivers::Intake;
use crate::spool::{self, Log, Spool};

pub use receivers::{Probes, attach};

use drains::Drain;
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

/// The running graph.
#[derive(Debug)]
pub struct Agent {
    receivers: Receivers,
    drains: Vec<Drain>,
    observers: observe::Observers,
    stop_telling: Stop,
    teller: JoinHandle<()>,
    facts: Vec<String>,
}

impl Agent {
    /// Binds every port, opens every log and cursor, then starts everything; or starts nothing.
    ///
    /// # Errors
    /// The first thing that could not be had.
    pub async fn start(config: &Config, spool: &Spool, probes: Probes) -> Result<Self, StartError> {
        // Ports first: an agent that cannot listen must not have moved a cursor.
        let bound = receivers::bind(config)?;
        let listeners = observe::bind(config)?;
        let logs = open_logs(config, spool)?;
        let own = losses::open(spool, &config.spool.log)?;
        let intakes = intakes(config, &logs);
        let mut facts = receivers::facts(&bound, &probes);
        let drains = drains::start(config, &logs, &own)?;
        facts.extend(drains.iter().filter(|drain| drain.log != losses::LOG).map(Drain::fact));
        facts.extend(listeners.facts());
        let observed = observe::Observed::new(spool.clone(), &intakes, &drains);
        let observers = listeners.serve(&Arc::new(observed))?;
        let receivers = Receivers::start(bound, probes, &intakes)?;
        let stop_telling = Stop::new();
        let teller = tokio::spawn(losses::tell(spool.clone(), own, stop_telling.requested()));
        Ok(Self { receivers, drains, observers, stop_telling, teller, facts })
    }

    /// What was started, a line each.
    #[must_use]
    pub fn facts(&self) -> &[String] {
        &self.facts
    }

    /// Stops in the order of the flow, by `deadline` at the latest. The spool stays open.
    pub async fn stop(self, deadline: Instant) {
        self.receivers.stop(deadline).await;
        self.stop_telling.now();
        if let Err(error) = self.teller.await {
            tracing::error!(%error, "the teller of losses ended badly");
        }
        drains::stop(self.drains, deadline).await;
        self.observers.stop().await;
    }
}

fn open_logs(config: &Config, spool: &Spool) -> Result<BTreeMap<String, Log>, spool::Error> {
    let open =
        |pipeline: &Pipeline| Ok((pipeline.log.clone(), spool.log_with(&pipeline.log, pipeline.options.clone())?));
    config.pipelines.iter().map(open).collect()
}

/// One intake per receiver: the logs of the pipelines that name it.
fn intakes(config: &Config, logs: &BTreeMap<String, Log>) -> BTreeMap<Id, Intake> {
    let intake = |receiver: &Id| {
        let named = config.pipelines.iter().filter(|pipeline| pipeline.receivers.contains(receiver));
        Intake::new(named.filter_map(|p| Some((p.id.signal(), logs.get(&p.log)?.clone()))).collect())
    };
    config.receivers.keys().map(|id| (id.clone(), intake(id))).collect()
}
