//! The exporter `file`: a local copy, one JSON object a line.

use std::path::PathBuf;
use std::time::Duration;

/// The checked configuration of the exporter `file`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file that is written; rotated ones stand beside it.
    pub path: PathBuf,
    /// How records are written. Default json.
    pub format: Format,
    /// When the file is rotated and what is kept.
    pub rotation: Rotation,
    /// Make the parent directory when it is missing.
    pub create_directory: bool,
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// OTLP JSON, one export request a line (OpenTelemetry protocol file exporter).
    #[default]
    Json,
}

/// `rotation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// A file above this size is rotated, in bytes. Default 100 MB.
    pub max_bytes: u64,
    /// Rotated files older than this are removed; zero: kept. Default zero.
    pub max_age: Duration,
    /// Rotated files above this number are removed, oldest first; 0: kept. Default 100.
    pub max_backups: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: 100_000_000, max_age: Duration::ZERO, max_backups: 100 }
    }
}
