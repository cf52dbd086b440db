//! The three signals that OTLP carries.

use std::fmt;

/// What kind of OTLP export request a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// `ExportLogsServiceRequest`.
    Logs,
    /// `ExportTraceServiceRequest`.
    Traces,
    /// `ExportMetricsServiceRequest`.
    Metrics,
}

impl Signal {
    /// Every signal, in the order of their tags.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    /// The content tag that frames of this signal carry in a log. Stored on disk: never renumber.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Logs => 1,
            Self::Traces => 2,
            Self::Metrics => 3,
        }
    }

    /// The signal of a content tag, if it is one of OTLP's.
    #[must_use]
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Logs),
            2 => Some(Self::Traces),
            3 => Some(Self::Metrics),
            _ => None,
        }
    }

    /// The name as the configuration spells it: `logs`, `traces`, `metrics`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
