//! `--from` and `--to`: a place in a log.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::spool::From;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Oldest,
    Newest,
    Sequence(u64),
    /// When a record was written to its log, nanoseconds since 1970.
    Time(u64),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "oldest" => return Ok(Self::Oldest),
            "newest" => return Ok(Self::Newest),
            _ => {}
        }
        if let Ok(sequence) = text.parse() {
            return Ok(Self::Sequence(sequence));
        }
        let time = time(text).ok_or_else(|| {
            "not `oldest`, `newest`, a sequence, a time such as 2026-05-07T00:11:49Z, or a time ago such as 15m"
                .to_owned()
        })?;
        u64::try_from(time.as_nanosecond()).map(Self::Time).map_err(|_| "a time before 1970".to_owned())
    }
}

/// A time with its zone; without one it is UTC, as everything that is shown; or a time ago.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let ago = text.parse::<SignedDuration>().ok()?;
    Timestamp::now().checked_sub(ago.abs()).ok()
}

impl std::convert::From<Origin> for From {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Oldest => Self::Oldest,
            Origin::Newest => Self::End,
            Origin::Sequence(sequence) => Self::Sequence(sequence),
            Origin::Time(nanos) => Self::TimeUnixNanos(nanos),
        }
    }
}
