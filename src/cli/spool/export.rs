//! `tidegate spool export`: what a log holds, as OTLP.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::select::records;
use crate::cli::Globals;
use crate::cli::origin::Origin;
use crate::cli::output::{self, Failure, Output, WARNING};
use crate::cli::sources::{self, ConfigArgs};
use crate::otlp::{Signal, json};
use crate::spool::{DeadLetter, Frame, From, Inspection, LogReader, Reader};

/// Write what a log holds as OTLP, to a file or to standard output
///
/// Reads beside a running agent or without one, and changes nothing: no cursor moves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate spool export --log kernel > kernel.jsonl\n  \
    tidegate spool export --log otlp --from 2h --to 1h --file last-hour.jsonl\n  \
    tidegate spool export --log traces --format proto --file traces.binpb\n\n\
    json is one export request a line, as the exporter `file` writes it. proto is the same requests in protobuf, each\n\
    after its length in four bytes, big-endian, as the Collector's file exporter writes it.")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The log; needed when there are several
    #[arg(long, value_name = "NAME")]
    log: Option<String>,
    /// From the oldest record, a sequence, or a time: 2026-05-07T00:11:49Z, or 15m for a quarter hour ago
    #[arg(long, value_name = "oldest|SEQ|TIME", default_value = "oldest")]
    from: Origin,
    /// Up to a sequence, included, or to a time [default: the newest record]
    #[arg(long, value_name = "newest|SEQ|TIME", default_value = "newest")]
    to: Origin,
    /// How requests are written
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Format,
    /// Write to a file that is not there yet [default: standard output]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The dead letters of the log, instead of the log
    #[arg(long)]
    dead_letters: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// OTLP JSON lines
    Json,
    /// Length-prefixed protobuf
    Proto,
}

/// What was written.
#[derive(Debug, Default)]
struct Written {
    frames: u64,
    records: u64,
    first_sequence: Option<u64>,
    last_sequence: Option<u64>,
    /// Frames that are no OTLP.
    left_out: u64,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.config, globals)?;
    let reader = Reader::open(&directory).map_err(|e| output::spool_failure(&e))?;
    let inspection = reader.inspect().map_err(|e| output::spool_failure(&e))?;
    let log = log_name(args, &inspection)?;
    let frames = match args.dead_letters {
        true => reader.read_dead_letters(&log),
        false => reader.read(&log, args.from.into()),
    };
    let frames = frames.map_err(|e| output::spool_failure(&e))?;
    // Drawn on standard error, and only when that is a terminal.
    let bar = ProgressBar::new(total(&inspection, &log)).with_style(bar_style());
    let written = match &args.file {
        Some(path) => create(path).and_then(|file| export(args, frames, BufWriter::new(file), &bar)),
        None => export(args, frames, BufWriter::new(io::stdout().lock()), &bar),
    };
    bar.finish_and_clear();
    report(&log, args, &written?, globals)?;
    Ok(ExitCode::SUCCESS)
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos} of at most {len} records, {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn log_name(args: &Args, inspection: &Inspection) -> Result<String, Failure> {
    let names: Vec<&str> = inspection.logs.iter().map(|log| log.name.as_str()).collect();
    let help = format!("the logs are: {}", names.join(", "));
    match (&args.log, names.as_slice()) {
        (Some(log), names) if names.contains(&log.as_str()) => Ok(log.clone()),
        (Some(log), _) => Err(Failure::new(format!("no log {log}")).help(help)),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(Failure::new("no logs yet")),
        (None, _) => Err(Failure::usage("there are several logs").help(format!("add --log NAME; {help}"))),
    }
}

fn total(inspection: &Inspection, log: &str) -> u64 {
    inspection.logs.iter().find(|l| l.name == log).map_or(0, |l| l.items)
}

#[allow(clippy::disallowed_methods, reason = "the file that the operator named")]
fn create(path: &Path) -> Result<std::fs::File, Failure> {
    // Records may hold what is nobody else's business.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let failure = Failure::new(format!("cannot create {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure.help("name a file that is not there yet"),
            _ => failure,
        }
    })
}

