//! From sources to one tree: files read, parsed and merged, `--set` laid on top.

use std::fs::File;
use std::io::{self, Read as _};

use super::fault::Problem;
use super::node::{Node, Value, merge};
use super::source::{At, SourceMap};
use super::{DEFAULT_YAML, Sources, yaml};

/// A larger file is no configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What the built-in configuration is called in a message.
const BUILT_IN: &str = "built-in";
const SET: &str = "--set";

/// What was typed, before anything is checked.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) sources: SourceMap,
    pub(super) root: Node,
    /// What could not be read, each as a fault about the whole or about a place.
    pub(super) problems: Vec<Problem>,
    /// Whether a text could not be parsed, so that most of the rest would be nonsense.
    pub(super) broken: bool,
}

/// Reads every source. Later ones win: maps merge, lists and single values are replaced.
pub(super) fn read(sources: &Sources) -> Typed {
    let nothing = Node { at: At::new(0, (1, 1), (1, 1)), value: Value::Null };
    let mut typed = Typed { sources: SourceMap::default(), root: nothing, problems: Vec::new(), broken: false };
    if sources.files.is_empty() {
        typed.add(BUILT_IN, DEFAULT_YAML);
    }
    for name in &sources.files {
        match read_source(name, sources) {
            Ok(text) => typed.add(name, &text),
            Err(problem) => {
                typed.problems.push(problem);
                typed.broken = true;
            }
        }
    }
    sources.sets.iter().for_each(|set| typed.set(set));
    typed
}

impl Typed {
    fn add(&mut self, name: &str, text: &str) {
        let source = self.sources.add(name, text);
        match yaml::parse(source, text) {
            Ok(parsed) => {
                self.problems.extend(parsed.problems);
                self.sources.mark_secrets(&parsed.root, false);
                self.lay(parsed.root);
            }
            Err(problem) => {
                self.problems.push(problem);
                self.broken = true;
            }
        }
    }

    fn lay(&mut self, node: Node) {
        // An empty file, or one of comments only, says nothing.
        if !matches!(node.value, Value::Null) {
            merge(&mut self.root, node);
        }
    }

    /// `a.b.c=value`, or `a::b::c=value` where a key itself has dots.
    fn set(&mut self, argument: &str) {
        let source = self.sources.add(SET, argument);
        let columns = argument.chars().count();
        let whole = At::new(source, (1, 1), (1, columns + 1));
        let Some((path, text)) = argument.split_once('=') else {
            let problem = Problem::new("`--set` needs a path and a value").at(whole);
            self.problems.push(problem.suggest("write `--set receivers.otlp.protocols.grpc.endpoint=127.0.0.1:5317`"));
            return;
        };
        let separator = if path.contains("::") { "::" } else { "." };
        let keys: Vec<&str> = path.split(separator).collect();
        let key_at = At::new(source, (1, 1), (1, path.chars().count() + 1));
        if keys.iter().any(|key| key.is_empty()) {
            let problem = Problem::new("`--set` has an empty key in its path").at(key_at);
            self.problems.push(problem.suggest("write `a.b.c=value`, or `a::b::c=value` where a key has dots"));
            return;
        }
        let mut node = set_value(source, text, path.chars().count() + 1, columns);
        for key in keys.iter().rev() {
            node = Node::nest(key, key_at, node);
        }
        self.sources.mark_secrets(&node, false);
        self.lay(node);
    }
}

/// The value of a `--set`, as YAML where it is YAML, else as the text it is: `[::1]:4317` is an address.
fn set_value(source: usize, text: &str, offset: usize, columns: usize) -> Node {
    match yaml::parse(source, text) {
        Ok(parsed) if parsed.problems.is_empty() => shift(parsed.root, offset),
        _ => {
            let at = At::new(source, (1, offset + 1), (1, columns + 1));
            Node { at, value: Value::Scalar(super::node::Scalar { text: text.to_owned(), plain: true, typed: None }) }
        }
    }
}

fn shift(mut node: Node, columns: usize) -> Node {
    node.at = node.at.shifted(columns);
    node.value = match node.value {
        Value::List(items) => Value::List(items.into_iter().map(|item| shift(item, columns)).collect()),
        Value::Map(mut entries) => {
            for entry in &mut entries {
                entry.key_at = entry.key_at.shifted(columns);
                let nothing = Node { at: entry.key_at, value: Value::Null };
                entry.value = shift(std::mem::replace(&mut entry.value, nothing), columns);
            }
            Value::Map(entries)
        }
        value => value,
    };
    node
}

/// The text of `path`, `file:path` or `env:NAME`.
fn read_source(name: &str, sources: &Sources) -> Result<String, Problem> {
    if let Some(variable) = name.strip_prefix("env:") {
        let text = sources.env.get(variable).cloned();
        return text
            .ok_or_else(|| Problem::new(format!("--config {name}: the environment variable {variable} is not set")));
    }
    let path = match name.split_once(':') {
        Some(("file", path)) => path,
        Some(("http" | "https" | "yaml", _)) => {
            return Err(Problem::new(format!("--config {name}: only files and `env:NAME` are read in this version"))
                .suggest("name a file, and set single values with `--set`"));
        }
        _ => name,
    };
    read_file(path).map_err(|error| {
        let problem = Problem::new(format!("cannot read {path}: {error}"));
        match error.kind() {
            io::ErrorKind::NotFound => {
                problem.suggest("check the path; `tidegate run --print-default-config` prints one to start from")
            }
            io::ErrorKind::PermissionDenied => problem.suggest("make it readable for the user that tidegate runs as"),
            _ => problem,
        }
    })
}

fn read_file(path: &str) -> io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    text_of(file, FILE_BYTES_MAX, "1 MiB")
}

/// All of a file's text, of so many bytes at most, which are `named` so.
pub(super) fn text_of(file: File, most: u64, named: &str) -> io::Result<String> {
    let mut text = String::new();
    if file.take(most + 1).read_to_string(&mut text)? as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {named}")));
    }
    Ok(text)
}
