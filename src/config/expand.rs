//! References in values: `${env:NAME}`, `${env:NAME:-default}`, bare `${NAME}`, `${file:/path}`, `${tidegate:data_dir}`,
//! `$$`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::fault::Problem;
use super::load::text_of;
use super::node::{Node, Scalar, Value};
use super::source::{At, quote};
use super::yaml;

/// A default may hold references whose defaults hold references, this many times.
const NESTING_MAX: usize = 8;
/// The most that a file may hold that a value names, in bytes.
const FILE_MAX: u64 = 64 << 10;
const DATA_DIR: &str = "tidegate:data_dir";

/// Replaces references, and collects what is wrong and what is worth knowing on the way.
#[derive(Debug)]
pub(super) struct Expander<'a> {
    pub(super) env: &'a BTreeMap<String, String>,
    /// What `${tidegate:data_dir}` stands for; none while it is being found out.
    pub(super) data_dir: Option<&'a Path>,
    pub(super) problems: Vec<(String, Problem)>,
    pub(super) notes: Vec<(String, At, String)>,
}

/// What references became.
struct Expanded {
    text: String,
    /// Something came from the environment or a file: it may be a secret.
    is_foreign: bool,
    /// The text was one single reference, so that its value has a type of its own.
    whole: bool,
}

impl<'a> Expander<'a> {
    pub(super) fn new(env: &'a BTreeMap<String, String>, data_dir: Option<&'a Path>) -> Self {
        Self { env, data_dir, problems: Vec::new(), notes: Vec::new() }
    }

    /// Replaces the references in every value of the tree. Keys are left as they are.
    pub(super) fn expand(&mut self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Null => {}
            Value::Scalar(scalar) => {
                if let Some(value) = self.scalar(scalar, node.at, path) {
                    node.value = value;
                }
            }
            Value::List(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    self.expand(item, &format!("{path}[{n}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                    self.expand(&mut entry.value, &path);
                }
            }
        }
    }

    fn scalar(&mut self, scalar: &Scalar, at: At, path: &str) -> Option<Value> {
        if !scalar.text.contains('$') {
            return None;
        }
        let expanded = match self.text(&scalar.text, at, path, 0) {
            Ok(expanded) => expanded,
            Err(problem) => {
                self.problems.push((path.to_owned(), problem.at(at)));
                return Some(Value::Null);
            }
        };
        if expanded.whole && expanded.text.is_empty() {
            return Some(Value::Null);
        }
        let typed = expanded.is_foreign.then(|| scalar.text.clone());
        // As in the Collector, a variable may hold a whole list or map.
        if expanded.whole
            && expanded.text.starts_with(['[', '{'])
            && let Some(value) = collection(&expanded.text, at, typed.as_ref())
        {
            return Some(value);
        }
        Some(Value::Scalar(Scalar { text: expanded.text, plain: scalar.plain || expanded.whole, typed }))
    }

    fn text(&mut self, text: &str, at: At, path: &str, nesting: usize) -> Result<Expanded, Problem> {
        let mut out = Expanded { text: String::new(), is_foreign: false, whole: false };
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            out.text.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(more) = after.strip_prefix('$') {
                out.text.push('$');
                rest = more;
            } else if let Some(more) = after.strip_prefix('{') {
                let end = closing_brace(more).ok_or_else(|| {
                    Problem::new("`${` is not closed by `}`").suggest("write `$$` for a dollar sign itself")
                })?;
                let value = self.reference(&more[..end], at, path, nesting)?;
                out.text.push_str(&value.text);
                out.is_foreign |= value.is_foreign;
                rest = &more[end + 1..];
                out.whole = dollar == 0 && rest.is_empty() && text.len() == end + 3;
            } else {
                out.text.push('$');
                rest = after;
            }
        }
        out.text.push_str(rest);
        Ok(out)
    }

    fn reference(&mut self, inner: &str, at: At, path: &str, nesting: usize) -> Result<Expanded, Problem> {
        if inner == DATA_DIR {
            return self.data_dir();
        }
        if let Some(typed) = inner.strip_prefix("file:") {
            if nesting >= NESTING_MAX {
                return Err(too_deep());
            }
            return file(typed, &self.text(typed, at, path, nesting + 1)?.text);
        }
        let (name, default) = match inner.strip_prefix("env:").unwrap_or(inner).split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner.strip_prefix("env:").unwrap_or(inner), None),
        };
        if let Some((scheme, _)) = name.split_once(':') {
            return Err(Problem::new(format!("unknown reference scheme {} in a value", quote(scheme)))
                .suggest("write `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}` or `${tidegate:data_dir}`"));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Problem::new(format!("{} is no name of an environment variable", quote(name)))
                .suggest("write letters, digits and underscores; `$$` for a dollar sign itself"));
        }
        match (self.env.get(name), default) {
            (Some(value), _) => Ok(Expanded { text: value.clone(), is_foreign: true, whole: false }),
            (None, Some(_)) if nesting >= NESTING_MAX => Err(too_deep()),
            (None, Some(default)) => self.text(default, at, path, nesting + 1),
            (None, None) => {
                let message = format!(
                    "the environment variable {name} is not set, so this is empty; `${{env:{name}:-default}}` gives it a default"
                );
                self.notes.push((path.to_owned(), at, message));
                Ok(Expanded { text: String::new(), is_foreign: true, whole: false })
            }
        }
    }

    fn data_dir(&self) -> Result<Expanded, Problem> {
        let dir = self.data_dir.ok_or_else(|| {
            Problem::new("the data directory cannot be named by itself").suggest("write the directory's path")
        })?;
        let text = dir.to_str().ok_or_else(|| {
            Problem::new(format!("the data directory {} is not UTF-8", dir.display()))
                .suggest("write this path out, or choose another --data-dir")
        })?;
        Ok(Expanded { text: text.to_owned(), is_foreign: false, whole: false })
    }
}

fn too_deep() -> Problem {
    Problem::new(format!("references nested more than {NESTING_MAX} deep"))
}

/// What a file holds, without the end of its last line: a secret, as a rule.
fn file(typed: &str, path: &str) -> Result<Expanded, Problem> {
    let wrong = |why: String| {
        Problem::new(format!("the file {} cannot be used: {why}", quote(typed)))
            .suggest("name a text file that the agent may read")
    };
    let read = || {
        // One that waits for a writer would keep the agent from starting.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        text_of(std::fs::File::open(path)?, FILE_MAX, "64 KiB")
    };
    let text = read().map_err(|error| wrong(error.to_string()))?;
    let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Expanded { text: text.to_owned(), is_foreign: true, whole: false })
}

/// Where the brace closes that was open before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    let mut previous = '\0';
    for (index, c) in text.char_indices() {
        match c {
            '{' if previous == '$' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
        previous = c;
    }
    None
}

/// A variable's value as a list or map, every part of it standing where the reference stands.
fn collection(text: &str, at: At, typed: Option<&String>) -> Option<Value> {
    let parsed = yaml::parse(0, text).ok()?;
    let mut root = parsed.root;
    if !parsed.problems.is_empty() || matches!(root.value, Value::Null | Value::Scalar(_)) {
        return None;
    }
    relocate(&mut root, at, typed);
    Some(root.value)
}

fn relocate(node: &mut Node, at: At, typed: Option<&String>) {
    node.at = at;
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(scalar) => scalar.typed = typed.cloned(),
        Value::List(items) => items.iter_mut().for_each(|item| relocate(item, at, typed)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key_at = at;
                relocate(&mut entry.value, at, typed);
            }
        }
    }
}
