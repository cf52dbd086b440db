//! `tidegate spool verify`: every checksum, and whether the ledger closes.

use std::fmt::Write as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::Globals;
use crate::cli::output::{self, ERROR, Failure, GOOD, HEADING, Output};
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

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn is_ok(verification: &Verification) -> bool {
    verification.logs.iter().all(|log| log.damage.is_empty() && log.ledger_closes)
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
    json!({ "ok": is_ok(verification), "logs": verification.logs.iter().map(log).collect::<Vec<_>>() })
}

fn to_text(verification: &Verification) -> String {
    let mut text = String::new();
    for log in &verification.logs {
        let verdict = if log.damage.is_empty() && log.ledger_closes {
            format!("{GOOD}ok{GOOD:#}")
        } else {
            format!("{ERROR}damaged{ERROR:#}")
        };
        let bytes = output::bytes(log.bytes);
        // Writing to a String cannot fail.
        writeln!(text, "{HEADING}{}{HEADING:#}: {verdict}, {} frames, {bytes}", log.name, log.frames)
            .unwrap_or_default();
        for d in &log.damage {
            let (segment, offset, bytes) = (d.segment, d.offset, d.bytes);
            writeln!(
                text,
                "  segment {segment:016x} at byte {offset}: {bytes} bytes, {} frames lost: {}",
                d.frames_lost, d.reason
            )
            .unwrap_or_default();
        }
        for d in &log.torn {
            let (segment, offset, bytes) = (d.segment, d.offset, d.bytes);
            writeln!(
                text,
                "  segment {segment:016x} at byte {offset}: {bytes} bytes cut by a crash, {} frames that were never \
                 acknowledged as durable",
                d.frames_lost
            )
            .unwrap_or_default();
        }
        if !log.ledger_closes {
            writeln!(text, "  the ledger does not close: the counters on disk disagree with the frames")
                .unwrap_or_default();
        }
    }
    if verification.logs.is_empty() {
        text.push_str("no logs yet\n");
    }
    text
}
