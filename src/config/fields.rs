//! Reading a map key by key: every fault is collected, every unknown key is told with the nearest known one.

use super::fault::{Fault, Note, Problem};
use super::node::{Entry, Node, Value};
use super::source::{At, SourceMap, quote};

/// More faults than this help nobody; how many more there are is told.
const FAULTS_MAX: usize = 50;

/// Collects what is wrong and what is worth knowing.
#[derive(Debug)]
pub(super) struct Check<'s> {
    sources: &'s SourceMap,
    faults: Vec<Found>,
    /// Faults found when there were enough already.
    uncounted: usize,
    /// Values that are told to be wrong already: what follows from that is not told again.
    settled: Vec<At>,
    notes: Vec<(Option<At>, Note)>,
    /// Every key that was asked for, so that a test can compare them with the documentation.
    #[cfg(test)]
    pub(super) keys: std::collections::BTreeSet<String>,
}

/// A fault whose line is not looked up yet.
#[derive(Debug)]
struct Found {
    at: Option<At>,
    path: String,
    problem: Problem,
    /// The text could not be parsed, so that secrets in it are not known by their place.
    unparsed: bool,
}

impl<'s> Check<'s> {
    pub(super) fn new(sources: &'s SourceMap) -> Self {
        Self {
            sources,
            faults: Vec::new(),
            uncounted: 0,
            settled: Vec::new(),
            notes: Vec::new(),
            #[cfg(test)]
            keys: std::collections::BTreeSet::new(),
        }
    }

    /// Something is wrong at the problem's own place, else at `at`.
    pub(super) fn fault(&mut self, at: Option<At>, path: &str, problem: Problem) {
        self.found(Found { at: problem.at.or(at), path: path.to_owned(), problem, unparsed: false });
    }

    /// A text could not be parsed.
    pub(super) fn syntax_fault(&mut self, problem: Problem) {
        self.found(Found { at: problem.at, path: String::new(), problem, unparsed: true });
    }

    /// A value is wrong in a way that makes everything else about it a consequence.
    pub(super) fn settle(&mut self, path: &str, problem: Problem) {
        let at = problem.at;
        self.fault(None, path, problem);
        self.settled.extend(at);
    }

    fn found(&mut self, found: Found) {
        if found.at.is_some_and(|at| self.settled.contains(&at)) {
            return;
        }
        if self.is_full() {
            self.uncounted += 1;
        } else {
            self.faults.push(found);
        }
    }

    /// Whether further faults are only counted, so that hostile text costs little.
    fn is_full(&self) -> bool {
        self.faults.len() >= 20 * FAULTS_MAX
    }

    /// Something is worth knowing.
    pub(super) fn note(&mut self, at: Option<At>, path: &str, message: impl Into<String>) {
        let place = at.map(|at| self.sources.place(at));
        self.notes.push((at, Note { place, path: path.to_owned(), message: message.into() }));
    }

    /// Everything, in the order in which it was typed.
    pub(super) fn finish(mut self) -> (Vec<Fault>, Vec<Note>) {
        self.faults.sort_by_key(|found| found.at);
        self.notes.sort_by_key(|(at, _)| *at);
        let more = self.uncounted + self.faults.len().saturating_sub(FAULTS_MAX);
        let mut faults: Vec<Fault> =
            self.faults.into_iter().take(FAULTS_MAX).map(|found| found.into_fault(self.sources)).collect();
        if more > 0 {
            let message = format!("{more} more faults are not listed");
            faults.push(Fault { place: None, path: String::new(), message, suggestion: None, snippet: None });
        }
        (faults, self.notes.into_iter().map(|(_, note)| note).collect())
    }

    /// Reads a map with `read`, then tells every key that `read` did not ask for. What is no map is a fault, and read
    /// as an empty one; nothing at all is an empty one too.
    pub(super) fn section<T>(
        &mut self,
        node: Option<&Node>,
        at: At,
        path: &str,
        read: impl FnOnce(&mut Fields<'_, 's, '_>) -> T,
    ) -> T {
        let entries = match node.map(|node| (node, &node.value)) {
            None | Some((_, Value::Null)) => &[],
            Some((_, Value::Map(entries))) => &**entries,
            Some((node, _)) => {
                self.fault(Some(node.at), path, Problem::new(format!("expected a map, found {}", node.kind())));
                &[]
            }
        };
        let mut fields =
            Fields { check: self, path: path.to_owned(), at, entries, known: Vec::new(), idle: Vec::new() };
        let value = read(&mut fields);
        fields.refuse_unknown();
        value
    }
}

impl Found {
    fn into_fault(self, sources: &SourceMap) -> Fault {
        let Self { at, path, problem: Problem { message, suggestion, .. }, unparsed } = self;
        let snippet = at.and_then(|at| if unparsed { sources.unparsed_snippet(at) } else { sources.snippet(at) });
        Fault { place: at.map(|at| sources.place(at)), path, message, suggestion, snippet }
    }
}

/// One map while it is read.
#[derive(Debug)]
pub(super) struct Fields<'c, 's, 'n> {
    pub(super) check: &'c mut Check<'s>,
    path: String,
    at: At,
    entries: &'n [Entry],
    known: Vec<&'static str>,
    /// Those of `known` that do nothing: accepted when typed, not worth listing.
    idle: Vec<&'static str>,
}

