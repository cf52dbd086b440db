//! The receiver `kernel`: the one part of the graph that a reload does not stop, because the kernel does not wait.

use std::collections::BTreeMap;
use std::io;

use crate::config::{Config, Id, Receiver};
use crate::exporters::LOSS;
use crate::receivers::Intake;
use crate::receivers::kernel::{self, HookReport, State};

/// The receiver `kernel`, from the moment that its hooks are attached. There is one at most.
#[derive(Debug, Default)]
pub struct Kernel(Stage);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Absent,
    Attached(Box<kernel::Probes>),
    Running(kernel::Running),
}

impl Kernel {
    /// Attaches the hooks that the configuration wants. Call it on the main thread, before a runtime exists and before
    /// rights are dropped. A hook that cannot be attached is reported, and the rest goes on.
    #[must_use]
    pub fn attach(config: &Config) -> Self {
        Self(wanted(config).map_or(Stage::Absent, |(_, settings)| Stage::Attached(Box::new(kernel::attach(settings)))))
    }

    /// Runs as the configuration says from now on. What did not change goes on without a gap. Blocks while hooks are
    /// attached, for milliseconds.
    pub(super) fn turn_to(&mut self, config: &Config, intakes: &BTreeMap<Id, Intake>) -> io::Result<()> {
        let wanted = wanted(config).and_then(|(id, settings)| Some((settings, intakes.get(id)?)));
        let Some((settings, intake)) = wanted else {
            self.stop();
            return Ok(());
        };
        self.0 = match std::mem::take(&mut self.0) {
            Stage::Absent => Stage::Running(kernel::attach(settings).start(intake.clone())?),
            Stage::Attached(probes) => Stage::Running(probes.start(intake.clone())?),
            Stage::Running(mut running) => {
                running.reload(settings, intake.clone());
                Stage::Running(running)
            }
        };
        Ok(())
    }

    /// The start-up lines.
    pub(super) fn facts(&self, config: &Config) -> Vec<String> {
        let Some((id, _)) = wanted(config) else { return Vec::new() };
        let wanted: Vec<_> = self.reports().iter().filter(|hook| hook.state != State::Disabled).collect();
        let count = wanted.iter().filter(|hook| hook.state.works()).count();
        let mut facts = vec![format!("receiver {id}: {count} of {} hooks attached", wanted.len())];
        facts.extend(wanted.iter().filter(|hook| hook.state != State::Attached).map(|hook| format!("  {hook}")));
        facts
    }

    fn reports(&self) -> &[HookReport] {
        match &self.0 {
            Stage::Absent => &[],
            Stage::Attached(probes) => probes.reports(),
            Stage::Running(running) => running.reports(),
        }
    }

    /// Empties the rings and detaches the hooks. Blocks until the log has what was in the rings, for two seconds at most.
    pub(super) fn stop(&mut self) {
        if let Stage::Running(running) = std::mem::take(&mut self.0) {
            let records = running.stop().unstored_records;
            if records > 0 {
                tracing::error!(target: LOSS, records, "the log did not take the last kernel events: lost");
            }
        }
    }
}

fn wanted(config: &Config) -> Option<(&Id, &kernel::Settings)> {
    config.receivers.iter().find_map(|(id, receiver)| match receiver {
        Receiver::Kernel(settings) => Some((id, settings)),
        Receiver::Otlp(_) => None,
    })
}
