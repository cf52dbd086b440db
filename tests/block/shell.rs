//! A shell that runs commands for a thread of this process.
//!
//! A process that forks lends its open files to the child for a moment, and with them locks and busy mounts: of the
//! other threads too. The shell was started before there were any.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Shell {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Ends the answer of a command; its exit code follows.
const STATUS: &str = "=== status ";

impl Shell {
    pub(crate) fn start() -> Self {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = shell.spawn().unwrap();
        let (commands, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, commands, answers }
    }

    /// Runs a command to its end. Err with what it said, when it fails.
    pub(crate) fn run(&mut self, command: &str) -> Result<(), String> {
        let mut commands = self.commands.as_ref().unwrap();
        writeln!(commands, "{command} 2>&1 < /dev/null; echo; echo '{STATUS}'$?").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the shell is gone; {command}: {said}");
            match line.trim_end().strip_prefix(STATUS) {
                Some("0") => return Ok(()),
                Some(status) => return Err(format!("{command}: exit code {status}: {said}")),
                None => said.push_str(&line),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.commands.take());
        self.process.wait().unwrap();
    }
}
