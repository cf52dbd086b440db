//! What was typed: YAML as a tree in which every value knows its place.

use super::source::At;

/// One value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, or `null`.
    Null,
    /// A number, a word, a text: what it means is the reader's to say.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order in which it was typed; no key twice.
    Map(Vec<Entry>),
}

/// A text that is not yet interpreted.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The text, with its references replaced.
    pub(super) text: String,
    /// Typed without quotes, so that it may be a number or a boolean.
    pub(super) plain: bool,
    /// What was typed, when the text has something from the environment in it, which may be a secret.
    pub(super) typed: Option<String>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) value: Node,
}

impl Node {
    /// A map of one entry.
    pub(super) fn nest(key: &str, key_at: At, value: Self) -> Self {
        let at = value.at;
        Self { at, value: Value::Map(vec![Entry { key: key.to_owned(), key_at, value }]) }
    }

    /// What the value is called in a message.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value of a key, when this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries, when this is a map.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }
}

impl Entry {
    /// Where to point for this entry's value: at the key when nothing was typed for the value.
    pub(super) fn value_at(&self) -> At {
        if self.value.at.is_empty() { self.key_at } else { self.value.at }
    }
}

/// Lays `over` on `base`: maps merge, everything else replaces, as the Collector merges its files.
pub(super) fn merge(base: &mut Node, over: Node) {
    let over_entries = match (&base.value, over.value) {
        (Value::Map(_), Value::Map(entries)) => entries,
        (_, value) => {
            *base = Node { at: over.at, value };
            return;
        }
    };
    let Value::Map(entries) = &mut base.value else { return };
    for entry in over_entries {
        match entries.iter_mut().find(|e| e.key == entry.key) {
            Some(existing) => {
                existing.key_at = entry.key_at;
                merge(&mut existing.value, entry.value);
            }
            None => entries.push(entry),
        }
    }
}
