//! The loopback HTTP server behind health and metrics.

use std::future::Future;

use axum::Router;
use tokio::net::TcpListener;

/// Serves `router` until `shutdown` completes.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown).await {
        tracing::error!(%error, "the server of health or metrics ended");
    }
}
