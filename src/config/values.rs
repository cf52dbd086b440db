//! What a value may be: texts, numbers, words, lists. Each reader says what it expected and what to write.
//! Durations and sizes are in `units`, addresses and headers in `network`.

use std::path::PathBuf;

use super::fault::Problem;
use super::fields::nearest_or_all;
use super::node::{Node, Scalar, Value};
use super::source::{At, quote};
use crate::url::without_secrets;

pub(super) fn scalar<'n>(node: &'n Node, expected: &str) -> Result<&'n Scalar, Problem> {
    match &node.value {
        Value::Scalar(scalar) => Ok(scalar),
        _ => Err(Problem::new(format!("expected {expected}, found {}", node.kind()))),
    }
}

/// As it was typed: a value from the environment may be a secret, so its reference is shown instead.
pub(super) fn shown(scalar: &Scalar) -> String {
    match &scalar.typed {
        Some(typed) => format!("the value of {}", quote(typed)),
        None => quote(&without_secrets(&scalar.text)),
    }
}

pub(super) fn not(expected: &str, scalar: &Scalar) -> Problem {
    Problem::new(format!("expected {expected}, found {}", shown(scalar)))
}

/// As [`not`], where quotes make a text of what would otherwise be right.
fn not_plain(expected: &str, scalar: &Scalar) -> Problem {
    let problem = not(expected, scalar);
    if scalar.plain { problem } else { Problem { message: format!("{} in quotes", problem.message), ..problem } }
}

/// A text. Numbers and words without quotes are texts too.
pub(super) fn text(node: &Node) -> Result<String, Problem> {
    Ok(scalar(node, "a text")?.text.clone())
}

/// A text that is not empty.
pub(super) fn word(node: &Node) -> Result<String, Problem> {
    let text = text(node)?;
    if text.trim().is_empty() { Err(Problem::new("expected a text, found an empty one")) } else { Ok(text) }
}

/// A path in the file system.
pub(super) fn path(node: &Node) -> Result<PathBuf, Problem> {
    let text = word(node)?;
    if text.contains('\0') { Err(Problem::new("a path cannot hold a zero byte")) } else { Ok(PathBuf::from(text)) }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, Problem> {
    const EXPECTED: &str = "true or false";
    let scalar = scalar(node, EXPECTED)?;
    match &*scalar.text {
        "true" | "True" | "TRUE" if scalar.plain => Ok(true),
        "false" | "False" | "FALSE" if scalar.plain => Ok(false),
        "true" | "false" => Err(not_plain(EXPECTED, scalar).suggest(format!("write {} without quotes", scalar.text))),
        _ => Err(not_plain(EXPECTED, scalar)),
    }
}

/// A whole number within a range.
pub(super) fn integer(min: u64, max: u64) -> impl Fn(&Node) -> Result<u64, Problem> {
    move |node| {
        let expected = format!("a whole number from {min} to {max}");
        let scalar = scalar(node, &expected)?;
        match scalar.text.parse::<u64>() {
            Ok(_) if !scalar.plain => Err(not_plain(&expected, scalar).suggest("write it without quotes")),
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(not_plain(&expected, scalar)),
        }
    }
}

/// As [`integer`], for what fits 32 bits.
pub(super) fn integer_u32(min: u32, max: u32) -> impl Fn(&Node) -> Result<u32, Problem> {
    // The range is checked, so the conversion cannot cut anything.
    move |node| integer(min.into(), max.into())(node).map(|number| u32::try_from(number).unwrap_or(max))
}

/// As [`integer`], for counts and sizes in memory.
pub(super) fn integer_usize(min: usize, max: usize) -> impl Fn(&Node) -> Result<usize, Problem> {
    // The range is checked, so the conversion cannot cut anything.
    move |node| integer(min as u64, max as u64)(node).map(|number| usize::try_from(number).unwrap_or(max))
}

/// A number within a range.
pub(super) fn number(min: f64, max: f64) -> impl Fn(&Node) -> Result<f64, Problem> {
    move |node| {
        let expected = format!("a number from {min} to {max}");
        let scalar = scalar(node, &expected)?;
        match scalar.text.parse::<f64>() {
            Ok(number) if scalar.plain && (min..=max).contains(&number) => Ok(number),
            _ => Err(not_plain(&expected, scalar)),
        }
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&Node) -> Result<T, Problem> {
    move |node| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        let scalar = scalar(node, &expected)?;
        match choices.iter().find(|(word, _)| *word == scalar.text) {
            Some((_, value)) => Ok(*value),
            None => Err(not(&expected, scalar).suggest(nearest_or_all(&scalar.text, &words, "words allowed"))),
        }
    }
}

/// As [`one_of`], where the Collector takes upper and lower case for the same.
pub(super) fn one_of_in_any_case<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&Node) -> Result<T, Problem> {
    move |node| {
        let found = scalar(node, "a word").ok().and_then(|typed| {
            choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&typed.text)).map(|(_, value)| *value)
        });
        found.map_or_else(|| one_of(choices)(node), Ok)
    }
}

/// A list of texts.
pub(super) fn texts(node: &Node) -> Result<Vec<String>, Problem> {
    match &node.value {
        Value::List(items) => items.iter().map(|item| word(item).map_err(|problem| problem.at(item.at))).collect(),
        _ => Err(Problem::new(format!("expected a list, found {}", node.kind()))
            .suggest("write `[a, b]`, or one `- a` a line")),
    }
}

/// A list of ids, each with its place.
pub(super) fn references(node: &Node) -> Result<Vec<(String, At)>, Problem> {
    let places = match &node.value {
        Value::List(items) => items.iter().map(|item| item.at).collect(),
        _ => Vec::new(),
    };
    Ok(texts(node)?.into_iter().zip(places).collect())
}
