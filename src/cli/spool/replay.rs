//! `tidegate spool replay`: sends again what was delivered once, or what was parked.

use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::cursor::{Which, show_move};
use super::owner::{Agent, Owner};
use super::select::{self, Selected, records};
use crate::cli::Globals;
use crate::cli::origin::Origin;
use crate::cli::output::{self, Failure, Output};
use crate::cli::sources;

/// Send records again: from a place in the log on, or the dead letters
///
/// From a place: the cursor goes back and its exporter sends again all that lies between; it is counted as replayed, not
/// as delivered. Dead letters are sent by the running agent, each once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate spool replay logs:otlp --from 2h             what was recorded in the last two hours\n  \
    tidegate spool replay logs:otlp --from oldest --dry-run\n  \
    tidegate spool replay logs:otlp --dead-letters        what the backend refused\n\n\
    Exit codes: 0 done, 1 a dead letter was refused again or is left, or nothing could be done.")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// From the oldest record, from a sequence, or from a time: 2026-05-07T00:11:49Z, or 15m for a quarter hour ago
    #[arg(long, value_name = "oldest|SEQ|TIME", required_unless_present = "dead_letters")]
    from: Option<Origin>,
    /// What the backend refused
    #[arg(long, conflicts_with = "from")]
    dead_letters: bool,
    /// Say what it would do, and do nothing
    #[arg(long, conflicts_with = "dead_letters")]
    dry_run: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.which.config, globals)?;
    let selected = select::cursor(&directory, args.which.log.as_deref(), &args.which.cursor)?;
    match args.from {
        Some(from) => from_place(&directory, &selected, from, args.dry_run, globals),
        None => dead_letters(&directory, &selected, globals),
    }
}

fn from_place(
    directory: &Path,
    selected: &Selected,
    from: Origin,
    dry_run: bool,
    globals: &Globals,
) -> Result<ExitCode, Failure> {
    let Selected { log, cursor } = selected;
    let owner = Owner::of(directory)?;
    let planned = owner.seek(log, &cursor.name, from.into(), true)?;
    if planned.to_sequence >= planned.from_sequence {
        let failure = Failure::new(format!(
            "nothing to replay: cursor {} stands at sequence {}, and --from is at {}",
            cursor.name, planned.from_sequence, planned.to_sequence
        ));
        return Err(match (planned.oldest_sequence, planned.oldest_time_unix_nanos) {
            (Some(oldest), Some(time)) => failure.help(format!(
                "the oldest record that can be sent again is at sequence {oldest}, of {}",
                select::time(time)
            )),
            _ => failure.help("the log holds no record"),
        });
    }
    let moved = if dry_run { planned } else { owner.seek(log, &cursor.name, from.into(), false)? };
    let code = show_move(log, &cursor.name, &moved, !dry_run, globals)?;
    if let (Owner::Nobody(_), false) = (&owner, dry_run) {
        output::tell("no agent runs: the records are sent when it starts\n");
    }
    Ok(code)
}

fn dead_letters(directory: &Path, selected: &Selected, globals: &Globals) -> Result<ExitCode, Failure> {
    let Selected { log, cursor } = selected;
    let Some(agent) = Agent::of(directory)? else {
        return Err(Failure::new("dead letters are sent by the exporter that parked them, and no agent runs")
            .help("start it, tidegate run, and try again"));
    };
    // Drawn on standard error, and only when that is a terminal.
    let bar = ProgressBar::new(0).with_style(bar_style());
    let answer = agent.replay_dead_letters(log, &cursor.name, &mut |step| {
        bar.set_length(step["total_records"].as_u64().unwrap_or_default());
        bar.set_position(step["done_records"].as_u64().unwrap_or_default());
    });
    bar.finish_and_clear();
    let answer = answer?;
    let count = |key: &str| answer[key].as_u64();
    let (Some(sent), Some(refused), Some(left)) =
        (count("sent_records"), count("refused_records"), count("left_records"))
    else {
        return Err(Failure::new(answer["error"].as_str().unwrap_or("the agent gave no reason")));
    };
    match globals.output {
        Output::Json => output::print_json(&dead_letters_json(selected, &answer))?,
        Output::Text => output::print_text(&dead_letters_text(selected, &answer, sent, refused, left))?,
    }
    Ok(if refused + left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos} of {len} records, {per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn dead_letters_json(selected: &Selected, answer: &Value) -> Value {
    json!({
        "log": selected.log, "cursor": selected.cursor.name, "sent_records": answer["sent_records"],
        "refused_records": answer["refused_records"], "duplicate_records": answer["duplicate_records"],
        "left_records": answer["left_records"], "last_error": answer["error"],
        "oldest_time": answer["oldest_time_unix_nanos"].as_u64().map(select::time),
    })
}

fn dead_letters_text(selected: &Selected, answer: &Value, sent: u64, refused: u64, left: u64) -> String {
    let mut text = match answer["oldest_time_unix_nanos"].as_u64() {
        Some(time) => format!("the oldest dead letter of log {} is of {}\n", selected.log, select::time(time)),
        None => format!("log {} has no dead letters\n", selected.log),
    };
    text.push_str(&format!("{} sent again\n", records(sent)));
    if refused > 0 {
        text.push_str(&format!("{} refused again, kept in the dead letters\n", records(refused)));
    }
    if left > 0 {
        text.push_str(&format!("{} left for the next time\n", records(left)));
    }
    if let (Some(error), true) = (answer["error"].as_str(), refused + left > 0) {
        text.push_str(&format!("the backend said: {error}\n"));
    }
    text
}
