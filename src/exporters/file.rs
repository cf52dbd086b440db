//! The exporter `file`: a local copy, one OTLP JSON export request a line.
//!
//! A request counts as delivered when `fdatasync` of the file returned. The file is only ever appended to; at a
//! size it is renamed to `name-<time>.ext` and a new one begun. Duplicates after a crash are possible, torn lines
//! are not: an unfinished last line is cut when the file is opened.

mod folder;
mod lines;
mod rotated;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::sink::{Request, SendError, Sent, Sink};
use crate::otlp::json;
use writer::Writer;

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
    /// A file above this size is rotated, in bytes; `u64::MAX`: never. Default 100 MB.
    pub max_bytes: u64,
    /// Rotated files older than this are removed; zero: kept. Default zero.
    pub max_age: Duration,
    /// Rotated files above this number are removed, oldest first; 0: kept. Default 100.
    pub max_backups: u32,
}

impl Rotation {
    /// No rotation: one file that grows.
    #[must_use]
    pub fn never() -> Self {
        Self { max_bytes: u64::MAX, ..Self::default() }
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: 100_000_000, max_age: Duration::ZERO, max_backups: 100 }
    }
}

/// Why the file cannot be written, as it was configured.
#[derive(Debug, thiserror::Error)]
#[error("exporter file: {}: {reason}", path.display())]
pub struct Error {
    path: PathBuf,
    reason: io::Error,
}

/// The file as a backend. Clones write the same file, in turn: one for each pipeline that names the exporter.
#[derive(Debug, Clone)]
pub struct FileSink {
    path: PathBuf,
    format: Format,
    writer: Arc<Mutex<Writer>>,
}

impl FileSink {
    /// Opens the file for appending, or makes it (0600, its directory 0700). Blocks on the disk.
    ///
    /// A disk that is full or failing is no error: it may mend, and until then requests are answered "retry".
    ///
    /// # Errors
    /// What waiting does not mend: the directory is missing and `create_directory` is off, no permission, a
    /// symbolic link or no regular file, a file with a last line that is not this exporter's, another process
    /// that writes it.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let Settings { path, format, rotation, create_directory } = settings;
        let opened = Writer::new(&path, rotation, create_directory).and_then(|mut writer| match writer.open() {
            Err(error) if may_mend(&error) => {
                tracing::warn!(path = %path.display(), %error, "exporter file: cannot write yet, will retry");
                Ok(writer)
            }
            opened => opened.map(|()| writer),
        });
        match opened {
            Ok(writer) => Ok(Self { path, format, writer: Arc::new(Mutex::new(writer)) }),
            Err(reason) => Err(Error { path, reason }),
        }
    }
}

impl Sink for FileSink {
    async fn send(&self, request: Request) -> Result<Sent, SendError> {
        let writer = Arc::clone(&self.writer);
        let format = self.format;
        // Formatting and the disk take their time; the runtime's threads have other work.
        let written = tokio::task::spawn_blocking(move || {
            let lines = format_lines(format, &request)?;
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.append(lines.as_bytes()).map_err(|error| retry(error.to_string()))
        });
        match written.await {
            Ok(Ok(())) => Ok(Sent::default()),
            Ok(Err(SendError::Retry { reason, after })) => {
                Err(SendError::Retry { reason: format!("{}: {reason}", self.path.display()), after })
            }
            Ok(Err(error)) => Err(error),
            Err(join) => Err(retry(format!("{}: the write was given up: {join}", self.path.display()))),
        }
    }
}

fn format_lines(format: Format, request: &Request) -> Result<String, SendError> {
    let mut lines = String::with_capacity(request.payload.len() * 3);
    match format {
        Format::Json => json::write_line(request.signal, &request.payload, &mut lines)
            .map_err(|error| SendError::BadData { reason: error.to_string() })?,
    }
    Ok(lines)
}

fn retry(reason: String) -> SendError {
    SendError::Retry { reason, after: None }
}

/// Whether the disk, not the configuration, is at fault. By errno, never by text.
fn may_mend(error: &io::Error) -> bool {
    let may_mend = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::FBIG,
        Errno::IO,
        Errno::ROFS,
        Errno::NFILE,
        Errno::MFILE,
        Errno::NOMEM,
        Errno::STALE,
    ];
    error.raw_os_error().is_some_and(|code| may_mend.iter().any(|errno| errno.raw_os_error() == code))
}
