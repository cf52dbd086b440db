//! What an append costs that crosses into the next segment.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tidegate::spool::Durability;

use super::ours::Ours;
use super::peer::Peer;
use super::turn::Turn;
use super::{Peers, Turns};

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
    /// What a growing log holds before it is measured, in bytes.
    #[arg(long, default_value_t = 4 << 30)]
    grown: u64,
    #[command(flatten)]
    peers: Peers,
}

/// Latencies of appends that crossed into the next segment, and of those that did not.
struct Seen {
    crossing: Turn,
    others: Turn,
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!("one producer, synced; all turns together");
    println!(
        "| payload | | crossings | their p50 µs | p99.9 µs | max ms | others' p50 µs | p99.9 µs | max ms | ratio of p99.9 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for &size in &args.sizes {
        let dir = tempfile::tempdir_in(dir)?;
        let log = if args.growing {
            let log = Ours::growing(dir.path(), size, Durability::Sync)?;
            log.fill(args.grown)?;
            log
        } else {
            Ours::recycling(dir.path(), size, Durability::Sync)?
        };
        let quiver = |binary| Peer::start(binary, &dir.path().join("quiver"), size, Duration::ZERO);
        let mut quiver = args.peers.quiver.as_deref().map(quiver).transpose()?;
        let (mut ours, mut theirs) = (Seen::begin(size), Seen::begin(size));
        for _ in 0..args.turns.turns {
            let before = log.log.durable_sequence();
            let turn = log.turn(1, args.turns.each())?;
            let crossed = firsts(&log, before)?;
            for (sequence, latency) in (before + 1..).zip(&turn.latencies) {
                ours.count(*latency, crossed.contains(&sequence));
            }
            if let Some(quiver) = &mut quiver {
                quiver.roll(args.turns.seconds, |latency, crossed| theirs.count(latency, crossed))?;
            }
        }
        ours.print(size, "tidegate");
        if quiver.is_some() {
            theirs.print(size, "Quiver");
        }
    }
    Ok(())
}

/// The first sequences of the segments that were begun after this sequence, as far as the log still has them.
fn firsts(ours: &Ours, after: u64) -> Result<std::collections::BTreeSet<u64>, Box<dyn Error>> {
    let inspection = ours.spool.inspect()?;
    let segments = inspection.logs.iter().flat_map(|log| &log.segments);
    Ok(segments.map(|s| s.first_sequence).filter(|first| *first > after).collect())
}

impl Seen {
    fn begin(size: usize) -> Self {
        Self { crossing: Turn::begin(size), others: Turn::begin(size) }
    }

    fn count(&mut self, latency: Duration, crossed: bool) {
        let kind = if crossed { &mut self.crossing } else { &mut self.others };
        kind.latencies.push(latency);
    }

    fn print(&self, size: usize, who: &str) {
        let (crossing, others) = (&self.crossing, &self.others);
        let max = |t: &Turn| t.latencies.iter().max().copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e3;
        println!(
            "| {size} | {who} | {} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} | {:.1} | {:.2} |",
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
}
