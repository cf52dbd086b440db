//! Reading a backlog with acks, from the cache and from the disk.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tidegate::spool::{Cursor, Durability, Need, Start};

use super::Peers;
use super::ours::Ours;
use super::peer::Peer;
use crate::report::{median, spread};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    peers: Peers,
    /// Payload sizes in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 131_072])]
    sizes: Vec<usize>,
    /// Payload bytes in the backlog.
    #[arg(long, default_value_t = 2 << 30)]
    backlog: u64,
    /// Payload bytes of a batch.
    #[arg(long, default_value_t = 2 << 20)]
    batch: usize,
    /// Turns; the median is given.
    #[arg(long, default_value_t = 5)]
    turns: usize,
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!("a backlog of {} MB, read in batches of {} bytes, each acked; MB/s", args.backlog / 1_000_000, args.batch);
    println!(
        "| payload | warm | from the disk | the disk read in sequence | ratio | Quiver, warm |\n|---|---|---|---|---|---|"
    );
    for &size in &args.sizes {
        let (mut warm, mut cold, mut disk, mut peer) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.turns {
            let dir = tempfile::tempdir_in(dir)?;
            let ours = Ours::growing(dir.path(), size, Durability::Sync)?;
            ours.fill(args.backlog)?;
            warm.push(drain(&mut ours.log.cursor("warm", Start::Oldest, Need::Optional)?, args)?);
            let files = segments(dir.path())?;
            forget(&files)?;
            cold.push(drain(&mut ours.log.cursor("cold", Start::Oldest, Need::Optional)?, args)?);
            forget(&files)?;
            disk.push(read_in_sequence(&files)?);
            peer.extend(quiver(dir.path(), size, args)?);
        }
        let ratio = median(&mut cold) / median(&mut disk);
        println!(
            "| {size} | {} | {} | {} | {ratio:.2} | {} |",
            spread(&mut warm),
            spread(&mut cold),
            spread(&mut disk),
            spread(&mut peer)
        );
    }
    Ok(())
}

/// MB/s of one cursor from the oldest frame to the newest, each batch acked.
fn drain(cursor: &mut Cursor, args: &Args) -> Result<f64, Box<dyn Error>> {
    let (start, mut bytes) = (Instant::now(), 0);
    while let Some(batch) = cursor.next_batch(args.batch)? {
        let (Some(first), Some(last)) = (batch.frames.first(), batch.frames.last()) else { break };
        cursor.ack(first.sequence, last.sequence, 0)?;
        bytes += batch.frames.iter().map(|frame| frame.payload.len()).sum::<usize>();
    }
    let seconds = start.elapsed().as_secs_f64();
    if (bytes as u64) < args.backlog / 100 * 99 {
        return Err(format!("only {bytes} bytes came").into());
    }
    Ok(bytes as f64 / 1e6 / seconds)
}

/// The log's segment files.
pub(super) fn segments(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir.join("spool/logs/bench"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seg-")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Drops the files' pages from the cache, so that the next read is the disk's.
pub(super) fn forget(files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    for path in files {
        let file = File::open(path)?;
        rustix::fs::fdatasync(&file)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// MB/s of the files read one after the other, in pieces of 1 MiB.
pub(super) fn read_in_sequence(files: &[PathBuf]) -> Result<f64, Box<dyn Error>> {
    let (start, mut bytes) = (Instant::now(), 0);
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let (file, mut offset) = (File::open(path)?, 0);
        loop {
            match file.read_at(&mut buffer, offset)? {
                0 => break,
                n => offset += n as u64,
            }
        }
        bytes += offset;
    }
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

fn quiver(dir: &Path, size: usize, args: &Args) -> Result<Option<f64>, Box<dyn Error>> {
    let Some(binary) = &args.peers.quiver else { return Ok(None) };
    let mut quiver = Peer::start(binary, &dir.join("quiver"), size, std::time::Duration::from_millis(25))?;
    quiver.drain(args.backlog).map(Some)
}