fn export(args: &Args, mut frames: LogReader, mut out: impl Write, bar: &ProgressBar) -> Result<Written, Failure> {
    let mut written = Written::default();
    let mut request = Vec::new();
    while let Some(frame) = frames.next().map_err(|e| output::spool_failure(&e))? {
        if is_after(&frame, args.to) {
            break;
        }
        if args.dead_letters && is_before(&frame, args.from) {
            continue;
        }
        let Some(frame) = unwrapped(frame, args.dead_letters) else {
            written.left_out += 1;
            continue;
        };
        match encode(&frame, args.format, &mut request) {
            Ok(()) => out.write_all(&request).map_err(|error| cannot_write(args, error))?,
            Err(reason) => {
                warn(&format!("sequence {}: {reason}; left out", frame.sequence));
                written.left_out += 1;
                continue;
            }
        }
        written.frames += 1;
        written.records += u64::from(frame.items);
        written.first_sequence.get_or_insert(frame.sequence);
        written.last_sequence = Some(frame.sequence);
        bar.inc(u64::from(frame.items));
    }
    out.flush().map_err(|error| cannot_write(args, error))?;
    Ok(written)
}

/// The refused bytes, where the frame is a dead letter.
fn unwrapped(frame: Frame, is_dead_letter: bool) -> Option<Frame> {
    if !is_dead_letter {
        return Some(frame);
    }
    let (_, letter) = DeadLetter::from_frame(&frame).ok()?;
    Some(Frame { payload: letter.payload, ..frame })
}

fn is_after(frame: &Frame, to: Origin) -> bool {
    match From::from(to) {
        From::Sequence(sequence) => frame.sequence > sequence,
        From::TimeUnixNanos(time) => frame.time_unix_nanos > time,
        From::Oldest => true,
        From::End | From::LastItems(_) => false,
    }
}

fn is_before(frame: &Frame, from: Origin) -> bool {
    match From::from(from) {
        From::Sequence(sequence) => frame.sequence < sequence,
        From::TimeUnixNanos(time) => frame.time_unix_nanos < time,
        From::End => true,
        From::Oldest | From::LastItems(_) => false,
    }
}

/// Puts a frame into `request`, as it is to be written.
fn encode(frame: &Frame, format: Format, request: &mut Vec<u8>) -> Result<(), String> {
    let signal = Signal::from_tag(frame.content).ok_or_else(|| format!("content {} is no OTLP", frame.content))?;
    request.clear();
    match format {
        Format::Json => {
            let mut line = String::with_capacity(frame.payload.len() * 3);
            json::write_line(signal, &frame.payload, &mut line).map_err(|error| error.to_string())?;
            request.extend_from_slice(line.as_bytes());
        }
        Format::Proto => {
            let length = u32::try_from(frame.payload.len()).map_err(|error| error.to_string())?;
            request.extend_from_slice(&length.to_be_bytes());
            request.extend_from_slice(&frame.payload);
        }
    }
    Ok(())
}

fn cannot_write(args: &Args, error: io::Error) -> Failure {
    match &args.file {
        Some(path) => Failure::new(format!("cannot write {}: {error}", path.display())),
        None => error.into(),
    }
}

fn warn(warning: &str) {
    output::tell(&format!("{WARNING}warning:{WARNING:#} {warning}\n"));
}

/// On standard error when the records went to standard output.
fn report(log: &str, args: &Args, written: &Written, globals: &Globals) -> Result<(), Failure> {
    let Written { frames, records: count, first_sequence, last_sequence, left_out } = written;
    if let (Some(path), Output::Json) = (&args.file, globals.output) {
        return output::print_json(&json!({
            "log": log, "file": path, "requests": frames, "records": count, "left_out": left_out,
            "first_sequence": first_sequence, "last_sequence": last_sequence,
        }));
    }
    let place = match (first_sequence, last_sequence) {
        (Some(first), Some(last)) => format!(", sequences {first} to {last}"),
        _ => String::new(),
    };
    let text = format!("{} of log {log} in {frames} requests{place}\n", records(*count));
    match args.file {
        Some(_) => output::print_text(&text),
        None => {
            output::tell(&text);
            Ok(())
        }
    }
}
