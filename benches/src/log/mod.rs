//! The log alone: how fast it takes, gives back, rolls over and opens, beside the disk and beside Quiver.

mod append;
mod backlog;
mod bare;
mod device;
mod drain;
mod ours;
mod peer;
mod roll;
mod turn;
mod verify;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

/// The rows of BENCHMARKS.md, one command each.
#[derive(Subcommand)]
pub(crate) enum Row {
    /// Synced and unsynced appends, into recycled segments and into a log that grows.
    Append(append::Args),
    /// Reading and acking: warm, and from the disk.
    Drain(drain::Args),
    /// Appends that cross from one segment into the next, beside the others.
    Roll(roll::Args),
    /// Opening a log with a large backlog, cold, and the memory that draining it takes.
    Backlog(backlog::Args),
    /// Checking every checksum of a large log, beside the disk read in sequence.
    Verify(verify::Args),
    /// Bytes written to the device for each payload byte.
    Device(device::Args),
    /// Opens and drains what `backlog` made; called by it in a process of its own.
    #[command(hide = true)]
    OpenAndDrain(backlog::OpenAndDrain),
}

pub(crate) fn run(dir: &Path, row: &Row) -> Result<(), Box<dyn Error>> {
    match row {
        Row::Append(args) => append::run(dir, args),
        Row::Drain(args) => drain::run(dir, args),
        Row::Roll(args) => roll::run(dir, args),
        Row::Backlog(args) => backlog::run(dir, args),
        Row::Verify(args) => verify::run(dir, args),
        Row::Device(args) => device::run(dir, args),
        Row::OpenAndDrain(args) => backlog::open_and_drain(args),
    }
}

/// A peer beside us.
#[derive(Args)]
struct Peers {
    /// Quiver, built with: cargo build --release --manifest-path benches/peers/quiver/Cargo.toml
    #[arg(long, value_name = "BINARY")]
    quiver: Option<PathBuf>,
}

/// How often each contestant has its turn, and for how long.
#[derive(Args)]
struct Turns {
    /// How long each turn lasts, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Turns of each contestant, in rotation; the median is given.
    #[arg(long, default_value_t = 5)]
    turns: usize,
}

impl Turns {
    fn each(&self) -> turn::Until {
        turn::Until::After(std::time::Duration::from_secs_f64(self.seconds))
    }
}
