//! The exporter `debug`: one readable line per record on standard output.

/// The checked configuration of the exporter `debug`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// How much is printed.
    pub verbosity: Verbosity,
}

/// How much `debug` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// One line per request: how many items.
    Basic,
    /// One readable line per record.
    #[default]
    Normal,
    /// Every field of every record.
    Detailed,
}
