//! Rotated files: `name-<time>.ext`, in names that sort by age.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// UTC, to the millisecond, without colons: safe in every file name.
const FORMAT: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// The names of one file and of those it was rotated to.
#[derive(Debug)]
pub(super) struct Names {
    stem: String,
    /// With its dot; empty when there is none.
    extension: String,
}

impl Names {
    /// None when the path names no file, or one that is not UTF-8.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let stem = path.file_stem()?.to_str()?.to_owned();
        let extension = match path.extension() {
            Some(extension) => format!(".{}", extension.to_str()?),
            None => String::new(),
        };
        Some(Self { stem, extension })
    }

    /// The file itself.
    pub(super) fn active(&self) -> String {
        format!("{}{}", self.stem, self.extension)
    }

    /// The rotated files among all names of the folder, oldest first. Other files are none of ours.
    pub(super) fn rotated(&self, names: &[String]) -> Vec<(Timestamp, String)> {
        let mut rotated: Vec<_> = names.iter().filter_map(|name| Some((self.time_of(name)?, name.clone()))).collect();
        rotated.sort();
        rotated
    }

    /// The next name: after all that are there, even when the clock went back.
    pub(super) fn next(&self, names: &[String], now: Timestamp) -> String {
        let newest = self.rotated(names).last().map(|(time, _)| *time + Duration::from_millis(1));
        self.name_at(newest.map_or(now, |newest| newest.max(now)))
    }

    /// The rotated files that are too many (0: never) or too old (zero: never).
    pub(super) fn surplus(&self, names: &[String], max_backups: u32, max_age: Duration, now: Timestamp) -> Vec<String> {
        let rotated = self.rotated(names);
        let too_many = if max_backups == 0 { 0 } else { rotated.len().saturating_sub(max_backups as usize) };
        let too_old = |time: Timestamp| !max_age.is_zero() && now.duration_since(time).unsigned_abs() > max_age;
        let surplus = |(n, (time, _)): &(usize, (Timestamp, String))| *n < too_many || (*time < now && too_old(*time));
        rotated.into_iter().enumerate().filter(surplus).map(|(_, (_, name))| name).collect()
    }

    fn name_at(&self, time: Timestamp) -> String {
        format!("{}-{}{}", self.stem, time.strftime(FORMAT), self.extension)
    }

    fn time_of(&self, name: &str) -> Option<Timestamp> {
        let time = name.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(&self.extension)?;
        let time = DateTime::strptime(FORMAT, time).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        // Only what we would have named so.
        (self.name_at(time) == name).then_some(time)
    }
}
