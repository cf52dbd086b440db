//! Where text came from: named sources, places in them, and the lines to show, secrets masked.

use super::fault::{Place, Snippet};
use super::node::{Node, Value};
use crate::url::without_secrets;

/// Keys whose values are secrets, in lower case; a key that contains one of them counts.
const SECRET_KEYS: [&str; 7] = ["header", "auth", "passw", "secret", "token", "api_key", "credential"];
/// Longer lines are shown in part.
const SNIPPET_CHARS_MAX: usize = 160;
const MASK: &str = "***";

/// A stretch of a source. Lines and columns count from 1, columns in characters; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    source: usize,
    start: (usize, usize),
    end: (usize, usize),
}

impl At {
    /// A stretch from one (line, column) to another.
    pub(super) fn new(source: usize, start: (usize, usize), end: (usize, usize)) -> Self {
        Self { source, start, end: end.max(start) }
    }

    /// Nothing was typed here: a key without a value, for instance.
    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The line on which it starts.
    pub(super) fn line(self) -> usize {
        self.start.0
    }

    /// The same place `columns` further to the right, on a first line.
    pub(super) fn shifted(self, columns: usize) -> Self {
        let shift = |(line, column): (usize, usize)| (line, if line == 1 { column + columns } else { column });
        Self { start: shift(self.start), end: shift(self.end), ..self }
    }
}

/// Every text that was typed.
#[derive(Debug, Default)]
pub(super) struct SourceMap {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    name: String,
    text: String,
    secrets: Vec<At>,
}

impl SourceMap {
    /// Adds a source; the number is what [`At::new`] takes.
    pub(super) fn add(&mut self, name: &str, text: &str) -> usize {
        self.sources.push(Source { name: name.to_owned(), text: text.to_owned(), secrets: Vec::new() });
        self.sources.len() - 1
    }

    /// Remembers where secrets stand, so that no snippet shows them.
    pub(super) fn mark_secrets(&mut self, node: &Node, inside_secret: bool) {
        match &node.value {
            Value::Null => {}
            Value::Scalar(scalar) => {
                let has_secret = without_secrets(&scalar.text) != scalar.text;
                if inside_secret || has_secret {
                    self.sources[node.at.source].secrets.push(node.at);
                }
            }
            Value::List(items) => items.iter().for_each(|item| self.mark_secrets(item, inside_secret)),
            Value::Map(entries) => {
                for entry in entries {
                    self.mark_secrets(&entry.value, inside_secret || is_secret_key(&entry.key));
                }
            }
        }
    }

    /// The place for people.
    pub(super) fn place(&self, at: At) -> Place {
        let file = self.sources.get(at.source).map_or_else(String::new, |s| s.name.clone());
        Place { file, line: at.start.0, column: at.start.1 }
    }

    /// The line of `at`, with what is secret in it masked.
    pub(super) fn snippet(&self, at: At) -> Option<Snippet> {
        let source = self.sources.get(at.source)?;
        let line = source.text.lines().nth(at.start.0 - 1)?;
        let length = line.chars().count() + 1;
        let end = if at.end.0 == at.start.0 { at.end.1 } else { length };
        let (start, end) = (at.start.1.min(length), end.min(length));
        let is_secret = |column| {
            let here = (at.start.0, column);
            source.secrets.iter().any(|secret| secret.start <= here && here < secret.end)
        };
        Some(cut(line, start, end, is_secret))
    }

    /// The line of `at` in a text that could not be parsed, so that secrets are known only by the words around them.
    pub(super) fn unparsed_snippet(&self, at: At) -> Option<Snippet> {
        let source = self.sources.get(at.source)?;
        let lines: Vec<&str> = source.text.lines().take(at.start.0).collect();
        let line = *lines.get(at.start.0 - 1)?;
        let mut indent = usize::MAX;
        for above in lines.iter().rev().filter(|line| !line.trim().is_empty()) {
            let own = above.len() - above.trim_start().len();
            // Only the lines that this one is nested in.
            if own >= indent {
                continue;
            }
            indent = own;
            if is_secret_key(above) || above.contains('@') {
                return None;
            }
        }
        Some(cut(line, at.start.1.min(line.chars().count() + 1), at.end.1, |_| false))
    }
}

/// Whether what stands under this key is a secret.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    SECRET_KEYS.iter().any(|word| key.contains(word))
}

/// A text from a configuration, quoted for a message: short, and without what a terminal would obey.
pub(super) fn quote(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).map(visible).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// Masks and shortens a line; `start` and `end` are columns, counted from 1.
fn cut(line: &str, start: usize, end: usize, is_secret: impl Fn(usize) -> bool) -> Snippet {
    let mut text = String::new();
    let mut position = None;
    let mut width = 0;
    let mut masked = false;
    let first = start.saturating_sub(SNIPPET_CHARS_MAX / 2).max(1);
    for (column, c) in (1..).zip(line.chars()).skip(first - 1).take(SNIPPET_CHARS_MAX) {
        let before = text.chars().count();
        if column == start {
            position = Some(before + 1);
        }
        if !is_secret(column) {
            text.push(visible(c));
            masked = false;
        } else if !masked {
            text.push_str(MASK);
            masked = true;
        }
        if (start..end).contains(&column) {
            width += text.chars().count() - before;
        }
    }
    let column = position.unwrap_or_else(|| text.chars().count() + 1);
    Snippet { text, column, width: width.max(1) }
}
