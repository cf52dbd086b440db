//! The measured process: started, connected to, looked at from outside, and killed.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http2::Connection;
use super::load::EXPORT;
use super::subject::{Out, Subject};

/// A running subject; killed when dropped.
pub(super) struct Process {
    child: Child,
    port: u16,
}

impl Process {
    pub(super) fn start(subject: &Subject, dir: &Path, sink: SocketAddr, out: Out) -> Result<Self, Box<dyn Error>> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        std::fs::write(dir.join("config.yaml"), subject.config(dir, port, sink, out))?;
        // What it says goes to a file: a full pipe would stop it.
        let messages = std::fs::File::create(dir.join("messages"))?;
        let child = Command::new(&subject.binary)
            .args(subject.arguments(dir))
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .map_err(|e| format!("{}: {e}; build it first: BENCHMARKS.md", subject.binary.display()))?;
        Ok(Self { child, port })
    }

    /// As soon as it listens.
    pub(super) fn connect(&mut self) -> Result<Connection, Box<dyn Error>> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let start = Instant::now();
        loop {
            match Connection::open(address, EXPORT) {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    if let Some(status) = self.child.try_wait()? {
                        return Err(format!("it ended: {status}").into());
                    }
                    if start.elapsed() > Duration::from_secs(30) {
                        return Err(error);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// User and system time so far: fields 14 and 15 of `/proc/PID/stat`, in ticks of 1/100 s.
    pub(super) fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?.1;
        let ticks: Result<Vec<u64>, _> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect();
        Ok(ticks?.iter().sum::<u64>() as f64 / 100.0)
    }

    /// Lets [`Process::peak_memory`] begin anew, with what it has now: `proc_pid_clear_refs(5)`.
    pub(super) fn forget_peak_memory(&self) -> std::io::Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")
    }

    /// The most memory that it had at once so far, in bytes.
    pub(super) fn peak_memory(&self) -> Result<u64, Box<dyn Error>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// SIGKILL, and waits for its end.
    pub(super) fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("ending what was measured: {error}");
        }
    }
}
