//! The events: the one place that defines their names, severities and hooks.

use crate::receivers::kernel::probes::hooks::Hook;

/// The catalogue's version: that of the scopes `tidegate.kernel` and `tidegate.agent`. Attributes are added, never
/// renamed; an addition raises the minor number.
pub(crate) const VERSION: &str = "1.0.0";

/// The semantic conventions' version that the attributes follow.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// An event that this receiver can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `kernel.oom.kill`
    OomKill,
    /// `kernel.process.crash`
    ProcessCrash,
    /// `kernel.net.tcp_retransmit`
    TcpRetransmit,
    /// `kernel.net.packet_drop`
    PacketDrop,
    /// `kernel.task.hung`
    TaskHung,
    /// `collector.probe_state`
    ProbeState,
    /// `collector.loss`
    Loss,
}

impl Kind {
    /// The events that come from the kernel, in the order of reports.
    pub(crate) const KERNEL: [Self; 5] =
        [Self::OomKill, Self::ProcessCrash, Self::TcpRetransmit, Self::PacketDrop, Self::TaskHung];

    /// The EventName.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OomKill => "kernel.oom.kill",
            Self::ProcessCrash => "kernel.process.crash",
            Self::TcpRetransmit => "kernel.net.tcp_retransmit",
            Self::PacketDrop => "kernel.net.packet_drop",
            Self::TaskHung => "kernel.task.hung",
            Self::ProbeState => "collector.probe_state",
            Self::Loss => "collector.loss",
        }
    }

    /// The severity of a record of this event, unless the record says better.
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::OomKill | Self::ProcessCrash | Self::TaskHung | Self::Loss => Severity::Error,
            Self::PacketDrop | Self::ProbeState => Severity::Warn,
            Self::TcpRetransmit => Severity::Info,
        }
    }

    /// The scope that its records are written under.
    pub(crate) fn scope(self) -> &'static str {
        match self {
            Self::ProbeState | Self::Loss => "tidegate.agent",
            _ => "tidegate.kernel",
        }
    }

    /// The hook without which there is no such event.
    pub(crate) fn hook(self) -> Option<Hook> {
        match self {
            Self::OomKill => Some(Hook::MarkVictim),
            Self::ProcessCrash => Some(Hook::SignalDeliver),
            Self::TcpRetransmit => Some(Hook::TcpRetransmit),
            Self::PacketDrop => Some(Hook::KfreeSkb),
            Self::TaskHung => Some(Hook::ProcessHang),
            Self::ProbeState | Self::Loss => None,
        }
    }

    /// The event that a hook's records become; None for a hook that only helps.
    pub(crate) fn of_hook(hook: Hook) -> Option<Self> {
        match hook {
            Hook::TcpSynack => Some(Self::TcpRetransmit),
            _ => Self::KERNEL.into_iter().find(|kind| kind.hook() == Some(hook)),
        }
    }

    /// Hooks that add to this event, and what it lacks without each.
    pub(crate) fn helpers(self) -> &'static [(Hook, &'static str)] {
        match self {
            Self::OomKill => &[(Hook::Console, "without the constraint and the cgroup whose limit was hit")],
            Self::TcpRetransmit => &[(Hook::TcpSynack, "without SYN-ACKs")],
            Self::TaskHung => &[(Hook::IterTask, "without other blocked tasks")],
            _ => &[],
        }
    }
}

/// Severity numbers of the log data model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// 9
    Info = 9,
    /// 13
    Warn = 13,
    /// 17
    Error = 17,
}
