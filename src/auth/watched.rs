//! Text that may stand in a file, and is read again when the file changes.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Source;
use crate::stamp::Stamp;

/// How often a file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The text of a [`Source`].
pub(super) enum Watched {
    Fixed(Arc<str>),
    File(PathBuf, Mutex<Option<Seen>>),
}

/// What a file held, how it looked then, and when it was last looked at.
pub(super) struct Seen {
    text: Arc<str>,
    stamp: Option<Stamp>,
    looked_at: Instant,
}

impl fmt::Debug for Watched {
    /// Leaves out the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("…"),
            Self::File(path, _) => path.fmt(f),
        }
    }
}

impl Watched {
    pub(super) fn new(source: Source) -> Self {
        match source {
            Source::Text(secret) => Self::Fixed(secret.0.into()),
            Source::File(path) => Self::File(path, Mutex::default()),
        }
    }

    /// The text as it is now. A file that cannot be read any more is told, and what it held goes on.
    ///
    /// # Errors
    /// When the file was never read.
    pub(super) fn text(&self) -> Result<Arc<str>, String> {
        let (path, mut seen) = match self {
            Self::Fixed(text) => return Ok(Arc::clone(text)),
            Self::File(path, seen) => (path, seen.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        if let Some(seen) = &mut *seen {
            if seen.looked_at.elapsed() < LOOK_EVERY {
                return Ok(Arc::clone(&seen.text));
            }
            seen.looked_at = Instant::now();
        }
        let stamp = Stamp::of(path);
        if let Some(seen) = &*seen
            && seen.stamp == stamp
        {
            return Ok(Arc::clone(&seen.text));
        }
        match (std::fs::read_to_string(path), &mut *seen) {
            (Ok(text), seen) => {
                let text: Arc<str> = text.into();
                *seen = Some(Seen { text: Arc::clone(&text), stamp, looked_at: Instant::now() });
                Ok(text)
            }
            // Tried again at the next look: what is wrong may be a right that is given in a moment.
            (Err(error), Some(seen)) => {
                tracing::error!(path = %path.display(), %error, "credentials cannot be read; the old ones go on");
                Ok(Arc::clone(&seen.text))
            }
            (Err(error), None) => Err(format!("credentials {}: {error}", path.display())),
        }
    }
}
