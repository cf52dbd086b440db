//! What reaches the device: sectors written, from the kernel's own count. Nothing else may write to that device
//! meanwhile.

use std::error::Error;
use std::path::Path;

use tidegate::spool::Durability;

use super::ours::Ours;
use super::turn::Until;
use crate::device::{sectors_written, settle};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Payload bytes appended for each row.
    #[arg(long, default_value_t = 2 << 30)]
    bytes: u64,
}

const ROWS: [(usize, usize); 4] = [(131_072, 1), (131_072, 16), (4096, 64), (4096, 1)];

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!("bytes written to the device per payload byte; {} MB a row", args.bytes / 1_000_000);
    println!("| payload | producers | recycled segments | a growing log |\n|---|---|---|---|");
    for (size, producers) in ROWS {
        // One producer alone writes a block more for each append; less of it says as much.
        let bytes = if (size, producers) == (4096, 1) { args.bytes / 16 } else { args.bytes };
        let recycled = row(dir, |dir| Ours::recycling(dir, size, Durability::Sync), producers, bytes)?;
        let growing = row(dir, |dir| Ours::growing(dir, size, Durability::Sync), producers, bytes)?;
        println!("| {size} | {producers} | {recycled:.3} | {growing:.3} |");
    }
    Ok(())
}

fn row(
    dir: &Path,
    open: impl Fn(&Path) -> Result<Ours, Box<dyn Error>>,
    producers: usize,
    bytes: u64,
) -> Result<f64, Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let ours = open(dir.path())?;
    settle(dir.path())?;
    let before = sectors_written(dir.path())?;
    ours.turn(producers, Until::Bytes(bytes))?;
    settle(dir.path())?;
    Ok((sectors_written(dir.path())? - before) as f64 * 512.0 / bytes as f64)
}
