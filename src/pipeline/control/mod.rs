//! The control socket: what an operator does to cursors while the agent runs. It is in the data directory, of mode
//! 0600: who may connect is who may write the directory.

mod dead_letters;
pub(crate) mod protocol;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Stop;
use super::drains::{AnySink, Drain};
use super::receivers::left;
use crate::exporters::Status;
use crate::listen::unix::{self, SocketMode};
use crate::spool::{Error, Log, Spool};
use protocol::{Action, Command, SOCKET, move_json};

/// The largest command.
const MAX_BODY: usize = 64 << 10;
/// How long a stop waits for commands under way.
const GRACE: Duration = Duration::from_secs(1);

/// What commands act on.
#[derive(Debug)]
pub(super) struct Controlled {
    spool: Spool,
    exporters: Vec<Exporter>,
}

/// One exporter over one log.
#[derive(Debug, Clone)]
struct Exporter {
    log: String,
    cursor: String,
    id: String,
    pipeline: String,
    status: Arc<Status>,
    sink: AnySink,
}

/// The running server.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    stop: Stop,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Served {
    controlled: Controlled,
    stop: Stop,
}

impl Controlled {
    pub(super) fn new(spool: Spool, drains: &[Drain]) -> Self {
        let exporter = |drain: &Drain| Exporter {
            log: drain.log.clone(),
            cursor: drain.cursor.clone(),
            id: drain.exporter.to_string(),
            pipeline: drain.pipeline.clone(),
            status: Arc::clone(&drain.status),
            sink: drain.sink.clone(),
        };
        Self { spool, exporters: drains.iter().map(exporter).collect() }
    }

    /// Listens and serves. An agent that cannot is told of, and runs without commands.
    pub(super) fn serve(self) -> Control {
        let path = self.spool.directory().join(SOCKET);
        let stop = Stop::new();
        let listener = unix::listen(&path, SocketMode::User).and_then(tokio::net::UnixListener::from_std);
        let server = match listener {
            Ok(listener) => {
                let served = Arc::new(Served { controlled: self, stop: stop.clone() });
                Some(tokio::spawn(serve(listener, served)))
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no control socket: cursors cannot be moved while the agent runs");
                None
            }
        };
        Control { path, stop, server }
    }

    fn exporter(&self, log: &str, cursor: &str) -> Option<&Exporter> {
        self.exporters.iter().find(|exporter| exporter.log == log && exporter.cursor == cursor)
    }
}

impl Control {
    /// Ends it; a command in flight that only moves a cursor is finished.
    pub(super) async fn stop(mut self, deadline: Instant) {
        self.stop.now();
        if let Some(server) = &mut self.server {
            // A client that keeps its connection open must not hold the stop.
            let limit = left(deadline).min(GRACE);
            if tokio::time::timeout(limit, &mut *server).await.is_err() {
                server.abort();
            }
        }
        unix::remove(&self.path);
    }
}

async fn serve(listener: tokio::net::UnixListener, served: Arc<Served>) {
    let stopped = served.stop.requested();
    let router = Router::new()
        .route("/v1/exporters", get(exporters))
        .route("/v1/logs", get(logs))
        .route("/v1/replay-dead-letters", post(replay_dead_letters))
        .route("/v1/{command}", post(command))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(served);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the control socket's server ended");
    }
}

/// How each exporter is doing: what is not on disk.
async fn exporters(State(served): State<Arc<Served>>) -> Response {
    let exporter = |exporter: &Exporter| {
        let snapshot = exporter.status.snapshot();
        json!({
            "log": exporter.log, "cursor": exporter.cursor, "exporter": exporter.id, "pipeline": exporter.pipeline,
            "state": snapshot.state.name(), "last_error": snapshot.last_error,
        })
    };
    let exporters: Vec<Value> = served.controlled.exporters.iter().map(exporter).collect();
    answer(StatusCode::OK, &json!({ "exporters": exporters }))
}

/// What of each log is not on disk.
async fn logs(State(served): State<Arc<Served>>) -> Response {
    let log = |log: &Log| {
        let poisoned = log.trouble().is_some_and(|trouble| trouble.is_poisoned());
        json!({ "log": log.name(), "max_size": log.max_size(), "poisoned": poisoned })
    };
    let logs: Vec<Value> = served.controlled.spool.logs().iter().map(log).collect();
    answer(StatusCode::OK, &json!({ "logs": logs }))
}

async fn command(State(served): State<Arc<Served>>, uri: Uri, body: Bytes) -> Response {
    let command = match parse(uri.path(), &body) {
        Ok(command) => command,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    };
    let spool = served.controlled.spool.clone();
    // Reads the log, and waits for the disk.
    let done = tokio::task::spawn_blocking(move || act(&spool, &command));
    match done.await {
        Ok(Ok(done)) => answer(StatusCode::OK, &done),
        Ok(Err(error)) => failed(&error),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
    }
}

fn act(spool: &Spool, command: &Command) -> Result<Value, Error> {
    let log = spool.existing_log(&command.log)?;
    let Command { log: log_name, cursor, action } = command;
    match *action {
        Action::Seek { to, dry_run: true } => return Ok(move_json(&log.try_seek(cursor, to)?)),
        Action::Seek { to, dry_run: false } => {
            let moved = log.seek(cursor, to)?;
            let (from, to, skipped, replayed) =
                (moved.from_sequence, moved.to_sequence, moved.skipped_items, moved.replayed_items);
            tracing::info!(log = log_name, cursor, from, to, skipped, replayed, "cursor moved by command");
            return Ok(move_json(&moved));
        }
        Action::Pause => log.pause(cursor)?,
        Action::Resume => log.resume(cursor)?,
        Action::Remove => {
            let pending = log.remove_cursor(cursor)?.items;
            tracing::info!(log = log_name, cursor, pending, "cursor removed by command");
            return Ok(json!({ "pending_records": pending }));
        }
        Action::ReplayDeadLetters => return Err(Error::invalid("replay-dead-letters answers line by line")),
    }
    tracing::info!(
        log = log_name,
        cursor,
        "cursor {} by command",
        if *action == Action::Pause { "paused" } else { "resumed" }
    );
    Ok(json!({}))
}

/// Answers with a line of JSON for each step, the last being what came of it.
async fn replay_dead_letters(State(served): State<Arc<Served>>, uri: Uri, body: Bytes) -> Response {
    let command = match parse(uri.path(), &body) {
        Ok(command) => command,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    };
    let Command { log, cursor, .. } = &command;
    let Some(exporter) = served.controlled.exporter(log, cursor) else {
        let error =
            format!("no exporter has cursor {cursor} of log {log}: dead letters are sent by the one that parked them");
        return answer(StatusCode::NOT_FOUND, &json!({ "error": error }));
    };
    let replay = dead_letters::Replay {
        spool: served.controlled.spool.clone(),
        log: log.clone(),
        cursor: cursor.clone(),
        sink: exporter.sink.clone(),
    };
    let steps = replay.start(served.stop.requested());
    Body::from_stream(steps).into_response()
}

fn parse(path: &str, body: &[u8]) -> Result<Command, String> {
    let body = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    Command::from_json(path, &body)
}

fn failed(error: &Error) -> Response {
    let status = match error.is_not_found() {
        true => StatusCode::NOT_FOUND,
        false => StatusCode::CONFLICT,
    };
    answer(status, &json!({ "error": error.to_string() }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
