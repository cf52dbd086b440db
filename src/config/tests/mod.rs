//! Behaviour at the edges that users touch. Whatever can be wrong, each with its message
//! and its line, is in `bad_values` and `bad_graph`.

#![allow(clippy::disallowed_methods, reason = "writes configuration files to a temporary folder")]

mod auth;
mod bad_graph;
mod bad_values;
mod collector;
mod defaults;
mod documented;
mod hostile;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Config, Faults, Sources, load};

/// A file of this text, kept for as long as the test runs.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn add(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn sources(files: Vec<String>) -> Sources {
    Sources { files, data_dir: Some(PathBuf::from("/data")), ..Sources::default() }
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads one text.
fn load_text(text: &str) -> Result<Config, Faults> {
    load_with(text, &[])
}

/// Loads one text with this environment.
fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Faults> {
    let files = Files::new();
    let file = files.add("agent.yaml", text);
    load(&Sources { env: env(variables), ..sources(vec![file]) })
}

/// What is wrong with the text: line, path, message, suggestion.
fn faults(text: &str) -> Vec<(usize, String, String, String)> {
    faults_of(load_text(text).unwrap_err())
}

fn faults_of(faults: Faults) -> Vec<(usize, String, String, String)> {
    let line = |fault: &super::Fault| fault.place.as_ref().map_or(0, |place| place.line);
    faults
        .faults
        .into_iter()
        .map(|fault| (line(&fault), fault.path, fault.message, fault.suggestion.unwrap_or_default()))
        .collect()
}

/// The notes of a text, as `path: message`.
fn notes(text: &str) -> Vec<String> {
    notes_of(&load_text(text).unwrap())
}

fn notes_of(config: &Config) -> Vec<String> {
    config.notes.iter().map(|note| format!("{}: {}", note.path, note.message)).collect()
}
