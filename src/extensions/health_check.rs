//! The extension `health_check`: one answer, green or red, with the reasons.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use tokio::net::TcpListener;

use super::shared::Shared;

/// The checked configuration of the extension `health_check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens. Default `127.0.0.1:13133`.
    pub endpoint: SocketAddr,
    /// The path that answers; starts with a slash. Default `/`.
    pub path: String,
    /// An exporter that has something to deliver and delivers nothing for this long makes it red. Default 15 minutes.
    pub stuck_after: Duration,
    /// The configuration path of the endpoint, for messages. Default `extensions.health_check.endpoint`.
    pub key: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: SocketAddr::from(([127, 0, 0, 1], 13133)),
            path: "/".to_owned(),
            stuck_after: Duration::from_secs(15 * 60),
            key: "extensions.health_check.endpoint".to_owned(),
        }
    }
}

/// What health answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it is red; empty means green.
    pub reasons: Vec<String>,
    /// What an operator should know, red or green.
    pub notes: Vec<String>,
}

/// Answers `GET` of `path` with 200 when green and 503 when red, as the Collector does; the JSON body has the reasons.
pub async fn serve(
    listener: TcpListener,
    path: &str,
    health: Arc<dyn Fn() -> Health + Send + Sync>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let started = jiff::Timestamp::now();
    let health = Arc::new(Shared::new(health));
    let answer = move || async move {
        // One that cannot be collected is none.
        let unknown = || Health { reasons: vec!["health cannot be said".to_owned()], notes: Vec::new() };
        let health = health.get().await;
        respond(health.as_deref().unwrap_or(&unknown()), started)
    };
    super::http::serve(listener, Router::new().route(path, get(answer)), shutdown).await;
}

fn respond(health: &Health, started: jiff::Timestamp) -> impl IntoResponse + use<> {
    let (code, status) = if health.reasons.is_empty() {
        (StatusCode::OK, "Server available")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Server not available")
    };
    let body = serde_json::json!({
        "status": status,
        "upSince": started.to_string(),
        "reasons": health.reasons,
        "notes": health.notes,
    });
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string())
}
