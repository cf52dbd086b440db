//! `tidegate validate`: every fault of a configuration in one go.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::Globals;
use super::faults::{counted, faults_text, notes_text};
use super::output::{self, ERROR, Failure, GOOD, Output};
use super::sources::ConfigArgs;
use crate::config::{Config, Fault, Faults, Note, Pipeline, Place, load};

/// Check a configuration and show every fault, each with its line
///
/// Nothing is started and nothing is written. Without a file, the built-in configuration is checked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate validate agent.yaml\n  \
    tidegate validate --config agent.yaml --config site.yaml --set service.telemetry.logs.level=debug\n  \
    tidegate validate agent.yaml --output json | jq '.errors[]'\n\n\
    Exit codes: 0 valid, 2 not valid.")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Configuration files, merged after those of --config
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

pub(crate) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let mut sources = args.config.sources(globals);
    sources.files.extend(args.files.iter().cloned());
    let names = if sources.files.is_empty() { "built-in".to_owned() } else { sources.files.join(", ") };
    let checked = load(&sources);
    match globals.output {
        Output::Json => output::print_json(&to_json(&checked))?,
        Output::Text => output::print_text(&to_text(&checked, &names))?,
    }
    Ok(ExitCode::from(if checked.is_ok() { 0 } else { 2 }))
}

fn to_json(checked: &Result<Config, Faults>) -> Value {
    let (errors, notes): (&[Fault], &[Note]) = match checked {
        Ok(config) => (&[], &config.notes),
        Err(faults) => (&faults.faults, &faults.notes),
    };
    json!({
        "valid": checked.is_ok(),
        "errors": errors.iter().map(|fault| located(fault.place.as_ref(), json!({
            "path": fault.path,
            "message": fault.message,
            "suggestion": fault.suggestion,
        }))).collect::<Vec<_>>(),
        "notes": notes.iter().map(|note| located(note.place.as_ref(), json!({
            "path": note.path,
            "message": note.message,
        }))).collect::<Vec<_>>(),
    })
}

/// Adds `file`, `line` and `column`; null when it is about the whole.
fn located(place: Option<&Place>, mut object: Value) -> Value {
    object["file"] = json!(place.map(|place| &place.file));
    object["line"] = json!(place.map(|place| place.line));
    object["column"] = json!(place.map(|place| place.column));
    object
}

fn to_text(checked: &Result<Config, Faults>, names: &str) -> String {
    match checked {
        Ok(config) => {
            let mut text = notes_text(&config.notes);
            // Writing to a String cannot fail.
            write_summary(&mut text, config, names).unwrap_or_default();
            text
        }
        Err(faults) => {
            let count = counted(faults.faults.len(), "fault");
            let (faults, notes) = (faults_text(faults), notes_text(&faults.notes));
            format!("{faults}{notes}{ERROR}not valid:{ERROR:#} {names}: {count}\n")
        }
    }
}

fn write_summary(text: &mut String, config: &Config, names: &str) -> std::fmt::Result {
    writeln!(text, "{GOOD}valid:{GOOD:#} {names}")?;
    writeln!(text, "  data: {}", config.data_dir.display())?;
    for pipeline in &config.pipelines {
        let Pipeline { id, log, receivers, exporters, .. } = pipeline;
        let receivers: Vec<String> = receivers.iter().map(ToString::to_string).collect();
        let exporters: Vec<String> = exporters.iter().map(ToString::to_string).collect();
        let out = if exporters.is_empty() { "no exporter".to_owned() } else { exporters.join(", ") };
        writeln!(text, "  {id}: {} → log {log} → {out}", receivers.join(", "))?;
    }
    Ok(())
}
