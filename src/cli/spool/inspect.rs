//! `tidegate spool inspect`: every log, its segments, cursors and ledger.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::Globals;
use crate::cli::output::{self, DIM, Failure, GOOD, HEADING, Output, WARNING};
use crate::cli::sources::{self, ConfigArgs};
use crate::cli::spool::owner::Agent;
use crate::otlp::Signal;
use crate::spool::{CursorInspection, Inspection, LogInspection, Reader};

/// Show every log, its segments, cursors and ledger
///
/// Reads beside a running agent or without one, and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate spool inspect\n  \
    tidegate spool inspect --segments --data-dir /var/lib/tidegate\n  \
    tidegate spool inspect --output json | jq '.logs[] | {name, records, pending: .ledger.pending}'")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also list every segment
    #[arg(long)]
    segments: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.config, globals)?;
    let mut inspection =
        Reader::open(&directory).and_then(|reader| reader.inspect()).map_err(|e| output::spool_failure(&e))?;
    let agent = Agent::of(&directory)?;
    if let Some(agent) = &agent {
        overlay(&mut inspection, &agent.logs()?);
    }
    let exporters = || agent.as_ref().map_or_else(|| Ok(Vec::new()), Agent::exporters);
    match globals.output {
        Output::Json => output::print_json(&to_json(&inspection, &exporters()?))?,
        Output::Text => output::print_text(&to_text(&inspection, args.segments))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts what only the running agent knows over what the files say.
fn overlay(inspection: &mut Inspection, known: &[Value]) {
    for log in &mut inspection.logs {
        if let Some(known) = known.iter().find(|known| known["log"] == log.name.as_str()) {
            (log.max_size, log.poisoned) = (known["max_size"].as_u64(), known["poisoned"].as_bool());
        }
    }
}

fn to_json(inspection: &Inspection, exporters: &[Value]) -> Value {
    json!({
        "directory": inspection.directory,
        "spool_id": format!("{:032x}", inspection.spool_id),
        "owner": inspection.owner.as_ref().map(|owner| json!({ "pid": owner.pid, "alive": owner.alive })),
        "logs": inspection.logs.iter().map(|log| log_json(log, exporters)).collect::<Vec<_>>(),
    })
}

fn log_json(log: &LogInspection, exporters: &[Value]) -> Value {
    let segments: Vec<Value> = log
        .segments
        .iter()
        .map(|s| {
            json!({ "id": s.id, "state": s.state, "first_sequence": s.first_sequence,
                    "last_sequence": s.last_sequence, "bytes": s.bytes })
        })
        .collect();
    json!({
        "name": log.name,
        "signal": signal(log),
        "first_sequence": log.first_sequence,
        "last_sequence": log.last_sequence,
        "records": log.items,
        "bytes": log.bytes,
        "max_size": log.max_size,
        "durability": output::durability(log.durability),
        "poisoned": log.poisoned,
        "damaged_bytes": log.damaged_bytes,
        "segments": segments,
        "cursors": log.cursors.iter().map(|cursor| cursor_json(&log.name, cursor, exporters)).collect::<Vec<_>>(),
        "ledger": ledger_json(log),
    })
}

fn cursor_json(log: &str, cursor: &CursorInspection, exporters: &[Value]) -> Value {
    let exporter = exporters.iter().find(|e| e["log"] == log && e["cursor"] == cursor.name.as_str());
    json!({
        "name": cursor.name,
        "required": cursor.required,
        "paused": cursor.paused,
        "sequence": cursor.sequence,
        "pending_records": cursor.pending.items,
        "pending_bytes": cursor.pending.bytes,
        "oldest_age_s": cursor.pending.oldest_age.map(|age| age.as_secs_f64()),
        // Known to the running agent alone; it is not on disk.
        "last_error": exporter.map(|e| &e["last_error"]),
    })
}

fn ledger_json(log: &LogInspection) -> Value {
    let by_cursor = |count: fn(&CursorInspection) -> u64| -> BTreeMap<&str, u64> {
        log.cursors.iter().map(|c| (c.name.as_str(), count(c))).collect()
    };
    let mut dropped: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, items) in log.cursors.iter().flat_map(|c| &c.dropped_items) {
        *dropped.entry(reason).or_default() += items;
    }
    json!({
        "accepted": log.accepted_items,
        "delivered": by_cursor(|c| c.delivered_items),
        "parked": by_cursor(|c| c.parked_items),
        "dropped": dropped,
        "skipped": by_cursor(|c| c.skipped_items),
        "pending": by_cursor(|c| c.pending.items),
    })
}

