//! What an append costs that crosses into the next segment.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tidegate::spool::Durability;

use super::Turns;
use super::ours::Ours;
use super::turn::Turn;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    turns: Turns,
    /// Payload sizes in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 131_072])]
    sizes: Vec<usize>,
    /// Into a log that grows instead of recycled segments.
    #[arg(long)]
    growing: bool,
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!("one producer, synced; all turns together");
    println!(
        "| payload | crossings | their p50 µs | p99.9 µs | max ms | others' p50 µs | p99.9 µs | max ms | ratio of p99.9 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for &size in &args.sizes {
        let dir = tempfile::tempdir_in(dir)?;
        let ours = if args.growing {
            Ours::growing(dir.path(), size, Durability::Sync)?
        } else {
            Ours::recycling(dir.path(), size, Durability::Sync)?
        };
        let (mut crossing, mut others) = (Turn::begin(size), Turn::begin(size));
        for _ in 0..args.turns.turns {
            let before = ours.log.durable_sequence();
            let turn = ours.turn(1, args.turns.each())?;
            let crossed = firsts(&ours, before)?;
            for (sequence, latency) in (before + 1..).zip(&turn.latencies) {
                let kind = if crossed.contains(&sequence) { &mut crossing } else { &mut others };
                kind.latencies.push(*latency);
            }
        }
        print(size, &crossing, &others);
    }
    Ok(())
}

/// The first sequences of the segments that were begun after this sequence, as far as the log still has them.
fn firsts(ours: &Ours, after: u64) -> Result<std::collections::BTreeSet<u64>, Box<dyn Error>> {
    let inspection = ours.spool.inspect()?;
    let segments = inspection.logs.iter().flat_map(|log| &log.segments);
    Ok(segments.map(|s| s.first_sequence).filter(|first| *first > after).collect())
}

fn print(size: usize, crossing: &Turn, others: &Turn) {
    let max = |t: &Turn| t.latencies.iter().max().copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e3;
    println!(
        "| {size} | {} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} | {:.1} | {:.2} |",
        crossing.latencies.len(),
        crossing.quantile(0.5),
        crossing.quantile(0.999),
        max(crossing),
        others.quantile(0.5),
        others.quantile(0.999),
        max(others),
        crossing.quantile(0.999) / others.quantile(0.999),
    );
}
