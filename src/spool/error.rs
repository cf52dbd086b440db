//! Why the log refused.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why the log refused. Opaque; its predicates say what can be done about it.
///
/// The message names the log or file, what was expected and what was found. Errors are cheap to clone: one failed
/// commit answers every append that waited for it.
///
/// ```
/// use tidegate::spool::{Options, Spool};
///
/// let dir = tempfile::tempdir()?;
/// let spool = Spool::open(dir.path(), Options::default())?;
/// let second = Spool::open(dir.path(), Options::default()).unwrap_err();
/// assert!(second.is_owned());
/// assert!(second.to_string().contains(&std::process::id().to_string()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Error(Arc<Kind>);

/// The cases behind [`Error`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error("log {log} is full: {limit}; it takes frames again when exporters deliver or space is freed")]
    Full { log: String, limit: String, retry_after: Duration },
    #[error(
        "log {log} is full: {bytes} bytes of its cap are taken and exporters still want them, or less than min_free is left; it takes frames again when exporters deliver or space is freed"
    )]
    Capped { log: String, bytes: u64, need: u64, retry_after: Duration },
    #[error("log {log} is busy: {waiting} bytes wait for the disk; try again in {} ms", .retry_after.as_millis())]
    Busy { log: String, waiting: u64, retry_after: Duration },
    #[error("log {log}: a sync failed ({cause}); what waited for it is kept in memory and rewritten to a new file")]
    Poisoned { log: String, cause: String, retry_after: Duration },
    #[error("{} is owned by {}; only one process writes a data directory: stop it or use another directory", .dir.display(), owner(*.pid))]
    Owned { dir: PathBuf, pid: Option<u32> },
    #[error("log {log}: a frame of {bytes} bytes is above max_frame, {max} bytes")]
    TooLarge { log: String, bytes: u64, max: u64 },
    #[error("log {log} is closed")]
    Closed { log: String },
    #[error("{what} not found")]
    NotFound { what: String },
    #[error("{what}")]
    Invalid { what: String },
    #[error("{}: {what}", .path.display())]
    Refused { path: PathBuf, what: String },
    #[error("{}: {what}; the file is left untouched", .path.display())]
    Newer { path: PathBuf, what: String },
    #[error("{}: belongs to another spool, log or segment; was it renamed or copied? It is left where it is", .path.display())]
    Foreign { path: PathBuf },
    #[error("{} at {offset}: {what}", .path.display())]
    Corrupt { path: PathBuf, offset: u64, what: String },
    #[error("cannot {op} {}: {source}", .path.display())]
    Io { op: &'static str, path: PathBuf, source: io::Error },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    pub(crate) fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        Kind::Io { op, path: path.to_owned(), source }.into()
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Kind::Invalid { what: what.into() }.into()
    }

    pub(crate) fn refused(path: &Path, what: impl Into<String>) -> Self {
        Kind::Refused { path: path.to_owned(), what: what.into() }.into()
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Kind::NotFound { what: what.into() }.into()
    }

    pub(crate) fn closed(log: &str) -> Self {
        Kind::Closed { log: log.to_owned() }.into()
    }

    /// The log or its file system has no room, is read-only or answers with errors. The log resumes by itself;
    /// nothing of the refused frame was written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(*self.0, Kind::Full { .. } | Kind::Capped { .. })
    }

    /// Full by a limit that was set, not by the disk's answer: how many bytes of room were missed.
    pub(crate) fn capped_need(&self) -> Option<u64> {
        match *self.0 {
            Kind::Capped { need, .. } => Some(need),
            _ => None,
        }
    }

    /// More bytes wait for the disk than the log keeps in memory. Try again after [`Error::retry_after`].
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(*self.0, Kind::Busy { .. })
    }

    /// A sync failed and the frames that it covered could not yet be rewritten to another file.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        matches!(*self.0, Kind::Poisoned { .. })
    }

    /// Another process owns the directory.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        matches!(*self.0, Kind::Owned { .. })
    }

    /// The frame is above `max_frame`; it will never fit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(*self.0, Kind::TooLarge { .. })
    }

    /// The spool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed { .. })
    }

    /// The directory, log or cursor does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &*self.0 {
            Kind::NotFound { .. } => true,
            Kind::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// A file does not hold what it must.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(*self.0, Kind::Corrupt { .. } | Kind::Foreign { .. })
    }

    /// A file of another spool, log or segment.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(*self.0, Kind::Foreign { .. })
    }

    /// A file was written by a newer program, or with a feature that this one lacks. It was left untouched.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(*self.0, Kind::Newer { .. })
    }

    /// When another try may help: set for full, busy and poisoned.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match &*self.0 {
            Kind::Full { retry_after, .. }
            | Kind::Capped { retry_after, .. }
            | Kind::Busy { retry_after, .. }
            | Kind::Poisoned { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// The errno of the failed file call, if it was one. Decisions are made on this, never on text.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.io_error().and_then(io::Error::raw_os_error)
    }

    /// What the file call answered, if one failed.
    pub(crate) fn io_error(&self) -> Option<&io::Error> {
        match &*self.0 {
            Kind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl std::convert::From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