impl<'s, 'n> Fields<'_, 's, 'n> {
    /// Where this map stands: the place to point at when a key is missing.
    pub(super) fn at(&self) -> At {
        self.at
    }

    /// Where this map is: `exporters.otlp`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The entry of a key, whatever it is.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<&'n Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        #[cfg(test)]
        self.check.keys.insert(self.path_of(key));
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key, read; none when it is absent, empty, or wrong and therefore told.
    pub(super) fn get<T>(&mut self, key: &'static str, read: impl FnOnce(&Node) -> Result<T, Problem>) -> Option<T> {
        let entry = self.entry(key).filter(|entry| !matches!(entry.value.value, Value::Null))?;
        match read(&entry.value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.check.fault(Some(entry.value_at()), &self.path_of(key), problem);
                None
            }
        }
    }

    /// As [`Fields::get`], into a place that already holds the default.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        into: &mut T,
        read: impl FnOnce(&Node) -> Result<T, Problem>,
    ) -> bool {
        let value = self.get(key, read);
        let given = value.is_some();
        if let Some(value) = value {
            *into = value;
        }
        given
    }

    /// As [`Fields::get`]; a missing value is a fault.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Node) -> Result<T, Problem>,
    ) -> Option<T> {
        let entry = self.entry(key);
        if entry.is_none_or(|entry| matches!(entry.value.value, Value::Null)) {
            let at = entry.map_or(self.at, Entry::value_at);
            let problem = Problem::new(format!("`{key}` is missing")).suggest(format!("write `{key}: {example}`"));
            self.check.fault(Some(at), &self.path_of(key), problem);
            return None;
        }
        self.get(key, read)
    }

    /// A key that is accepted without effect, which is told.
    pub(super) fn told(&mut self, keys: &[&'static str], why: &str) {
        for key in keys {
            self.idle.push(key);
            if let Some(entry) = self.entry(key) {
                self.check.note(Some(entry.key_at), &self.path_of(key), format!("no effect: {why}"));
            }
        }
    }

    /// A key that the Collector knows and this version must refuse, because ignoring it would break what it promises.
    pub(super) fn refused(&mut self, keys: &[&'static str], suggestion: &str) {
        for key in keys {
            self.idle.push(key);
            if let Some(entry) = self.entry(key).filter(|entry| !matches!(entry.value.value, Value::Null)) {
                let problem = Problem::new(format!("`{key}` is not in this version")).suggest(suggestion);
                self.check.fault(Some(entry.key_at), &self.path_of(key), problem);
            }
        }
    }

    /// Adds a note about a key.
    pub(super) fn note(&mut self, key: &str, message: impl Into<String>) {
        let at = self.place_of(key);
        self.check.note(Some(at), &self.path_of(key), message);
    }

    /// Adds a fault about a key, for what is seen only beside other keys.
    pub(super) fn fault(&mut self, key: &str, problem: Problem) {
        let at = self.place_of(key);
        self.check.fault(Some(at), &self.path_of(key), problem);
    }

    /// Adds a fault about this map as a whole.
    pub(super) fn fault_here(&mut self, problem: Problem) {
        self.check.fault(Some(self.at), &self.path, problem);
    }

    /// Where the value of a key stands; where this map stands when it is absent.
    pub(super) fn place_of(&self, key: &str) -> At {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.at, Entry::value_at)
    }

    /// The map under a key; an absent one is read as empty, so that defaults have one home.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Fields<'_, 's, '_>) -> T) -> T {
        let entry = self.entry(key);
        let at = entry.map_or(self.at, |entry| entry.key_at);
        let path = self.path_of(key);
        self.check.section(entry.map(|entry| &entry.value), at, &path, read)
    }

    /// The map under a key; none when the key is absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'_, 's, '_>) -> T,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        let path = self.path_of(key);
        Some(self.check.section(Some(&entry.value), entry.key_at, &path, read))
    }

    /// Each map of a list.
    pub(super) fn each<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Fields<'_, 's, '_>) -> T,
    ) -> Option<Vec<T>> {
        let entry = self.entry(key)?;
        let path = self.path_of(key);
        match &entry.value.value {
            Value::Null => None,
            Value::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| self.check.section(Some(item), item.at, &format!("{path}[{n}]"), &mut read))
                    .collect(),
            ),
            _ => {
                let problem = Problem::new(format!("expected a list, found {}", entry.value.kind()));
                self.check.fault(Some(entry.value.at), &path, problem);
                None
            }
        }
    }

    /// Every entry, for maps whose keys are names of the user's.
    pub(super) fn take_all(&mut self) -> &'n [Entry] {
        std::mem::take(&mut self.entries)
    }

    fn refuse_unknown(self) {
        let useful: Vec<&str> = self.known.iter().copied().filter(|key| !self.idle.contains(key)).collect();
        for entry in self.entries.iter().filter(|entry| !self.known.contains(&&*entry.key)) {
            if self.check.is_full() {
                self.check.uncounted += 1;
                continue;
            }
            let suggestion = match nearest(&entry.key, &self.known) {
                Some(key) => format!("did you mean `{key}`?"),
                None => nearest_or_all(&entry.key, &useful, "keys here"),
            };
            let problem = Problem::new(format!("unknown key {}", quote(&entry.key))).suggest(suggestion);
            self.check.fault(Some(entry.key_at), &self.path_of(&entry.key), problem);
        }
    }
}

/// "did you mean …" when something is near, else what there is.
pub(super) fn nearest_or_all(typed: &str, known: &[&str], what: &str) -> String {
    match nearest(typed, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", known.join(", ")),
    }
}

fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    // Long garbage is near to nothing, and would take quadratic time to find out.
    let typed: String = typed.chars().take(64).collect::<String>().to_lowercase();
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&typed, word), *word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1))
        .map(|(_, word)| word)
}
