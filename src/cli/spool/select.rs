//! Which cursor is meant, and asking before data is skipped.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use jiff::Timestamp;

use crate::cli::output::{self, Failure};
use crate::config::SELF_LOG;
use crate::spool::{CursorInspection, Reader};

/// A cursor and the log that it reads.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) log: String,
    pub(super) cursor: CursorInspection,
}

/// The cursor of this name, in this log or in the only one that has it. An exporter's cursor over the log of losses
/// has the same name: it is meant only where that log is named.
pub(super) fn cursor(directory: &Path, log: Option<&str>, name: &str) -> Result<Selected, Failure> {
    let inspection =
        Reader::open(directory).and_then(|reader| reader.inspect()).map_err(|e| output::spool_failure(&e))?;
    let mut names = Vec::new();
    let mut found = Vec::new();
    for inspected in inspection.logs {
        let is_meant = log.map_or(inspected.name != SELF_LOG, |log| inspected.name == log);
        for cursor in inspected.cursors.into_iter().filter(|_| is_meant) {
            names.push(cursor.name.clone());
            if cursor.name == name {
                found.push(Selected { log: inspected.name.clone(), cursor });
            }
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(selected), true) => Ok(selected),
        (Some(_), false) => Err(Failure::usage(format!("several logs have a cursor {name}")).help("add --log NAME")),
        (None, _) if names.is_empty() => Err(Failure::new(format!("no cursor {name}; there are no cursors"))),
        (None, _) => {
            names.sort();
            names.dedup();
            Err(Failure::new(format!("no cursor {name}")).help(format!("the cursors are: {}", names.join(", "))))
        }
    }
}

/// Asks on a terminal; elsewhere `--yes` must have been given.
#[allow(clippy::print_stderr, reason = "a question to the person at the terminal")]
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(what).help("add --yes to do it all the same"));
    }
    output::tell(&format!("{what}. Go on? [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::new(format!("standard input: {error}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new("nothing was changed")),
    }
}

/// Nanoseconds since 1970 as a time in UTC.
pub(super) fn time(nanos: u64) -> String {
    let shown = Timestamp::from_nanosecond(i128::from(nanos)).map(|time| format!("{time:.9}"));
    shown.unwrap_or_else(|_| nanos.to_string())
}

/// `1 record`, `2 records`.
pub(super) fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}
