//! Opening with a large backlog, cold, and the memory of draining it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::spool::{Durability, LogOptions, Need, Options, Spool, Start};

use super::Peers;
use super::drain::{forget, segments};
use super::ours::Ours;
use super::peer::Peer;
use crate::report::{fine_spread, spread};

/// As Quiver comes.
const FLUSH: Duration = Duration::from_millis(25);

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
    #[command(flatten)]
    peers: Peers,
}

/// Opens and drains a spool, and says what that took.
#[derive(clap::Args)]
pub(crate) struct OpenAndDrain {
    spool: PathBuf,
    /// Whose cursor drains.
    cursor: String,
}

/// What a turn came to.
#[derive(Default)]
struct Turns {
    opened_ms: Vec<f64>,
    opened_mb: Vec<f64>,
    drained: Vec<f64>,
    peak_mb: Vec<f64>,
}

impl Turns {
    fn add(&mut self, [opened_ms, opened_mb, drained, peak_mb]: [f64; 4]) {
        self.opened_ms.push(opened_ms);
        self.opened_mb.push(opened_mb);
        self.drained.push(drained);
        self.peak_mb.push(peak_mb);
    }

    fn print(&mut self, who: &str) {
        println!(
            "| {who} | {} | {} | {} | {} |",
            fine_spread(&mut self.opened_ms),
            spread(&mut self.opened_mb),
            spread(&mut self.drained),
            spread(&mut self.peak_mb)
        );
    }
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let ours = Ours::growing(dir.path(), args.size, Durability::Sync)?;
    // Each holds the backlog, has to be opened with it, and is drained in one turn.
    for turn in 0..args.turns {
        drop(ours.log.cursor(&cursor(turn), Start::Oldest, Need::Required)?);
    }
    ours.fill(args.backlog)?;
    drop(ours);
    let peer = dir.path().join("quiver");
    if let Some(binary) = &args.peers.quiver {
        Peer::start(binary, &peer, args.size, FLUSH)?.fill(args.backlog)?;
    }
    let files = segments(dir.path())?;
    println!(
        "{} segments, {} MB of payload, a process for each turn; every page dropped before it",
        files.len(),
        args.backlog / 1_000_000
    );
    println!("| | opened after ms | memory then, MB | drained, MB/s | peak memory, MB |\n|---|---|---|---|---|");
    let (mut own, mut theirs) = (Turns::default(), Turns::default());
    for turn in 0..args.turns {
        forget(&files)?;
        own.add(in_a_process(&dir.path().join("spool"), &cursor(turn))?);
        // What Quiver drained is gone: one turn of it.
        if let (Some(binary), 0) = (&args.peers.quiver, turn) {
            forget(&files_below(&peer)?)?;
            theirs.add(quiver(binary, &peer, args.size)?);
        }
    }
    own.print("tidegate");
    if args.peers.quiver.is_some() {
        theirs.print("Quiver");
    }
    Ok(())
}

fn cursor(turn: usize) -> String {
    format!("drain-{turn}")
}

fn in_a_process(spool: &Path, cursor: &str) -> Result<[f64; 4], Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["log", "open-and-drain"]).arg(spool).arg(cursor).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the process that opens failed".into());
    }
    let numbers: Vec<f64> =
        String::from_utf8(output.stdout)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().map_err(|other| format!("the process that opens answered {other:?}").into())
}

fn quiver(binary: &Path, dir: &Path, size: usize) -> Result<[f64; 4], Box<dyn Error>> {
    let start = Instant::now();
    let mut peer = Peer::start(binary, dir, size, FLUSH)?;
    // Its first answer comes when it is open.
    peer.fill(0)?;
    let opened = start.elapsed().as_secs_f64() * 1e3;
    let memory = peer.memory("VmRSS:")?;
    let drained = peer.drain_what_is_there()?;
    Ok([opened, memory, drained, peer.memory("VmHWM:")?])
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

pub(super) fn open_and_drain(args: &OpenAndDrain) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let log = LogOptions { retain_size: u64::MAX, ..LogOptions::default() };
    let spool = Spool::open(&args.spool, Options { max_size: Some(64 << 30), log, ..Options::default() })?;
    let log = spool.log("bench")?;
    let mut cursor = log.cursor(&args.cursor, Start::Oldest, Need::Required)?;
    println!("{} {}", start.elapsed().as_secs_f64() * 1e3, memory_of("self", "VmRSS:")?);
    let (start, mut bytes) = (Instant::now(), 0);
    while let Some(batch) = cursor.next_batch(2 << 20)? {
        let (Some(first), Some(last)) = (batch.frames.first(), batch.frames.last()) else { break };
        cursor.ack(first.sequence, last.sequence, 0)?;
        bytes += batch.frames.iter().map(|frame| frame.payload.len()).sum::<usize>();
    }
    println!("{} {}", bytes as f64 / 1e6 / start.elapsed().as_secs_f64(), memory_of("self", "VmHWM:")?);
    drop(cursor);
    spool.close()?;
    Ok(())
}

/// Of a process, in MB.
pub(super) fn memory_of(process: &str, field: &str) -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field in /proc/PID/status")?;
    let kib: f64 = line[field.len()..].trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0 / 1e6)
}
