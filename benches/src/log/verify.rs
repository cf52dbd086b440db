//! Checking every checksum of a large log, beside the disk read in sequence.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use tidegate::spool::{Durability, Need, Reader, Start};

use super::drain::{forget, read_in_sequence, segments};
use super::ours::Ours;
use crate::report::{median, spread};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Payload sizes in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 131_072])]
    sizes: Vec<usize>,
    /// Payload bytes in the log.
    #[arg(long, default_value_t = 10 << 30)]
    backlog: u64,
    /// Turns; the median is given.
    #[arg(long, default_value_t = 5)]
    turns: usize,
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!("a log of {} MB, every page of it dropped before each turn; MB/s", args.backlog / 1_000_000);
    println!("| payload | verified | the disk read in sequence | ratio |\n|---|---|---|---|");
    for &size in &args.sizes {
        let dir = tempfile::tempdir_in(dir)?;
        let ours = Ours::growing(dir.path(), size, Durability::Sync)?;
        // Holds it all.
        drop(ours.log.cursor("drain", Start::Oldest, Need::Required)?);
        ours.fill(args.backlog)?;
        drop(ours);
        let files = segments(dir.path())?;
        let (mut verified, mut disk) = (Vec::new(), Vec::new());
        for _ in 0..args.turns {
            forget(&files)?;
            verified.push(verify(&dir.path().join("spool"), args.backlog)?);
            forget(&files)?;
            disk.push(read_in_sequence(&files)?);
        }
        let ratio = median(&mut verified) / median(&mut disk);
        println!("| {size} | {} | {} | {ratio:.2} |", spread(&mut verified), spread(&mut disk));
    }
    Ok(())
}

/// MB/s of payload.
fn verify(spool: &Path, backlog: u64) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let found = Reader::open(spool)?.verify(&mut |_, _| {})?;
    let seconds = start.elapsed().as_secs_f64();
    match found.logs.iter().all(|log| log.ledger_closes) {
        true => Ok(backlog as f64 / 1e6 / seconds),
        false => Err("the ledger does not close".into()),
    }
}
