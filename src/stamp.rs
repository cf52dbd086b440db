//! Files that are read again when they change: how a change shows without reading, and what was read last.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Which file it is, when it was last changed, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64, SystemTime, u64);

impl Stamp {
    /// The stamp of a file; none of one that cannot be seen.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self(found.ino(), found.modified().ok()?, found.len()))
    }
}

/// What was read from files, and is read again when one of them changed.
#[derive(Debug)]
pub(crate) struct Followed<T> {
    files: Vec<PathBuf>,
    interval: Duration,
    current: Mutex<Current<T>>,
}

#[derive(Debug)]
struct Current<T> {
    value: T,
    /// How the files looked when they were read.
    seen: Vec<Option<Stamp>>,
    looked_at: Instant,
    /// What was wrong at the last look, so that it is told once.
    told: Option<String>,
}

impl<T: Clone> Followed<T> {
    /// Reads the files, which are looked at every `interval` from now on, when somebody asks.
    pub(crate) fn read<E>(
        files: Vec<PathBuf>,
        interval: Duration,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Self, E> {
        // Looked at before they are read: a change in between is seen at the next look.
        let seen = look(&files);
        let current = Current { value: read()?, seen, looked_at: Instant::now(), told: None };
        Ok(Self { files, interval, current: Mutex::new(current) })
    }

    /// What they hold now. While files that changed cannot be used, which is told, what was read before goes on.
    pub(crate) fn current<E: Display>(&self, read: impl FnOnce() -> Result<T, E>) -> T {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= self.interval {
            current.looked_at = Instant::now();
            let seen = look(&self.files);
            if seen == current.seen {
                current.told = None;
            } else {
                current.take(&self.files, seen, read());
            }
        }
        current.value.clone()
    }
}

impl<T> Current<T> {
    fn take<E: Display>(&mut self, files: &[PathBuf], seen: Vec<Option<Stamp>>, read: Result<T, E>) {
        match read.map_err(|error| error.to_string()) {
            Ok(value) => {
                tracing::info!(?files, "certificates were read again");
                (self.value, self.seen, self.told) = (value, seen, None);
            }
            // Tried again at the next look: what is wrong may be a right that is given in a moment.
            Err(error) if self.told.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::error!(error, "new certificates cannot be used; the old ones go on");
                self.told = Some(error);
            }
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of the test's own")]
mod tests {
    use super::*;

    fn text(path: &Path) -> Result<String, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        if text.is_empty() { Err("empty".into()) } else { Ok(text) }
    }

    #[test]
    fn what_changed_is_read_once_and_what_cannot_be_used_is_tried_and_told_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let followed = Followed::read(vec![path.clone()], Duration::ZERO, || text(&path)).unwrap();
        let reads = std::cell::Cell::new(0);
        let current = || {
            followed.current(|| {
                reads.set(reads.get() + 1);
                text(&path)
            })
        };
        let told = || followed.current.lock().unwrap().told.clone();
        assert_eq!((current(), reads.get()), ("old".into(), 0), "nothing changed");

        std::fs::write(&path, "").unwrap();
        assert_eq!((current(), current(), reads.get(), told()), ("old".into(), "old".into(), 2, Some("empty".into())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((current(), reads.get()), ("old".into(), 3));
        assert!(told().unwrap().contains("No such file"));

        std::fs::write(&path, "newer").unwrap();
        assert_eq!((current(), current(), reads.get(), told()), ("newer".into(), "newer".into(), 4, None));
    }

    #[test]
    fn a_file_in_place_of_another_of_the_same_time_and_size_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("file"), directory.path().join("other"));
        std::fs::write(&path, "one").unwrap();
        std::fs::write(&other, "two").unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        let before = Stamp::of(&path);
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path), before);
    }

    #[test]
    fn files_are_not_looked_at_before_their_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let hour = Duration::from_secs(3600);
        let followed = Followed::read(vec![path.clone()], hour, || text(&path)).unwrap();
        std::fs::write(&path, "newer").unwrap();
        assert_eq!(followed.current(|| text(&path)), "old");
    }
}
