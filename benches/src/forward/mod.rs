//! OTLP gRPC in, queue, OTLP gRPC out: tidegate, always with `durability: sync`, beside the OpenTelemetry Collector
//! with its queue in memory and on disk. The real binaries; generator and sink are in this process.

mod http2;
mod listen;
mod load;
mod process;
mod sink;
mod subject;
mod turn;

use std::error::Error;
use std::path::{Path, PathBuf};

use self::subject::{Out, Queue, Subject};
use self::turn::{Figures, Work};
use crate::report::median;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    row: Row,
}

#[derive(clap::Subcommand)]
enum Row {
    /// Throughput and processor time: the sink up, the sink down, and the drain after that.
    Throughput(Throughput),
    /// How long until a request is answered again after a kill with a backlog, nothing in the cache.
    Listen(listen::Args),
}

#[derive(clap::Args)]
struct Throughput {
    #[command(flatten)]
    programs: Programs,
    /// Records in a request.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000])]
    batches: Vec<u64>,
    /// Requests in flight; 64, 16 and 8 for the batches above unless given.
    #[arg(long)]
    streams: Option<u64>,
    /// Of the records of a turn, so many percent: 20,000 with batches of one, 1 and 2 million above.
    #[arg(long, default_value_t = 100)]
    percent: u64,
    /// Megabytes that are sent and delivered before anything is measured. By then a log of tidegate has what it keeps of the
    /// delivered (`retain_size`, 1 GiB) and writes into segments that it had before, as an agent does all its life but
    /// for the first minutes.
    #[arg(long, default_value_t = 1_500)]
    warm_up: u64,
    #[command(flatten)]
    out: Out,
    /// Turns of each; medians are given.
    #[arg(long, default_value_t = 5)]
    turns: usize,
}

/// What is measured.
#[derive(clap::Args)]
struct Programs {
    #[arg(long, default_value = "target/release/tidegate")]
    tidegate: PathBuf,
    /// The Collector: `tests/run peer` builds it.
    #[arg(long, default_value = "target/test-deps/peer/otelcol")]
    collector: PathBuf,
    /// Queues of the Collector to measure.
    #[arg(long, value_delimiter = ',', default_values = ["memory", "file"])]
    queues: Vec<Queue>,
}

impl Programs {
    fn subjects(&self) -> Vec<Subject> {
        let peers = self.queues.iter().map(|queue| Subject::collector(&self.collector, *queue));
        std::iter::once(Subject::tidegate(&self.tidegate)).chain(peers).collect()
    }
}

pub(crate) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    // The programs run in directories of their own.
    let dir = std::fs::canonicalize(dir)?;
    match &args.row {
        Row::Throughput(args) => throughput(&dir, args),
        Row::Listen(args) => listen::run(&dir, args),
    }
}

fn throughput(dir: &Path, args: &Throughput) -> Result<(), Box<dyn Error>> {
    for &batch in &args.batches {
        let work = work(args, batch);
        println!(
            "\nbatches of {batch}, {} requests in flight, {} records of {} bytes a turn, {} turns{}\n",
            work.streams,
            work.records,
            work.request.len() as u64 / batch,
            args.turns,
            if args.out.gzip { ", gzip out" } else { "" }
        );
        let subjects = args.programs.subjects();
        let mut figures: Vec<Vec<Figures>> = subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.turns {
            for (subject, figures) in subjects.iter().zip(&mut figures) {
                figures.push(turn::measure(dir, subject, &work)?);
            }
        }
        print(&subjects, &figures);
    }
    Ok(())
}

fn work(args: &Throughput, batch: u64) -> Work {
    let (records, streams) = match batch {
        0..10 => (20_000, 64),
        10..500 => (1_000_000, 16),
        _ => (2_000_000, 8),
    };
    let warm_up = load::request(turn::WARM_UP_BATCH).len() as u64;
    Work {
        warm_up: args.warm_up * 1_000_000 / warm_up * turn::WARM_UP_BATCH,
        request: load::request(batch),
        records: (records * args.percent / 100).max(batch) / batch * batch,
        batch,
        streams: args.streams.unwrap_or(streams),
        out: args.out,
    }
}

/// One row for each figure, one column for each subject, and by how much the first is better than each other.
fn print(subjects: &[Subject], turns: &[Vec<Figures>]) {
    let names: Vec<&str> = subjects.iter().map(Subject::name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for row in turn::ROWS {
        let mut medians = Vec::new();
        let mut cells = Vec::new();
        for figures in turns {
            let mut values: Vec<f64> = figures.iter().map(row.value).collect();
            let middle = median(&mut values);
            let (least, greatest) = (values.first().copied(), values.last().copied());
            let [least, greatest] = [least, greatest].map(|value| row.show(value.unwrap_or(f64::NAN)));
            cells.push(format!("{} ({least}–{greatest})", row.show(middle)));
            medians.push(middle);
        }
        for (cell, peer) in cells.iter_mut().zip(&medians).skip(1) {
            let ratio = if row.more_is_better { medians[0] / peer } else { peer / medians[0] };
            cell.push_str(&format!(" × {ratio:.1}"));
        }
        println!("| {} | {} |", row.name, cells.join(" | "));
    }
}
