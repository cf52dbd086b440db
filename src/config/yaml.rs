//! YAML into nodes. The text is hostile until proven otherwise: depth, size and aliases are bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::fault::Problem;
use super::node::{Entry, Node, Scalar, Value};
use super::source::{At, quote};

/// Deeper nesting is refused: no configuration needs it, and what walks the tree may recurse.
const DEPTH_MAX: usize = 64;
/// More values are refused, counted after aliases are expanded, so that a few lines cannot fill the memory.
const NODES_MAX: usize = 20_000;

/// A parsed text: as much of the tree as could be read, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    /// What was readable but wrong: the tree is whole without it.
    pub(super) problems: Vec<Problem>,
}

/// Reads one document.
pub(super) fn parse(source: usize, text: &str) -> Result<Parsed, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::new(source);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax_problem(source, text, &error))?;
        builder.take(event, builder.at(span))?;
    }
    let empty = At::new(source, (1, 1), (1, 1));
    Ok(Parsed { root: builder.root.unwrap_or(Node { at: empty, value: Value::Null }), problems: builder.problems })
}

fn syntax_problem(source: usize, text: &str, error: &ScanError) -> Problem {
    let at = position(*error.marker());
    let line = text.lines().nth(at.0 - 1).unwrap_or_default();
    let indent = &line[..line.len() - line.trim_start().len()];
    let problem = Problem::new(format!("not YAML: {}", error.info())).at(At::new(source, at, (at.0, at.1 + 1)));
    if indent.contains('\t') { problem.suggest("indent with spaces: YAML allows no tabs there") } else { problem }
}

fn position(marker: Marker) -> (usize, usize) {
    (marker.line().max(1), marker.col() + 1)
}

/// A list or map that is not closed yet.
#[derive(Debug)]
enum Open {
    List { at: At, anchor: usize, items: Vec<Node> },
    Map { at: At, anchor: usize, entries: Vec<Entry>, merges: Vec<Node>, key: Option<(Option<String>, At)> },
}

#[derive(Debug)]
struct Builder {
    source: usize,
    open: Vec<Open>,
    /// Closed nodes that an alias may name, with their size and depth.
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    root: Option<Node>,
    problems: Vec<Problem>,
}

impl Builder {
    fn new(source: usize) -> Self {
        Self { source, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, problems: Vec::new() }
    }

    fn at(&self, span: Span) -> At {
        At::new(self.source, position(span.start), position(span.end))
    }

    fn problem(&mut self, at: At, message: impl Into<String>) {
        self.problems.push(Problem::new(message).at(at));
    }

    fn take(&mut self, event: Event<'_>, at: At) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(fatal(at, "a second document: one file holds one configuration"));
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                self.close(Node { at, value }, anchor)?;
            }
            Event::Alias(anchor) => {
                let Some((node, size, depth)) = self.anchors.get(&anchor).cloned() else {
                    return Err(fatal(at, "an alias inside what it names"));
                };
                self.grow(at, size)?;
                if self.open.len() + depth > DEPTH_MAX {
                    return Err(too_deep(at));
                }
                self.add(node)?;
            }
            Event::SequenceStart(anchor, _) => self.open(at, Open::List { at, anchor, items: Vec::new() })?,
            Event::MappingStart(anchor, _) => {
                self.open(at, Open::Map { at, anchor, entries: Vec::new(), merges: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, anchor, items }) => self.close(Node { at, value: Value::List(items) }, anchor)?,
                Some(Open::Map { at, anchor, mut entries, merges, .. }) => {
                    merges.into_iter().for_each(|from| merge_key(&mut entries, from));
                    self.close(Node { at, value: Value::Map(entries) }, anchor)?;
                }
                None => return Err(fatal(at, "an end without a start")),
            },
        }
        Ok(())
    }

    fn open(&mut self, at: At, open: Open) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.open.push(open);
        Ok(())
    }

    fn grow(&mut self, at: At, nodes: usize) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(fatal(at, format!("more than {NODES_MAX} values, aliases expanded")));
        }
        Ok(())
    }

    /// A whole node: remembered when it has an anchor, then added to what is open.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.grow(node.at, 1)?;
        if anchor > 0 {
            let (size, depth) = measure(&node);
            // The copy counts too, or nested anchors would multiply the tree.
            self.grow(node.at, size)?;
            self.anchors.insert(anchor, (node.clone(), size, depth));
        }
        self.add(node)
    }

    fn add(&mut self, node: Node) -> Result<(), Problem> {
        let second = match self.open.last_mut() {
            None => {
                self.root = Some(node);
                return Ok(());
            }
            Some(Open::List { items, .. }) => {
                items.push(node);
                return Ok(());
            }
            Some(Open::Map { key: key @ None, .. }) => {
                let name = if let Value::Scalar(scalar) = &node.value { Some(scalar.text.clone()) } else { None };
                let is_name = name.is_some();
                *key = Some((name, node.at));
                (!is_name).then(|| (node.at, format!("{} cannot be a key: write a word", node.kind())))
            }
            Some(Open::Map { key, entries, merges, .. }) => match key.take() {
                Some((Some(name), _)) if name == "<<" => {
                    let at = node.at;
                    let is_map = !matches!(node.value, Value::Null | Value::Scalar(_));
                    merges.push(node);
                    (!is_map).then(|| (at, "`<<` merges maps: name one with an alias, as `<<: *defaults`".to_owned()))
                }
                Some((Some(key), key_at)) => match entries.iter().find(|entry| entry.key == key) {
                    Some(first) => {
                        Some((key_at, format!("{} is given twice, first in line {}", quote(&key), first.key_at.line())))
                    }
                    None => {
                        entries.push(Entry { key, key_at, value: node });
                        None
                    }
                },
                // The key was refused when it was read.
                Some((None, _)) | None => None,
            },
        };
        if let Some((at, message)) = second {
            self.problem(at, message);
        }
        Ok(())
    }
}

/// The merge key `<<`: what the map does not say itself comes from the map, or the maps, it names.
fn merge_key(entries: &mut Vec<Entry>, from: Node) {
    match from.value {
        Value::Map(more) => {
            for entry in more {
                if entries.iter().all(|own| own.key != entry.key) {
                    entries.push(entry);
                }
            }
        }
        Value::List(maps) => maps.into_iter().for_each(|map| merge_key(entries, map)),
        Value::Null | Value::Scalar(_) => {}
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    let plain = style == ScalarStyle::Plain && !is_text;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar(Scalar { text: text.to_owned(), plain, typed: None })
}

/// How many nodes and levels there are.
fn measure(node: &Node) -> (usize, usize) {
    let of_all = |children: &mut dyn Iterator<Item = &Node>| {
        let (size, depth) = children.map(measure).fold((0, 0), |(s, d), (size, depth)| (s + size, d.max(depth)));
        (size + 1, depth + 1)
    };
    match &node.value {
        Value::Null | Value::Scalar(_) => (1, 1),
        Value::List(items) => of_all(&mut items.iter()),
        Value::Map(entries) => of_all(&mut entries.iter().map(|entry| &entry.value)),
    }
}

fn fatal(at: At, message: impl Into<String>) -> Problem {
    Problem::new(message).at(at)
}

fn too_deep(at: At) -> Problem {
    fatal(at, format!("nested deeper than {DEPTH_MAX} levels"))
}
