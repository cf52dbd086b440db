//! Who changes cursors: the agent that runs, through its control socket; else this process, with the directory's lock.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_stream::StreamExt as _;

use crate::cli::output::{self, Failure};
use crate::listen::unix;
use crate::pipeline::control::protocol::{Action, Command, SOCKET, move_from_json};
use crate::spool::{Editor, From, Move};

/// Who changes the cursors of a data directory.
#[derive(Debug)]
pub(super) enum Owner {
    Agent(Agent),
    Nobody(Editor),
}

/// A running agent.
#[derive(Debug)]
pub(super) struct Agent {
    socket: PathBuf,
}

impl Owner {
    pub(super) fn of(directory: &Path) -> Result<Self, Failure> {
        if let Some(agent) = Agent::of(directory)? {
            return Ok(Self::Agent(agent));
        }
        match Editor::open(directory) {
            Ok(editor) => Ok(Self::Nobody(editor)),
            Err(error) if error.is_owned() => Err(Failure::new(error.to_string()).help(
                "it takes no commands: an application that embeds the log, or an agent that starts or stops just now",
            )),
            Err(error) => Err(output::spool_failure(&error)),
        }
    }

    pub(super) fn seek(&self, log: &str, cursor: &str, to: From, dry_run: bool) -> Result<Move, Failure> {
        match self {
            Self::Agent(agent) => {
                let answer = agent.post(log, cursor, Action::Seek { to, dry_run })?;
                move_from_json(&answer).ok_or_else(|| Failure::new(format!("the agent answered {answer}")))
            }
            Self::Nobody(editor) if dry_run => editor.try_seek(log, cursor, to).map_err(|e| output::spool_failure(&e)),
            Self::Nobody(editor) => editor.seek(log, cursor, to).map_err(|e| output::spool_failure(&e)),
        }
    }

    pub(super) fn pause(&self, log: &str, cursor: &str) -> Result<(), Failure> {
        match self {
            Self::Agent(agent) => agent.post(log, cursor, Action::Pause).map(|_| ()),
            Self::Nobody(editor) => editor.pause(log, cursor).map_err(|e| output::spool_failure(&e)),
        }
    }

    pub(super) fn resume(&self, log: &str, cursor: &str) -> Result<(), Failure> {
        match self {
            Self::Agent(agent) => agent.post(log, cursor, Action::Resume).map(|_| ()),
            Self::Nobody(editor) => editor.resume(log, cursor).map_err(|e| output::spool_failure(&e)),
        }
    }

    /// Returns how many records it had not delivered.
    pub(super) fn remove(&self, log: &str, cursor: &str) -> Result<u64, Failure> {
        match self {
            Self::Agent(agent) => {
                let answer = agent.post(log, cursor, Action::Remove)?;
                Ok(answer["pending_records"].as_u64().unwrap_or_default())
            }
            Self::Nobody(editor) => {
                editor.remove_cursor(log, cursor).map(|p| p.items).map_err(|e| output::spool_failure(&e))
            }
        }
    }
}

impl Agent {
    /// The agent that takes commands for this directory, if one runs.
    pub(super) fn of(directory: &Path) -> Result<Option<Self>, Failure> {
        let socket = directory.join(SOCKET);
        match unix::connect(&socket) {
            Ok(_) => Ok(Some(Self { socket })),
            Err(error) if is_nobody(&error) => Ok(None),
            Err(error) => Err(Failure::new(format!("cannot connect to {}: {error}", socket.display()))
                .help("run it as the user that runs the agent, or as root")),
        }
    }

    /// State and last error of each exporter.
    pub(super) fn exporters(&self) -> Result<Vec<Value>, Failure> {
        self.list("exporters")
    }

    /// Cap of each log, and whether it is poisoned.
    pub(super) fn logs(&self) -> Result<Vec<Value>, Failure> {
        self.list("logs")
    }

    fn list(&self, what: &str) -> Result<Vec<Value>, Failure> {
        let answer = self.call("GET", &format!("/v1/{what}"), String::new(), &mut |_| {})?;
        Ok(answer[what].as_array().cloned().unwrap_or_default())
    }

    /// Sends dead letters again; `step` is called with what is told on the way.
    pub(super) fn replay_dead_letters(
        &self,
        log: &str,
        cursor: &str,
        step: &mut dyn FnMut(&Value),
    ) -> Result<Value, Failure> {
        let command = Command { log: log.to_owned(), cursor: cursor.to_owned(), action: Action::ReplayDeadLetters };
        self.call("POST", command.path(), command.to_json().to_string(), step)
    }

    fn post(&self, log: &str, cursor: &str, action: Action) -> Result<Value, Failure> {
        let command = Command { log: log.to_owned(), cursor: cursor.to_owned(), action };
        self.call("POST", command.path(), command.to_json().to_string(), &mut |_| {})
    }

    /// One request; each line of the answer but the last goes to `step`, the last is returned.
    fn call(&self, method: &str, path: &str, body: String, step: &mut dyn FnMut(&Value)) -> Result<Value, Failure> {
        let lost = |error: &dyn std::fmt::Display| {
            Failure::new(format!("the agent at {} did not answer: {error}", self.socket.display()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| lost(&e))?;
        let request = axum::http::Request::builder().method(method).uri(path).header("host", "tidegate");
        let request = request.body(Body::from(body)).map_err(|e| lost(&e))?;
        runtime.block_on(async {
            let socket = unix::connect(&self.socket).map_err(|e| lost(&e))?;
            socket.set_nonblocking(true).map_err(|e| lost(&e))?;
            let socket = tokio::net::UnixStream::from_std(socket).map_err(|e| lost(&e))?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|e| lost(&e))?;
            // Ends with the runtime; what goes wrong there is what the answer fails with.
            tokio::spawn(async move { connection.await.unwrap_or_default() });
            let response = sender.send_request(request).await.map_err(|e| lost(&e))?;
            let status = response.status();
            let mut lines = Lines::default();
            let mut body = Body::new(response.into_body()).into_data_stream();
            while let Some(piece) = body.next().await {
                lines.take(&piece.map_err(|e| lost(&e))?, step);
            }
            let answer = lines.last().ok_or_else(|| lost(&format!("{status}, and no JSON")))?;
            match answer["error"].as_str() {
                Some(error) if !status.is_success() => Err(Failure::new(error)),
                _ => Ok(answer),
            }
        })
    }
}

/// JSON values, a line each; the last may lack its newline.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
    held: Option<Value>,
}

impl Lines {
    fn take(&mut self, piece: &[u8], step: &mut dyn FnMut(&Value)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line(step);
            }
        }
    }

    fn end_line(&mut self, step: &mut dyn FnMut(&Value)) {
        if let Ok(value) = serde_json::from_slice(&std::mem::take(&mut self.pending))
            && let Some(before) = self.held.replace(value)
        {
            step(&before);
        }
    }

    fn last(mut self) -> Option<Value> {
        self.end_line(&mut |_| {});
        self.held
    }
}

/// There is no socket, or one that a process left behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
