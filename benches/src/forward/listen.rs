//! How long until a request is acknowledged again after a kill with a backlog on the disk and nothing in the cache.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use super::Programs;
use super::load::{load, request};
use super::process::Process;
use super::sink;
use super::subject::{Out, Subject};
use crate::device;
use crate::report::spread;

/// Records in a request of the backlog.
const BATCH: u64 = 1000;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Records on the disk.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    #[arg(long, default_value_t = 5)]
    turns: usize,
}

pub(super) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!("killed with {} records on the disk, the cache dropped, started; {} turns", args.records, args.turns);
    println!("| | listening after ms | first ack after ms | memory then, MiB |\n|---|---|---|---|");
    let subjects = args.programs.subjects();
    let mut figures: Vec<[Vec<f64>; 3]> = subjects.iter().map(|_| Default::default()).collect();
    for _ in 0..args.turns {
        for (subject, figures) in subjects.iter().zip(&mut figures) {
            let turn = turn(dir, subject, args.records)?;
            figures.iter_mut().zip(turn).for_each(|(all, one)| all.push(one));
        }
    }
    for (subject, [listening, acked, memory]) in subjects.iter().zip(&mut figures) {
        println!("| {} | {} | {} | {} |", subject.name(), spread(listening), spread(acked), spread(memory));
    }
    Ok(())
}

fn turn(dir: &Path, subject: &Subject, records: u64) -> Result<[f64; 3], Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let nobody = sink::address()?;
    let mut process = Process::start(subject, dir.path(), nobody, Out::PLAIN)?;
    let mut connection = process.connect()?;
    load(&mut connection, &request(BATCH), records / BATCH, 8)?;
    process.kill()?;
    device::settle(dir.path())?;
    // Pages, directory entries and inodes (Documentation/admin-guide/sysctl/vm.rst).
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    let start = Instant::now();
    let mut process = Process::start(subject, dir.path(), nobody, Out::PLAIN)?;
    let mut connection = process.connect()?;
    let listening = start.elapsed();
    load(&mut connection, &request(1), 1, 1)?;
    let acked = start.elapsed();
    let memory = process.peak_memory()? as f64 / f64::from(1 << 20);
    Ok([listening.as_secs_f64() * 1e3, acked.as_secs_f64() * 1e3, memory])
}
