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
/// let _first = Spool::open(dir.path(), Options::default())?;
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

    /// The log or its file system has no room, is read-only or answers with errors. The log resumes by itself. Readers
    /// do not see the refused frame; where the disk broke off its write, it may be found whole after a crash, and is
    /// stored then.
    ///
    /// ```
    /// use tidegate::spool::{LogOptions, Need, Start};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    ///
    /// let options = LogOptions { max_size: Some(1 << 20), ..LogOptions::default() };
    /// let log = spool.log_with("events", options)?;
    /// let _cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// // The cursor wants everything, and the log may hold 1 MiB.
    /// let mut answers = (0..32).map(|_| log.append_wait(1, vec![0; 64 << 10].into(), 1));
    /// let error = answers.find_map(Result::err).expect("full");
    /// assert!(error.is_full() && error.retry_after().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// let large = bytes::Bytes::from(vec![0; 9 << 20]);
    /// // Two of them are more than the 16 MiB that may wait. Sooner or later the disk is slower than this loop.
    /// let error = loop {
    ///     if let Err(error) = log.append(1, large.clone(), 1) {
    ///         break error;
    ///     }
    /// };
    /// assert!(error.is_busy());
    /// assert_eq!(error.retry_after(), Some(std::time::Duration::from_millis(100)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(*self.0, Kind::Busy { .. })
    }

    /// A sync failed and the frames that it covered could not yet be rewritten to another file, as on a disk that is
    /// dying. The log keeps them in memory and tries again by itself, also when nobody appends; meanwhile appends are
    /// refused with this error. The frame of an [`Ack`](super::Ack) that answers it may still be stored.
    ///
    /// ```
    /// use tidegate::spool::{Error, LogOptions};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    ///
    /// fn advice(error: &Error) -> &'static str {
    ///     match error {
    ///         e if e.is_poisoned() => "it may be stored: sent again, it may come twice",
    ///         e if e.is_full() || e.is_busy() => "it was not taken: send it again later",
    ///         e if e.is_too_large() => "never send it again",
    ///         _ => "the log is closed",
    ///     }
    /// }
    /// # let options = LogOptions { max_frame: 8, ..LogOptions::default() };
    /// let log = spool.log_with("small frames", options)?;
    /// let error = log.append(1, "nine byte".into(), 1).expect_err("one byte too many");
    /// assert!(!error.is_poisoned());
    /// assert_eq!(advice(&error), "never send it again");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        matches!(*self.0, Kind::Poisoned { .. })
    }

    /// Another process owns the directory.
    ///
    /// ```
    /// use tidegate::spool::{Options, Spool};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let first = Spool::open(dir.path(), Options::default())?;
    /// let error = Spool::open(dir.path(), Options::default()).expect_err("one owner at a time");
    /// assert!(error.is_owned());
    ///
    /// first.close()?;
    /// assert!(Spool::open(dir.path(), Options::default()).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_owned(&self) -> bool {
        matches!(*self.0, Kind::Owned { .. })
    }

    /// The frame is above `max_frame`; it will never fit.
    ///
    /// ```
    /// use tidegate::spool::LogOptions;
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    ///
    /// let options = LogOptions { max_frame: 8, ..LogOptions::default() };
    /// let log = spool.log_with("small frames", options)?;
    /// assert!(log.append(1, "8 bytes.".into(), 1).is_ok());
    /// let error = log.append(1, "nine byte".into(), 1).expect_err("one byte too many");
    /// assert!(error.is_too_large() && error.retry_after().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(*self.0, Kind::TooLarge { .. })
    }

    /// The spool was closed.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// spool.close()?;
    /// let error = log.append(1, "too late".into(), 1).expect_err("nothing is taken any more");
    /// assert!(error.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed { .. })
    }

    /// The directory, log or cursor does not exist.
    ///
    /// ```
    /// use tidegate::spool::Reader;
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// # let empty = tempfile::tempdir()?;
    /// assert!(Reader::open(empty.path()).is_err_and(|error| error.is_not_found()));
    /// assert!(spool.existing_log("nothing").is_err_and(|error| error.is_not_found()));
    /// assert!(log.pause("nobody").is_err_and(|error| error.is_not_found()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &*self.0 {
            Kind::NotFound { .. } => true,
            Kind::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// A file does not hold what it must.
    ///
    /// ```
    /// use tidegate::spool::Editor;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # log.cursor("backend", Start::Oldest, Need::Required)?;
    /// # log.append_wait(1, "one frame".into(), 1)?;
    /// # spool.close()?;
    ///
    /// // Both copies of what the cursor knows, in one file of 128 KiB.
    /// let file = dir.path().join("logs/events/cursors/backend");
    /// std::fs::write(file, vec![0; 128 << 10])?;
    /// let error = Editor::open(dir.path())?.pause("events", "backend").expect_err("no copy is whole");
    /// assert!(error.is_corrupt());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(*self.0, Kind::Corrupt { .. } | Kind::Foreign { .. })
    }

    /// A file of another spool, log or segment.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(*self.0, Kind::Foreign { .. })
    }

    /// A file was written by a newer program, or with a feature that this one lacks. It was left untouched.
    ///
    /// ```
    /// use tidegate::spool::Reader;
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    ///
    /// spool.close()?;
    /// // As a later version of the format would write it, with a checksum that matches.
    /// let path = dir.path().join("spool.id");
    /// let mut file = std::fs::read(&path)?;
    /// file[8] = 2;
    /// let checksum = crc32c::crc32c(&file[..60]);
    /// file[60..].copy_from_slice(&checksum.to_le_bytes());
    /// std::fs::write(&path, file)?;
    ///
    /// assert!(Reader::open(dir.path()).is_err_and(|error| error.is_newer()));
    /// assert!(Spool::open(dir.path(), Options::default()).is_err_and(|error| error.is_newer()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(*self.0, Kind::Newer { .. })
    }

    /// When another try may help: set for full, busy and poisoned.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate::spool::{CursorOptions, Limit, Need, Start};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// let limit = Some(Limit::Items(1));
    /// let options = CursorOptions { max_pending: limit, ..CursorOptions::new(Start::Oldest, Need::Required) };
    /// let _cursor = log.cursor_with("backend", options)?;
    /// log.append_wait(1, "first".into(), 1)?;
    /// let full = log.append(1, "second".into(), 1).expect_err("one item is pending");
    /// assert_eq!(full.retry_after(), Some(Duration::from_secs(1)));
    ///
    /// spool.close()?;
    /// let closed = log.append(1, "third".into(), 1).expect_err("closed");
    /// assert_eq!(closed.retry_after(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// ```
    /// use tidegate::spool::{Options, Spool};
    ///
    /// let file = tempfile::NamedTempFile::new()?;
    /// let error = Spool::open(file.path(), Options::default()).expect_err("a file is no directory");
    /// assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
