//! Appends per second and how long an ack takes.

use std::error::Error;
use std::path::Path;

use tidegate::spool::Durability;

use super::bare::BareLoop;
use super::ours::Ours;
use super::peer::Peer;
use super::turn::Turn;
use super::{Peers, Turns};
use crate::report::{median, spread};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    turns: Turns,
    #[command(flatten)]
    peers: Peers,
    /// Payload sizes in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 131_072])]
    sizes: Vec<usize>,
    /// Producers that append at once, each waiting for its ack.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    producers: Vec<usize>,
    /// Into a log that grows, of at least --grown bytes, instead of recycled segments.
    #[arg(long)]
    growing: bool,
    /// What a growing log holds before it is measured, in bytes.
    #[arg(long, default_value_t = 4 << 30)]
    grown: u64,
    /// Acks after the write instead of the sync.
    #[arg(long)]
    unsynced: bool,
}

/// What one contestant did in all its turns.
#[derive(Default)]
struct Record {
    name: &'static str,
    /// Appends per second.
    rates: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

impl Record {
    fn named(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// A turn whose every operation was `each` appends.
    fn add(&mut self, turn: &Turn, each: usize) {
        self.rates.push(turn.per_second() * each as f64);
        self.p50_us.push(turn.quantile(0.5));
        self.p99_us.push(turn.quantile(0.99));
    }
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    let what = if args.unsynced { "unsynced" } else { "synced" };
    let place = if args.growing { "a growing log" } else { "recycled segments" };
    println!("{what} appends into {place}: {} turns of {} s in rotation", args.turns.turns, args.turns.seconds);
    println!(
        "| payload | producers | who | appends/s: median (least–greatest) | MB/s | p50 µs | p99 µs | tidegate is |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for &size in &args.sizes {
        for &producers in &args.producers {
            let mut records = measure(dir, args, size, producers)?;
            print(&mut records, size, producers);
        }
    }
    Ok(())
}

fn measure(dir: &Path, args: &Args, size: usize, producers: usize) -> Result<Vec<Record>, Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let bare = |name: &str, write| {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir)?;
        if args.growing { BareLoop::growing(&dir, write) } else { BareLoop::recycled(&dir, write) }
    };
    let (mut single, mut grouped) = (bare("single", size)?, bare("grouped", size * producers)?);
    let durability = if args.unsynced { Durability::Os } else { Durability::Sync };
    let ours = if args.growing {
        let ours = Ours::growing(dir.path(), size, durability)?;
        ours.fill(args.grown)?;
        ours
    } else {
        Ours::recycling(dir.path(), size, durability)?
    };
    let flush = std::time::Duration::from_millis(if args.unsynced { 25 } else { 0 });
    let quiver = args.peers.quiver.as_ref().map(|binary| Peer::start(binary, &dir.path().join("quiver"), size, flush));
    let mut quiver = quiver.transpose()?;
    let names = ["tidegate", "bare loop", "bare loop, one write and sync for all", "Quiver"];
    let [mut own, mut alone, mut together, mut peer] = names.map(Record::named);
    for _ in 0..args.turns.turns {
        own.add(&ours.turn(producers, args.turns.each())?, 1);
        alone.add(&single.turn(args.turns.each())?, 1);
        if producers > 1 {
            together.add(&grouped.turn(args.turns.each())?, producers);
        }
        if let Some(quiver) = &mut quiver {
            let turn = quiver.append(producers, args.turns.seconds)?;
            peer.rates.push(turn.per_second);
            peer.p50_us.push(turn.p50_us);
            peer.p99_us.push(turn.p99_us);
        }
    }
    Ok([own, alone, together, peer].into_iter().filter(|record| !record.rates.is_empty()).collect())
}

fn print(records: &mut [Record], size: usize, producers: usize) {
    let ours = median(&mut records[0].rates);
    for record in records {
        let (middle, text) = (median(&mut record.rates), spread(&mut record.rates));
        println!(
            "| {size} | {producers} | {} | {text} | {:.0} | {:.0} | {:.0} | {:.2} × |",
            record.name,
            middle * size as f64 / 1e6,
            median(&mut record.p50_us),
            median(&mut record.p99_us),
            ours / middle,
        );
    }
}
