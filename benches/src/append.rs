//! Synced append: one producer and many, beside a bare loop of pwrite and fdatasync on a pre-written file.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate::spool::{Log, LogOptions, Options, Spool};

use crate::report::{median, spread};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each turn lasts, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Turns of each kind; the median is given.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Payload sizes in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 131_072])]
    sizes: Vec<usize>,
    /// Producers that append at once, each waiting for its ack.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    producers: Vec<usize>,
}

/// The bare loop overwrites this much, over and over: what a recycled segment costs.
const LOOP_FILE_BYTES: u64 = 64 << 20;

pub(crate) fn run(dir: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    println!("synced appends per second: median (least–greatest) of {} turns of {} s", args.turns, args.seconds);
    println!("| payload | producers | bare pwrite + fdatasync | tidegate | ratio |\n|---|---|---|---|---|");
    for &size in &args.sizes {
        for &producers in &args.producers {
            let (mut bare, mut ours) = (Vec::new(), Vec::new());
            let bench = Turns::prepare(dir, size)?;
            for _ in 0..args.turns {
                bare.push(bench.bare_loop(args.seconds)?);
                ours.push(bench.appends(producers, args.seconds)?);
            }
            let ratio = median(&mut ours) / median(&mut bare);
            println!("| {size} | {producers} | {} | {} | {ratio:.2} |", spread(&mut bare), spread(&mut ours));
        }
    }
    Ok(())
}

/// The two contestants, warm: the loop's file is written, the log has recycled segments.
struct Turns {
    payload: Bytes,
    file: File,
    spool: Spool,
    log: Log,
    _dir: tempfile::TempDir,
}

impl Turns {
    fn prepare(dir: &Path, size: usize) -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::tempdir_in(dir)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(dir.path().join("loop"))?;
        let block = vec![0u8; 1 << 20];
        for offset in (0..LOOP_FILE_BYTES).step_by(block.len()) {
            file.write_all_at(&block, offset)?;
        }
        file.sync_all()?;
        // Nothing wants the records: segments are recycled as soon as the log has gone once around.
        let log = LogOptions { retain_size: 32 << 20, ..LogOptions::default() };
        let options = Options { max_size: Some(256 << 20), log, ..Options::default() };
        let spool = Spool::open(&dir.path().join("spool"), options)?;
        let log = spool.log("bench")?;
        let payload = Bytes::from((0..size).map(|i| (i * 31) as u8).collect::<Vec<u8>>());
        let turns = Self { payload, file, spool, log, _dir: dir };
        turns.go_around()?;
        Ok(turns)
    }

    /// Fills what is retained, so that the measured turns write into recycled segments.
    fn go_around(&self) -> Result<(), Box<dyn Error>> {
        let mut left = 96u64 << 20;
        while left > 0 {
            let acks: Result<Vec<_>, _> = (0..8).map(|_| self.log.append(1, self.payload.clone(), 1)).collect();
            for ack in acks? {
                ack.wait()?;
            }
            left = left.saturating_sub(8 * self.payload.len() as u64);
        }
        Ok(())
    }

    fn bare_loop(&self, seconds: f64) -> Result<f64, Box<dyn Error>> {
        let (start, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
        let (mut count, mut offset) = (0u64, 0u64);
        while start.elapsed() < limit {
            self.file.write_all_at(&self.payload, offset)?;
            rustix::fs::fdatasync(&self.file)?;
            offset = (offset + self.payload.len() as u64) % (LOOP_FILE_BYTES - self.payload.len() as u64);
            count += 1;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    fn appends(&self, producers: usize, seconds: f64) -> Result<f64, Box<dyn Error>> {
        let (start, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
        let counts: Result<Vec<u64>, tidegate::spool::Error> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..producers).map(|_| scope.spawn(|| self.producer(start, limit))).collect();
            threads.into_iter().map(|t| t.join().unwrap_or(Ok(0))).collect()
        });
        Ok(counts?.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64())
    }

    fn producer(&self, start: Instant, limit: Duration) -> Result<u64, tidegate::spool::Error> {
        let mut count = 0;
        while start.elapsed() < limit {
            match self.log.append(1, self.payload.clone(), 1) {
                Ok(ack) => {
                    ack.wait()?;
                    count += 1;
                }
                Err(error) => match error.retry_after() {
                    Some(delay) => std::thread::sleep(delay),
                    None => return Err(error),
                },
            }
        }
        Ok(count)
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if let Err(error) = self.spool.close() {
            eprintln!("closing the measured spool: {error}");
        }
    }
}
