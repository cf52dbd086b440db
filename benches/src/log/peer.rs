//! A peer that runs as a process of its own and takes its turns by lines on its standard input: `benches/peers`.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::backlog::memory_of;

/// What a peer's turn of appends came to.
pub(super) struct Appends {
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// A running peer; killed when dropped.
pub(super) struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    pub(super) fn start(binary: &Path, dir: &Path, payload: usize, flush: Duration) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(binary)
            .arg(dir)
            .arg(payload.to_string())
            .arg(flush.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}; benches/peers says how it is built", binary.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the peer has no pipes".into());
        };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    pub(super) fn append(&mut self, producers: usize, seconds: f64) -> Result<Appends, Box<dyn Error>> {
        match self.turn(&format!("append {producers} {seconds}"))?.as_slice() {
            &[count, took, p50_us, p99_us] => Ok(Appends { per_second: count / took, p50_us, p99_us }),
            other => Err(format!("the peer answered {other:?}").into()),
        }
    }

    /// Appends by one producer: each one's latency, and whether it crossed into the next segment.
    pub(super) fn roll(&mut self, seconds: f64, mut see: impl FnMut(Duration, bool)) -> Result<(), Box<dyn Error>> {
        for signed in self.turn(&format!("roll {seconds}"))? {
            see(Duration::from_secs_f64(signed.abs() / 1e6), signed < 0.0);
        }
        Ok(())
    }

    /// Fills a backlog and drains it; MB/s of the drain.
    pub(super) fn drain(&mut self, bytes: u64) -> Result<f64, Box<dyn Error>> {
        self.fill(bytes)?;
        self.drain_what_is_there()
    }

    /// Appends so many payload bytes.
    pub(super) fn fill(&mut self, bytes: u64) -> Result<(), Box<dyn Error>> {
        self.turn(&format!("fill {bytes}")).map(|_| ())
    }

    /// Its memory, in MB.
    pub(super) fn memory(&self, field: &str) -> Result<f64, Box<dyn Error>> {
        memory_of(&self.child.id().to_string(), field)
    }

    /// MB/s of a drain of all that it holds.
    pub(super) fn drain_what_is_there(&mut self) -> Result<f64, Box<dyn Error>> {
        match self.turn("drain")?.as_slice() {
            &[bytes, took] => Ok(bytes / 1e6 / took),
            other => Err(format!("the peer answered {other:?}").into()),
        }
    }

    fn turn(&mut self, line: &str) -> Result<Vec<f64>, Box<dyn Error>> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        Ok(answer.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("ending the peer: {error}");
        }
    }
}
