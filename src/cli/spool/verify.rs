//! `tidegate spool verify`: every checksum, and whether the ledger closes.

use std::fmt::Write as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::Globals;
use crate::cli::output::{self, DIM, ERROR, Failure, GOOD, HEADING, Output};
use crate::cli::sources::{self, ConfigArgs};
use crate::spool::{Damage, LogVerification, Reader, Verification};

/// Check every checksum; exit 1 when anything is damaged
///
/// Reads beside a running agent or without one, and repairs nothing: the agent sets damage aside when it meets it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate spool verify\n  \
    tidegate spool verify --output json | jq '.logs[].damage[]'\n\n\
    Exit codes: 0 nothing is damaged, 1 something is, or the directory cannot be read.")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.config, globals)?;
    let reader = Reader::open(&directory).map_err(|e| output::spool_failure(&e))?;
    // Drawn on standard error, and only when that is a terminal.
    let bar = ProgressBar::new(0).with_style(bar_style());
    let verification = reader
        .verify(&mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })
        .map_err(|e| output::spool_failure(&e));
    bar.finish_and_clear();
    let verification = verification?;
    match globals.output {
        Output::Json => output::print_json(&to_json(&verification))?,
        Output::Text => output::print_text(&to_text(&verification))?,
    }
    Ok(if is_ok(&verification) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_live(verification: &Verification) -> bool {
    verification.owner.as_ref().is_some_and(|owner| owner.alive)
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn all(verification: &Verification) -> impl Iterator<Item = &LogVerification> {
    verification.logs.iter().chain(&verification.dead_letters)
}

fn is_ok(verification: &Verification) -> bool {
    all(verification).all(|log| log.damage.is_empty() && log.ledger_closes)
}

fn to_json(verification: &Verification) -> Value {
    let log = |log: &LogVerification| {
        let ranges = |ranges: &[Damage]| -> Vec<Value> {
            let range = |d: &Damage| {
                json!({ "segment": d.segment, "offset": d.offset, "bytes": d.bytes,
                        "reason": d.reason, "frames_lost": d.frames_lost })
            };
            ranges.iter().map(range).collect()
        };
        json!({ "name": log.name, "frames": log.frames, "bytes": log.bytes, "damage": ranges(&log.damage),
                "torn": ranges(&log.torn), "ledger_closes": log.ledger_closes })
    };
    let logs = |logs: &[LogVerification]| -> Vec<Value> { logs.iter().map(log).collect() };
    json!({ "ok": is_ok(verification), "live": is_live(verification), "logs": logs(&verification.logs),
            "dead_letters": logs(&verification.dead_letters) })
}

fn to_text(verification: &Verification) -> String {
    let mut text = String::new();
    for log in all(verification) {
        log_text(&mut text, log);
    }
    if verification.logs.is_empty() {
        text.push_str("no logs yet\n");
    }
    if is_live(verification) {
        line(&mut text, format_args!("{DIM}live: what its owner is just writing was not looked at{DIM:#}"));
    }
    text
}

fn log_text(text: &mut String, log: &LogVerification) {
    let verdict = if log.damage.is_empty() && log.ledger_closes {
        format!("{GOOD}ok{GOOD:#}")
    } else {
        format!("{ERROR}damaged{ERROR:#}")
    };
    let bytes = output::bytes(log.bytes);
    line(text, format_args!("{HEADING}{}{HEADING:#}: {verdict}, {} frames, {bytes}", log.name, log.frames));
    for damage in &log.damage {
        range_text(text, damage, "damaged");
    }
    for torn in &log.torn {
        range_text(text, torn, "cut by a crash, and never acknowledged as durable");
    }
    if !log.ledger_closes {
        line(text, format_args!("  the ledger does not close: the counters on disk disagree with the frames"));
    }
}

fn range_text(text: &mut String, range: &Damage, what: &str) {
    let place = match range.segment {
        0 => String::new(),
        segment => format!("segment {segment:016x} at byte {}: ", range.offset),
    };
    let (bytes, frames, reason) = (range.bytes, range.frames_lost, &range.reason);
    line(text, format_args!("  {place}{bytes} bytes {what}, {frames} frames lost: {reason}"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}