fn signal(log: &LogInspection) -> Option<&'static str> {
    log.content.and_then(Signal::from_tag).map(Signal::name)
}

fn to_text(inspection: &Inspection, segments: bool) -> String {
    let mut text = Text(String::new());
    let owner = match &inspection.owner {
        Some(owner) if owner.alive => format!("owned by process {}, live", owner.pid),
        Some(owner) => format!("not open; last owned by process {}", owner.pid),
        None => "not open".to_owned(),
    };
    text.line(format_args!("{HEADING}{}{HEADING:#} {DIM}({owner}){DIM:#}", inspection.directory.display()));
    if inspection.logs.is_empty() {
        text.line(format_args!("no logs yet"));
    }
    for log in &inspection.logs {
        log_text(&mut text, log, segments);
    }
    text.0
}

fn log_text(text: &mut Text, log: &LogInspection, segments: bool) {
    let signal = signal(log).unwrap_or("empty");
    text.line(format_args!(""));
    text.line(format_args!(
        "{HEADING}{}{HEADING:#} {DIM}({signal}, durability {}){DIM:#}",
        log.name,
        output::durability(log.durability)
    ));
    text.line(format_args!(
        "  {} records in {}{} on disk, sequences {} to {}, accepted in all {}",
        log.items,
        output::bytes(log.bytes),
        log.max_size.map_or_else(String::new, |cap| format!(" of {}", output::bytes(cap))),
        log.first_sequence,
        log.last_sequence,
        log.accepted_items
    ));
    if log.poisoned == Some(true) {
        text.line(format_args!(
            "  {WARNING}poisoned: a sync failed, the log rewrites what it covered elsewhere{WARNING:#}"
        ));
    }
    if log.damaged_bytes > 0 {
        let bytes = output::bytes(log.damaged_bytes);
        text.line(format_args!("  {WARNING}{bytes} damaged and set aside in damaged/{WARNING:#}"));
    }
    for cursor in &log.cursors {
        cursor_text(text, cursor);
    }
    if segments {
        for s in &log.segments {
            let bytes = output::bytes(s.bytes);
            text.line(format_args!(
                "  segment {:016x} {}: {} to {}, {bytes}",
                s.id, s.state, s.first_sequence, s.last_sequence
            ));
        }
    }
}

fn cursor_text(text: &mut Text, cursor: &CursorInspection) {
    let pending = cursor.pending;
    let paused = if cursor.paused { format!("{WARNING}paused{WARNING:#}, ") } else { String::new() };
    let state = match pending.oldest_age {
        Some(age) if pending.items > 0 => format!(
            "{WARNING}{} records pending{WARNING:#}, {}, oldest {:.0} s",
            pending.items,
            output::bytes(pending.bytes),
            age.as_secs_f64()
        ),
        _ => format!("{GOOD}nothing pending{GOOD:#}"),
    };
    let dropped: u64 = cursor.dropped_items.iter().map(|(_, items)| items).sum();
    text.line(format_args!(
        "  cursor {}: {paused}{state}; delivered {}, parked {}, dropped {dropped}, skipped {}",
        cursor.name, cursor.delivered_items, cursor.parked_items, cursor.skipped_items
    ));
}

/// Lines of text; writing to a `String` cannot fail.
struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").unwrap_or_default();
    }
}
