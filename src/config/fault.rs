//! What is wrong with a configuration, and what is worth knowing about it.

use std::fmt;

use super::source::At;

/// A place in what was typed, for people: counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named, `--set`, or `built-in`.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One thing that is wrong. None of its texts holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where; none when it is about the whole.
    pub place: Option<Place>,
    /// Which value: `exporters.otlp.endpoint`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
    /// The line that was typed; none when it may hold a secret.
    pub snippet: Option<Snippet>,
}

/// The typed line that a fault is about, as it can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The line, secrets masked; of a long line the part around the fault.
    pub text: String,
    /// Where in `text` the fault begins, in characters from 1.
    pub column: usize,
    /// How many characters are meant; at least 1.
    pub width: usize,
}

/// Something that is not wrong, but that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where; none when it is about the whole.
    pub place: Option<Place>,
    /// Which value: `exporters.otlp.sending_queue`.
    pub path: String,
    /// What to know.
    pub message: String,
}

/// Why a value was not taken, before it is known where it stands.
#[derive(Debug)]
pub(super) struct Problem {
    /// Where exactly, when not at the value itself.
    pub(super) at: Option<At>,
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) suggestion: Option<String>,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into(), suggestion: None }
    }

    #[must_use]
    pub(super) fn at(mut self, at: At) -> Self {
        self.at = Some(at);
        self
    }

    #[must_use]
    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// Everything that is wrong, in the order of the files; and the notes. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What is worth knowing besides.
    pub notes: Vec<Note>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, self.place.as_ref(), &self.path, &self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, self.place.as_ref(), &self.path, &self.message)
    }
}

/// One line for each fault.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{fault}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, place: Option<&Place>, path: &str, message: &str) -> fmt::Result {
    if let Some(place) = place {
        write!(f, "{place}: ")?;
    }
    if path.is_empty() { f.write_str(message) } else { write!(f, "{path}: {message}") }
}
