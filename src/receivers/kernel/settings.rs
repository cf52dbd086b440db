//! The checked configuration of the receiver `kernel`.

/// What the receiver collects and how it writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Also write the event's name as the attribute `event.name`, for gateways that drop EventName.
    pub event_name_attribute: bool,
    /// Write `process.command_line`, after redaction.
    pub command_line: bool,
    /// Write `kernel.signal.fault_address` for crashes.
    pub fault_address: bool,
    /// Write the crashing thread's stack as `code.stacktrace`.
    pub crash_stacks: bool,
    /// The rings between the kernel and the agent.
    pub rings: RingSettings,
    /// `kernel.oom.kill`.
    pub oom_kill: EventSettings,
    /// `kernel.process.crash`.
    pub process_crash: EventSettings,
    /// `kernel.net.tcp_retransmit`.
    pub tcp_retransmit: EventSettings,
    /// `kernel.net.packet_drop`.
    pub packet_drop: PacketDropSettings,
    /// `kernel.task.hung`.
    pub task_hung: HungTaskSettings,
}

/// What every event can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// Whether its hooks are attached.
    pub enabled: bool,
    /// Records a second, at most; 0 means no limit. What is above is counted as suppressed.
    pub max_per_second: u32,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self { enabled: true, max_per_second: 100 }
    }
}

/// `kernel.net.packet_drop`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PacketDropSettings {
    /// The common part.
    pub event: EventSettings,
    /// Drop reasons, by the kernel's name without its prefix, that are counted but not recorded, beside the
    /// built-in benign ones.
    pub ignore_reasons: Vec<String>,
    /// Record the kernel stack as `code.stacktrace`.
    pub stacks: bool,
}

/// `kernel.task.hung`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HungTaskSettings {
    /// The common part.
    pub event: EventSettings,
    /// Record the blocked task's kernel stack.
    pub stacks: bool,
    /// At most this many stacks of other blocked tasks.
    pub max_stacks: u32,
}

impl Default for HungTaskSettings {
    fn default() -> Self {
        Self { event: EventSettings::default(), stacks: true, max_stacks: 20 }
    }
}

/// Room for records that the agent has not read yet, in bytes: powers of two, at least a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingSettings {
    /// Out-of-memory kills, crashes, hung tasks.
    pub urgent: u32,
    /// Drops and retransmits.
    pub bulk: u32,
    /// Births and deaths of cgroups.
    pub cgroups: u32,
}

impl Default for RingSettings {
    fn default() -> Self {
        Self { urgent: 512 << 10, bulk: 256 << 10, cgroups: 128 << 10 }
    }
}
