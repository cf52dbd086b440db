//! The real binary as a child process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// A running `tidegate run`. Dropping it kills it.
pub(crate) struct Agent {
    child: Child,
    started: Instant,
    said: Arc<Mutex<Said>>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ready_after: Option<Duration>,
}

impl Agent {
    /// Starts `tidegate run` with these variables and arguments, and listens to its standard error. Does not wait.
    pub(crate) fn start(
        environment: &[(&str, String)],
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.arg("run").args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::null());
        Self::spawn(&mut command)
    }

    /// As [`Agent::start`], with a command of the caller's, whose standard output is the caller's business.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(Said::default()));
        let reader = {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut said = said.lock().unwrap();
                    if line.starts_with("ready in ") && said.ready_after.is_none() {
                        said.ready_after = Some(started.elapsed());
                    }
                    said.lines.push(line);
                }
            })
        };
        Self { child, started, said, reader: Some(reader) }
    }

    /// How long after its start the agent said that it is ready.
    pub(crate) fn ready_after(&self) -> Option<Duration> {
        self.said.lock().unwrap().ready_after
    }

    /// Waits for the last start-up line, at most `limit` after the start.
    ///
    /// # Panics
    /// When the agent ends instead, or takes longer.
    pub(crate) fn wait_ready(&mut self, limit: Duration) -> Duration {
        let left = limit.saturating_sub(self.started.elapsed());
        let ready = wait_for(left, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.hear_out();
                panic!("the agent ended before it was ready: {status}\n{}", self.stderr());
            }
            self.ready_after()
        });
        ready.unwrap_or_else(|| panic!("the agent was not ready within {limit:?}\n{}", self.stderr()))
    }

    /// Waits until a line on standard error contains `part`, and gives that line.
    ///
    /// # Panics
    /// When none does within `limit`.
    #[track_caller]
    pub(crate) fn wait_said(&self, part: &str, limit: Duration) -> String {
        let said = || self.said.lock().unwrap().lines.iter().find(|line| line.contains(part)).cloned();
        wait_for(limit, said).unwrap_or_else(|| panic!("not said within {limit:?}: {part}\n{}", self.stderr()))
    }

    /// The end of the pipe that its standard output is, when the command made it one.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Everything that it wrote on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.said.lock().unwrap().lines.join("\n")
    }

    /// kill -9. Returns when the process is gone and its standard error is read to the end.
    ///
    /// # Panics
    /// When it had ended by itself: nothing but a kill may end it.
    pub(crate) fn kill(mut self) -> String {
        if let Some(status) = self.child.try_wait().unwrap() {
            self.hear_out();
            panic!("the agent had ended by itself: {status}\n{}", self.stderr());
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.hear_out();
        self.stderr()
    }

    /// SIGTERM; waits for the end.
    ///
    /// # Panics
    /// When it takes longer than `limit`.
    pub(crate) fn stop(self, limit: Duration) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.wait_end(limit)
    }

    /// Sends a signal, and does not wait.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended: its status, and all that it wrote on standard error.
    ///
    /// # Panics
    /// When it takes longer than `limit`.
    #[track_caller]
    pub(crate) fn wait_end(mut self, limit: Duration) -> (ExitStatus, String) {
        let status = wait_for(limit, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("it did not end within {limit:?}\n{}", self.stderr()));
        self.hear_out();
        (status, self.stderr())
    }

    fn hear_out(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A failing test must not leave the agent behind; one that ended already cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
