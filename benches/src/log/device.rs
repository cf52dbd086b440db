//! What reaches the device: sectors written, from the kernel's own count. Nothing else may write to that device
//! meanwhile.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tidegate::spool::Durability;

use super::Peers;
use super::ours::Ours;
use super::peer::Peer;
use super::turn::Until;
use crate::device::{sectors_written, settle};
use crate::report::fine_spread;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Payload bytes appended in each turn.
    #[arg(long, default_value_t = 1 << 30)]
    bytes: u64,
    /// What a growing log holds before it is measured, in bytes.
    #[arg(long, default_value_t = 4 << 30)]
    grown: u64,
    /// How long Quiver appends in its turn, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Turns of each contestant, in rotation; the median is given.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    #[command(flatten)]
    peers: Peers,
}

const ROWS: [(usize, usize); 4] = [(131_072, 1), (131_072, 16), (4096, 64), (4096, 1)];

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!(
        "bytes written to the device per payload byte; {} MB a turn, {} turns",
        args.bytes / 1_000_000,
        args.turns
    );
    println!("| payload | producers | recycled segments | a growing log | Quiver |\n|---|---|---|---|---|");
    for (size, producers) in ROWS {
        let dir = tempfile::tempdir_in(dir)?;
        // One producer alone writes a block more for each append; less of it says as much.
        let bytes = if (size, producers) == (4096, 1) { args.bytes / 16 } else { args.bytes };
        let recycling = Ours::recycling(&dir.path().join("recycling"), size, Durability::Sync)?;
        let growing = Ours::growing(&dir.path().join("growing"), size, Durability::Sync)?;
        growing.fill(args.grown)?;
        let start = |binary| Peer::start(binary, &dir.path().join("quiver"), size, Duration::ZERO);
        let mut quiver = args.peers.quiver.as_deref().map(start).transpose()?;
        let (mut recycled, mut grown, mut peer) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.turns {
            let turn = |ours: &Ours| Ok(ours.turn(producers, Until::Bytes(bytes))?.count * size as u64);
            recycled.push(written(dir.path(), || turn(&recycling))?);
            grown.push(written(dir.path(), || turn(&growing))?);
            if let Some(quiver) = &mut quiver {
                let turn =
                    || Ok((quiver.append(producers, args.seconds)?.per_second * args.seconds) as u64 * size as u64);
                peer.push(written(dir.path(), turn)?);
            }
        }
        let [recycled, grown, peer] = [recycled, grown, peer].map(|mut all| fine_spread(&mut all));
        println!("| {size} | {producers} | {recycled} | {grown} | {peer} |");
    }
    Ok(())
}

/// Bytes that reached the device for each payload byte that a turn says it appended.
fn written(dir: &Path, turn: impl FnOnce() -> Result<u64, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    settle(dir)?;
    let before = sectors_written(dir)?;
    let bytes = turn()?;
    settle(dir)?;
    Ok((sectors_written(dir)? - before) as f64 * 512.0 / bytes as f64)
}
