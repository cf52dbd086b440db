//! A running guest: its console, its clock, its end.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::support::wait_for;

/// A file system that the guest uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    /// As `mount -t` and `mkfs.` spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the guest reaches its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// Directly.
    Driver,
    /// Through dm-log-writes, which logs to a second disk.
    LogWrites,
}

/// What a guest does between its start and its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) file_system: FileSystem,
    pub(crate) disk: Through,
    /// The agent's `durability`.
    pub(crate) durability: &'static str,
    /// On this machine.
    pub(crate) backend: SocketAddr,
}

/// A running guest. Dropping it kills the emulator.
pub(crate) struct Guest {
    emulator: Child,
    input: ChildStdin,
    started: Instant,
    console: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    /// Where its agent is reached.
    pub(crate) agent: SocketAddr,
}

impl Guest {
    /// Starts the emulator with these arguments; its agent is behind `agent`.
    pub(crate) fn start(arguments: &[String], agent: SocketAddr) -> Self {
        // A test that is ended itself must not leave the emulator behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let started = Instant::now();
        let mut emulator = command.spawn().expect("no setpriv: `tests/run debian` installs it");
        let (input, output) = (emulator.stdin.take().unwrap(), emulator.stdout.take().unwrap());
        let console = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&console);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                said.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        });
        Self { emulator, input, started, console, reader: Some(reader), agent }
    }

    /// Lets the guest mount its disk and start the agent.
    pub(crate) fn go(&mut self, life: &Life) {
        #[allow(clippy::disallowed_methods, reason = "the guest's clock is set, as a machine's own would be")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let Life { file_system, disk, durability, backend } = life;
        let disk = if *disk == Through::LogWrites { "logged" } else { "plain" };
        self.tell(&format!("go {now} {file_system} {disk} {durability} {}", backend.port()));
    }

    /// Writes a line to the guest's console.
    pub(crate) fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    /// Whether a line of the console contains `part`.
    pub(crate) fn has_said(&self, part: &str) -> bool {
        self.console.lock().unwrap().iter().any(|line| line.contains(part))
    }

    /// Waits until a line of the console contains `part`; since the start.
    ///
    /// # Panics
    /// When none does within `limit`, or something failed instead.
    #[track_caller]
    pub(crate) fn wait_said(&self, part: &str, limit: Duration) -> Duration {
        let failed = ["failed:", "does not load", "agent ended:", "Kernel panic", "Remounting filesystem read-only"];
        let said = wait_for(limit, || {
            let bad = failed.iter().find(|bad| !part.contains(**bad) && self.has_said(bad));
            assert!(bad.is_none(), "the guest said {bad:?} before {part:?}\n{}", self.console());
            self.has_said(part).then(|| self.started.elapsed())
        });
        said.unwrap_or_else(|| panic!("the guest did not say {part:?} within {limit:?}\n{}", self.console()))
    }

    /// Everything on the console.
    pub(crate) fn console(&self) -> String {
        self.console.lock().unwrap().join("\n")
    }

    /// SIGKILL to the emulator. Returns when it is gone; what it had answered to anybody has then arrived.
    ///
    /// # Panics
    /// When the emulator had ended by itself.
    pub(crate) fn kill(mut self) -> String {
        let ended = self.emulator.try_wait().unwrap();
        assert!(ended.is_none(), "the emulator had ended by itself: {ended:?}\n{}", self.console());
        self.end();
        self.console()
    }

    /// Waits until the guest has powered itself off.
    pub(crate) fn wait_off(mut self, limit: Duration) -> String {
        let off = wait_for(limit, || self.emulator.try_wait().unwrap());
        assert!(off.is_some_and(|status| status.success()), "not off within {limit:?}: {off:?}\n{}", self.console());
        self.end();
        self.console()
    }

    fn end(&mut self) {
        // One that has ended already cannot be killed.
        drop(self.emulator.kill());
        self.emulator.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end();
    }
}
