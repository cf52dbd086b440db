//! `tidegate spool cursor`: lists, moves, pauses, resumes, removes.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::owner::{Agent, Owner};
use super::select::{self, Selected, records};
use crate::cli::Globals;
use crate::cli::origin::Origin;
use crate::cli::output::{self, DIM, Failure, GOOD, HEADING, Output, WARNING};
use crate::cli::sources::{self, ConfigArgs};
use crate::spool::{CursorInspection, From, Move, Reader};

/// List, move, pause, resume or remove the cursors of exporters
///
/// Beside a running agent through its control socket, else on the files themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Move(MoveTo),
    Pause(Pause),
    Resume(Resume),
    Remove(Remove),
}

/// Show every cursor, what it did and what it still has to do
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate spool cursor list\n  \
    tidegate spool cursor list --output json | jq '.[] | select(.pending_records > 0)'")]
struct List {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this log
    #[arg(long, value_name = "NAME")]
    log: Option<String>,
}

/// Which cursor.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// The cursor's name, as `cursor list` shows it
    pub(super) cursor: String,
    /// The log that it reads; needed when several logs have such a cursor
    #[arg(long, value_name = "NAME")]
    pub(super) log: Option<String>,
}

/// Move a cursor; forward, what lies between is never delivered
///
/// Back is a replay: see `tidegate spool replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate spool cursor move logs:otlp --to newest --yes    give up what is pending\n  \
    tidegate spool cursor move logs:otlp --to 4711 --dry-run  what that would skip")]
struct MoveTo {
    #[command(flatten)]
    which: Which,
    /// To the oldest record, after the newest, to a sequence, or to a time: 2026-05-07T00:11:49Z, or 15m
    #[arg(long, value_name = "oldest|newest|SEQ|TIME")]
    to: Origin,
    /// Say what it would do, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Skip records without asking
    #[arg(long)]
    yes: bool,
}

/// Stop an exporter's deliveries, until it is resumed
///
/// It outlives restarts. What is pending is kept, within the limits of the log.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate spool cursor pause logs:otlp")]
struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Let a paused exporter go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate spool cursor resume logs:otlp")]
struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Remove a cursor whose exporter is gone
///
/// It holds no data any more. An exporter of its name would begin anew. One that an exporter uses is not removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate spool cursor remove logs:otlp/old --yes")]
struct Remove {
    #[command(flatten)]
    which: Which,
    /// Give up what it did not deliver without asking
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::List(args) => list(args, globals),
        Command::Move(args) => move_to(args, globals),
        Command::Pause(Pause { which }) => pause(which, globals, true),
        Command::Resume(Resume { which }) => pause(which, globals, false),
        Command::Remove(args) => remove(args, globals),
    }
}

fn move_to(args: &MoveTo, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.which.config, globals)?;
    let Selected { log, cursor } = select::cursor(&directory, args.which.log.as_deref(), &args.which.cursor)?;
    let owner = Owner::of(&directory)?;
    let name = &cursor.name;
    let planned = owner.seek(&log, name, args.to.into(), true)?;
    if args.dry_run {
        return show_move(&log, name, &planned, false, globals);
    }
    let moved = if planned.skipped_items > 0 {
        let skipped = records(planned.skipped_items);
        select::confirm(&format!("{skipped} would be skipped and never delivered to {name}"), args.yes)?;
        skip(&owner, &log, name, &planned)?
    } else {
        owner.seek(&log, name, args.to.into(), false)?
    };
    show_move(&log, name, &moved, true, globals)
}

/// Skips what was agreed to and not what came meanwhile; nothing when the exporter did it all, and is beyond.
fn skip(owner: &Owner, log: &str, cursor: &str, agreed: &Move) -> Result<Move, Failure> {
    let to = From::Sequence(agreed.to_sequence);
    let now = owner.seek(log, cursor, to, true)?;
    if now.from_sequence > agreed.to_sequence {
        return Ok(Move { to_sequence: now.from_sequence, skipped_items: 0, replayed_items: 0, ..now });
    }
    owner.seek(log, cursor, to, false)
}

