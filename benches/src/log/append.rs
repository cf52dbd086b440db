//! Appends per second and how long an ack takes.

use std::error::Error;
use std::path::Path;

use tidegate::spool::Durability;

use super::Turns;
use super::bare::BareLoop;
use super::ours::Ours;
use super::turn::Turn;
use crate::report::{median, spread};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    turns: Turns,
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
struct Record {
    name: &'static str,
    turns: Vec<Turn>,
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
    #[cfg(feature = "quiver")]
    let quiver = {
        let flush = std::time::Duration::from_millis(if args.unsynced { 25 } else { 0 });
        super::quiver::Quiver::open(dir.path(), size, flush)?
    };
    let names = ["tidegate", "bare loop", "bare loop, one write and sync for all", "Quiver"];
    let mut records: Vec<Record> = names.map(|name| Record { name, turns: Vec::new() }).into();
    for _ in 0..args.turns.turns {
        records[0].turns.push(ours.turn(producers, args.turns.each())?);
        records[1].turns.push(single.turn(args.turns.each())?);
        if producers > 1 {
            records[2].turns.push(grouped.turn(args.turns.each())?);
        }
        #[cfg(feature = "quiver")]
        records[3].turns.push(quiver.turn(producers, size, args.turns.each())?);
    }
    records.retain(|record| !record.turns.is_empty());
    Ok(records)
}

fn print(records: &mut [Record], size: usize, producers: usize) {
    let rate = |record: &Record| median(&mut record.turns.iter().map(Turn::per_second).collect::<Vec<_>>());
    let ours = rate(&records[0]);
    for record in records.iter() {
        // One write of the grouped loop holds a payload of each producer.
        let each = if record.name.starts_with("bare loop,") { producers as f64 } else { 1.0 };
        let mut rates: Vec<f64> = record.turns.iter().map(|t| t.per_second() * each).collect();
        let quantile = |share| median(&mut record.turns.iter().map(|t| t.quantile(share)).collect::<Vec<_>>());
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        let (middle, text) = (median(&mut rates), spread(&mut rates));
        println!(
            "| {size} | {producers} | {} | {text} | {:.0} | {p50:.0} | {p99:.0} | {:.2} × |",
            record.name,
            middle * size as f64 / 1e6,
            ours / middle,
        );
    }
}
