//! One turn of one subject: the sink up, the sink down, and the drain.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::load::{self, load};
use super::process::Process;
use super::sink::{self, Sink};
use super::subject::{Out, Subject};
use crate::device;

/// How long anything may take before the turn is given up.
const LIMIT: Duration = Duration::from_secs(300);

/// What is sent.
pub(super) struct Work {
    pub(super) request: Bytes,
    pub(super) records: u64,
    pub(super) batch: u64,
    pub(super) streams: u64,
    pub(super) out: Out,
    /// Sent before anything is measured: records, in requests of [`WARM_UP_BATCH`].
    pub(super) warm_up: u64,
}

/// Records in a request before anything is measured.
pub(super) const WARM_UP_BATCH: u64 = 1000;

/// What a turn measured.
pub(super) struct Figures {
    /// With the sink up, until all has arrived.
    up_per_second: f64,
    up_per_cpu_second: f64,
    /// Of an acknowledgement, in milliseconds.
    up_p50: f64,
    up_p99: f64,
    down_per_second: f64,
    down_per_cpu_second: f64,
    /// On the device, while the sink was down.
    down_bytes_per_byte: f64,
    drain_per_second: f64,
    drain_per_cpu_second: f64,
    /// Of all that is measured, in MiB.
    peak_memory: f64,
}

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) value: fn(&Figures) -> f64,
    pub(super) more_is_better: bool,
    decimals: usize,
}

impl Row {
    pub(super) fn show(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }
}

const fn row(name: &'static str, value: fn(&Figures) -> f64, more_is_better: bool, decimals: usize) -> Row {
    Row { name, value, more_is_better, decimals }
}

pub(super) const ROWS: [Row; 10] = [
    row("sink up: delivered records/s", |f| f.up_per_second, true, 0),
    row("sink up: records per CPU-second", |f| f.up_per_cpu_second, true, 0),
    row("sink up: p50 of an ack, ms", |f| f.up_p50, false, 1),
    row("sink up: p99 of an ack, ms", |f| f.up_p99, false, 1),
    row("sink down: accepted records/s", |f| f.down_per_second, true, 0),
    row("sink down: records per CPU-second", |f| f.down_per_cpu_second, true, 0),
    row("sink down: bytes on the device per payload byte", |f| f.down_bytes_per_byte, false, 2),
    row("drain: records/s", |f| f.drain_per_second, true, 0),
    row("drain: records per CPU-second", |f| f.drain_per_cpu_second, true, 0),
    row("peak memory, MiB", |f| f.peak_memory, false, 0),
];

pub(super) fn measure(dir: &Path, subject: &Subject, work: &Work) -> Result<Figures, Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let named = |e: Box<dyn Error>| -> Box<dyn Error> {
        let messages = std::fs::read_to_string(dir.path().join("messages")).unwrap_or_default();
        format!("{}: {e}\n{messages}", subject.name()).into()
    };
    phases(dir.path(), subject, work).map_err(named)
}

fn phases(dir: &Path, subject: &Subject, work: &Work) -> Result<Figures, Box<dyn Error>> {
    let (records, requests) = (work.records as f64, work.records / work.batch);
    let address = sink::address()?;
    let backend = Sink::start(address)?;
    let mut process = Process::start(subject, dir, address, work.out)?;
    let mut connection = process.connect()?;

    if work.warm_up > 0 {
        load(&mut connection, &load::request(WARM_UP_BATCH), work.warm_up / WARM_UP_BATCH, 8)?;
        backend.wait_for(work.warm_up, LIMIT)?;
        backend.begin();
        process.forget_peak_memory()?;
    }

    let cpu = process.cpu_seconds()?;
    let up = load(&mut connection, &work.request, requests, work.streams)?;
    let up_took = backend.wait_for(work.records, LIMIT)?;
    let up_cpu = process.cpu_seconds()? - cpu;

    drop(backend);
    device::settle(dir)?;
    let (cpu, sectors) = (process.cpu_seconds()?, device::sectors_written(dir)?);
    let down = load(&mut connection, &work.request, requests, work.streams)?;
    let down_cpu = process.cpu_seconds()? - cpu;
    device::settle(dir)?;
    let written = (device::sectors_written(dir)? - sectors) * 512;

    let cpu = process.cpu_seconds()?;
    let backend = Sink::start(address)?;
    let drain_took = backend.wait_for(work.records, LIMIT)?;
    let drain_cpu = process.cpu_seconds()? - cpu;

    let quantile = |q: f64| {
        let at = (up.latencies.len() as f64 * q) as usize;
        up.latencies.get(at.min(up.latencies.len().saturating_sub(1))).map_or(f64::NAN, |l| l.as_secs_f64() * 1e3)
    };
    Ok(Figures {
        up_per_second: records / up_took.as_secs_f64(),
        up_per_cpu_second: records / up_cpu,
        up_p50: quantile(0.5),
        up_p99: quantile(0.99),
        down_per_second: records / down.took.as_secs_f64(),
        down_per_cpu_second: records / down_cpu,
        down_bytes_per_byte: written as f64 / (requests * work.request.len() as u64) as f64,
        drain_per_second: records / drain_took.as_secs_f64(),
        drain_per_cpu_second: records / drain_cpu,
        peak_memory: process.peak_memory()? as f64 / f64::from(1 << 20),
    })
}
