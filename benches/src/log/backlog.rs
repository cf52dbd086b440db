//! Opening with a large backlog, cold, and the memory of draining it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tidegate::spool::{Durability, LogOptions, Need, Options, Spool, Start};

use super::drain::{forget, segments};
use super::ours::Ours;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Payload bytes in the backlog.
    #[arg(long, default_value_t = 10 << 30)]
    backlog: u64,
    /// Payload size in bytes.
    #[arg(long, default_value_t = 131_072)]
    size: usize,
    /// Turns.
    #[arg(long, default_value_t = 5)]
    turns: usize,
}

/// Opens and drains a spool, and says what that took.
#[derive(clap::Args)]
pub(crate) struct OpenAndDrain {
    spool: PathBuf,
    /// Only opens.
    #[arg(long)]
    open_only: bool,
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let ours = Ours::growing(dir.path(), args.size, Durability::Sync)?;
    // Holds the backlog, and has to be opened with it.
    drop(ours.log.cursor("drain", Start::Oldest, Need::Required)?);
    ours.fill(args.backlog)?;
    drop(ours);
    let files = segments(dir.path())?;
    println!(
        "{} segments, {} MB of payload; every page of them dropped before each turn",
        files.len(),
        args.backlog / 1_000_000
    );
    for turn in 0..args.turns {
        forget(&files)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["log", "open-and-drain"]).arg(dir.path().join("spool"));
        // What is drained is passed: only the last turn drains.
        if turn + 1 < args.turns {
            command.arg("--open-only");
        }
        if !command.status()?.success() {
            return Err("the process that opens failed".into());
        }
    }
    Ok(())
}

pub(super) fn open_and_drain(args: &OpenAndDrain) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let log = LogOptions { retain_size: u64::MAX, ..LogOptions::default() };
    let spool = Spool::open(&args.spool, Options { max_size: Some(64 << 30), log, ..Options::default() })?;
    let log = spool.log("bench")?;
    let mut cursor = log.cursor("drain", Start::Oldest, Need::Required)?;
    println!("opened in {:.1} ms; RSS {}", start.elapsed().as_secs_f64() * 1e3, status("VmRSS:")?);
    if !args.open_only {
        let (start, mut bytes) = (Instant::now(), 0);
        while let Some(batch) = cursor.next_batch(2 << 20)? {
            let (Some(first), Some(last)) = (batch.frames.first(), batch.frames.last()) else { break };
            cursor.ack(first.sequence, last.sequence, 0)?;
            bytes += batch.frames.iter().map(|frame| frame.payload.len()).sum::<usize>();
        }
        let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
        println!("drained {} MB at {rate:.0} MB/s; peak RSS {}", bytes / 1_000_000, status("VmHWM:")?);
    }
    drop(cursor);
    spool.close()?;
    Ok(())
}

fn status(field: &str) -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field in /proc/self/status")?;
    Ok(line[field.len()..].trim().to_owned())
}
