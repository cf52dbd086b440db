//! `collector.*`: what the agent tells of itself.

use super::catalogue::{Kind, Severity};
use super::clock::{self, WallOffset};
use super::event::{Attributes, Event};
use super::uid::{Identity, uid};
use crate::receivers::kernel::probes::report::{HookReport, State};

/// Makes the events that the agent tells of itself.
#[derive(Debug)]
pub(crate) struct Reporter {
    boot_id: String,
    sequence: u64,
}

impl Reporter {
    pub(crate) fn new(boot_id: &str) -> Self {
        Self { boot_id: boot_id.to_owned(), sequence: 0 }
    }

    /// An event that happens now.
    pub(crate) fn begin(&mut self, kind: Kind) -> Event {
        let boot_nanos = clock::boot_nanos();
        let unix_nanos = WallOffset::measure().unix_nanos(boot_nanos);
        self.sequence += 1;
        let identity = Identity {
            boot_id: &self.boot_id,
            event: kind.name(),
            // Two agents on one machine must not meet.
            hook: "agent",
            cpu: std::process::id(),
            boot_nanos,
            sequence: self.sequence,
        };
        let mut attributes = Attributes::default();
        attributes.text("log.record.uid", uid(unix_nanos, &identity));
        Event { kind, severity: kind.severity(), unix_nanos, body: String::new(), attributes }
    }

    /// `collector.probe_state`.
    pub(crate) fn probe_state(&mut self, report: &HookReport, previous: Option<State>) -> Event {
        let mut event = self.begin(Kind::ProbeState);
        if report.state == State::Attached {
            event.severity = Severity::Info;
        }
        event.body = match report.event {
            Some(_) => format!("{} for {report}", report.hook),
            None => report.to_string(),
        };
        let attributes = &mut event.attributes;
        attributes.text("kernel.event.name", report.event.map(str::to_owned));
        attributes.text("kernel.hook.name", report.hook.to_owned());
        attributes.text("collector.probe.state", report.state.name().to_owned());
        attributes.text("collector.probe.previous_state", previous.map(|state| state.name().to_owned()));
        attributes.text("collector.probe.fallback", report.fallback.clone());
        attributes.text("error.type", report.error_type.clone());
        attributes.some_int("collector.probe.errno", report.errno);
        attributes.text("collector.probe.fix", report.fix.clone());
        event
    }
}
