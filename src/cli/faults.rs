//! Faults and notes of a configuration as a compiler shows them: place, line, caret, what to write instead.

use std::fmt::Write as _;

use super::output::{DIM, ERROR, Failure, HELP, WARNING};
use crate::config::{Fault, Faults, Note, Place};

/// The failure of a command that needs a configuration without faults.
pub(crate) fn faults_failure(faults: &Faults) -> Failure {
    let count = faults.faults.len();
    let message = format!("the configuration has {}", counted(count, "fault"));
    Failure::usage(message).details(faults_text(faults)).help("see them again with `tidegate validate`")
}

/// Every fault, styled, each followed by an empty line.
pub(crate) fn faults_text(faults: &Faults) -> String {
    let mut text = String::new();
    for fault in &faults.faults {
        // Writing to a String cannot fail.
        write_fault(&mut text, fault).unwrap_or_default();
    }
    text
}

/// Every note, styled, one a line.
pub(crate) fn notes_text(notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes {
        let place = note.place.as_ref().map(|place| format!(" {DIM}({}){DIM:#}", location(place)));
        let path = if note.path.is_empty() { String::new() } else { format!("{}: ", note.path) };
        // Writing to a String cannot fail.
        writeln!(text, "{WARNING}note:{WARNING:#} {path}{}{}", note.message, place.unwrap_or_default())
            .unwrap_or_default();
    }
    text
}

/// `1 fault`, `2 faults`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn write_fault(text: &mut String, fault: &Fault) -> std::fmt::Result {
    writeln!(text, "{ERROR}error:{ERROR:#} {}", fault.message)?;
    let number = fault.place.as_ref().map_or_else(String::new, |place| place.line.to_string());
    let margin = " ".repeat(number.len());
    if let Some(place) = &fault.place {
        writeln!(text, "{margin}{DIM}-->{DIM:#} {}", location(place))?;
    }
    if let Some(snippet) = &fault.snippet {
        let before = " ".repeat(snippet.column - 1);
        let carets = "^".repeat(snippet.width);
        writeln!(text, "{margin} {DIM}|{DIM:#}\n{number} {DIM}|{DIM:#} {}", snippet.text)?;
        writeln!(text, "{margin} {DIM}|{DIM:#} {before}{ERROR}{carets}{ERROR:#}")?;
    }
    if !fault.path.is_empty() {
        writeln!(text, "{margin} {DIM}={DIM:#} at {}", fault.path)?;
    }
    if let Some(suggestion) = &fault.suggestion {
        writeln!(text, "{margin} {DIM}={DIM:#} {HELP}help:{HELP:#} {suggestion}")?;
    }
    writeln!(text)
}

/// `file:line:column`, as editors open it.
fn location(place: &Place) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}