/// Prints what a move did or would do.
pub(super) fn show_move(
    log: &str,
    cursor: &str,
    moved: &Move,
    done: bool,
    globals: &Globals,
) -> Result<ExitCode, Failure> {
    match globals.output {
        Output::Json => output::print_json(&json!({
            "log": log, "cursor": cursor, "done": done,
            "from_sequence": moved.from_sequence, "to_sequence": moved.to_sequence,
            "skipped_records": moved.skipped_items, "replayed_records": moved.replayed_items,
            "oldest_sequence": moved.oldest_sequence,
            "oldest_time": moved.oldest_time_unix_nanos.map(select::time),
        }))?,
        Output::Text => output::print_text(&move_text(log, cursor, moved, done))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn move_text(log: &str, cursor: &str, moved: &Move, done: bool) -> String {
    let Move { from_sequence: from, to_sequence: to, skipped_items: skipped, replayed_items: replayed, .. } = *moved;
    let mut text = match (moved.oldest_sequence, moved.oldest_time_unix_nanos) {
        (Some(oldest), Some(time)) => {
            format!("{DIM}the oldest record of log {log} is at sequence {oldest}, of {}{DIM:#}\n", select::time(time))
        }
        _ => format!("{DIM}log {log} holds no record{DIM:#}\n"),
    };
    let (moves, skips, sends) = match done {
        true => ("moved", "skipped", "are sent again"),
        false => ("would move", "would be skipped", "would be sent again"),
    };
    let what = match (skipped, replayed) {
        (0, 0) => "nothing skipped, nothing sent again".to_owned(),
        (0, n) => format!("{} {sends}", records(n)),
        (n, _) => format!("{} {skips}", records(n)),
    };
    // Writing to a String cannot fail.
    writeln!(text, "cursor {cursor} {moves} from sequence {from} to {to}: {what}").unwrap_or_default();
    text
}

fn pause(which: &Which, globals: &Globals, paused: bool) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&which.config, globals)?;
    let Selected { log, cursor } = select::cursor(&directory, which.log.as_deref(), &which.cursor)?;
    let owner = Owner::of(&directory)?;
    let (name, pending) = (&cursor.name, cursor.pending.items);
    let said = if paused {
        owner.pause(&log, name)?;
        format!("cursor {name} is paused until it is resumed; {} pending\n", records(pending))
    } else {
        owner.resume(&log, name)?;
        format!("cursor {name} goes on; {} pending\n", records(pending))
    };
    match globals.output {
        Output::Json => {
            output::print_json(&json!({ "log": log, "cursor": name, "paused": paused, "pending_records": pending }))?
        }
        Output::Text => output::print_text(&said)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(args: &Remove, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.which.config, globals)?;
    let Selected { log, cursor } = select::cursor(&directory, args.which.log.as_deref(), &args.which.cursor)?;
    let name = &cursor.name;
    let owner = Owner::of(&directory)?;
    if cursor.pending.items > 0 {
        let pending = records(cursor.pending.items);
        select::confirm(&format!("{pending} that cursor {name} did not deliver would be given up"), args.yes)?;
    }
    let pending = owner.remove(&log, name)?;
    match globals.output {
        Output::Json => {
            output::print_json(&json!({ "log": log, "cursor": name, "removed": true, "pending_records": pending }))?;
        }
        Output::Text => {
            output::print_text(&format!("cursor {name} is removed; it had {} pending\n", records(pending)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &List, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.config, globals)?;
    let inspection =
        Reader::open(&directory).and_then(|reader| reader.inspect()).map_err(|e| output::spool_failure(&e))?;
    let exporters = exporters(&directory)?;
    let mut all = Vec::new();
    for log in inspection.logs.iter().filter(|log| args.log.as_ref().is_none_or(|name| log.name == *name)) {
        for cursor in &log.cursors {
            let of = |e: &&Value| e["log"] == log.name.as_str() && e["cursor"] == cursor.name.as_str();
            all.push((log.name.as_str(), cursor, exporters.iter().find(of)));
        }
    }
    match globals.output {
        Output::Json => {
            output::print_json(&all.iter().map(|(log, cursor, e)| list_json(log, cursor, *e)).collect())?;
        }
        Output::Text if all.is_empty() => output::print_text("no cursors yet\n")?,
        Output::Text => {
            let text: String = all.iter().map(|(log, cursor, e)| list_text(log, cursor, *e)).collect();
            output::print_text(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What only a running agent knows.
pub(super) fn exporters(directory: &Path) -> Result<Vec<Value>, Failure> {
    Agent::of(directory)?.map_or_else(|| Ok(Vec::new()), |agent| agent.exporters())
}

fn list_json(log: &str, cursor: &CursorInspection, exporter: Option<&Value>) -> Value {
    let dropped: serde_json::Map<String, Value> =
        cursor.dropped_items.iter().map(|(reason, items)| (reason.clone(), (*items).into())).collect();
    json!({
        "log": log, "name": cursor.name, "required": cursor.required, "paused": cursor.paused,
        "sequence": cursor.sequence, "accepted_records": cursor.accepted_items,
        "delivered_records": cursor.delivered_items, "parked_records": cursor.parked_items, "dropped_records": dropped,
        "skipped_records": cursor.skipped_items, "pending_records": cursor.pending.items,
        "pending_bytes": cursor.pending.bytes,
        "oldest_age_s": cursor.pending.oldest_age.map(|age| age.as_secs_f64()),
        "replayed_records": cursor.replayed_items, "replaying_records": cursor.replaying_items,
        "state": exporter.map(|e| &e["state"]), "last_error": exporter.map(|e| &e["last_error"]),
    })
}

fn list_text(log: &str, cursor: &CursorInspection, exporter: Option<&Value>) -> String {
    let state = match exporter.and_then(|e| e["state"].as_str()) {
        _ if cursor.paused => format!("{WARNING}paused{WARNING:#}"),
        Some("ok") => format!("{GOOD}ok{GOOD:#}"),
        Some(other) => format!("{WARNING}{other}{WARNING:#}"),
        None => "not running".to_owned(),
    };
    let dropped: u64 = cursor.dropped_items.iter().map(|(_, items)| items).sum();
    let CursorInspection { name, sequence, delivered_items, parked_items, skipped_items, .. } = cursor;
    let mut text = format!("{HEADING}{name}{HEADING:#} {DIM}(log {log}){DIM:#}: {state}, at sequence {sequence}\n");
    let mut line = |what: String| writeln!(text, "  {what}").unwrap_or_default();
    line(format!(
        "{} pending, delivered {delivered_items}, parked {parked_items}, dropped {dropped}, skipped {skipped_items}",
        records(cursor.pending.items)
    ));
    if cursor.replayed_items + cursor.replaying_items > 0 {
        line(format!("replayed {}, {} still to be sent again", cursor.replayed_items, cursor.replaying_items));
    }
    if let Some(error) = exporter.and_then(|e| e["last_error"].as_str()) {
        line(format!("last error: {error}"));
    }
    text
}
