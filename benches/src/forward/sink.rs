//! The backend: counts log records and answers success; decodes nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tonic::transport::server::TcpIncoming;

use super::load::EXPORT;
use crate::raw::RawCodec;

/// What arrived, and when the first of it did.
#[derive(Debug, Default)]
struct Arrived {
    records: AtomicU64,
    first: Mutex<Option<Instant>>,
}

impl Arrived {
    fn first(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Service(Arc<Arrived>);

impl tonic::server::UnaryService<Bytes> for Service {
    type Response = Bytes;
    type Future = std::future::Ready<Result<tonic::Response<Bytes>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        self.0.first().get_or_insert_with(Instant::now);
        let items = tidegate::otlp::count(tidegate::otlp::Signal::Logs, request.get_ref()).unwrap_or(0);
        self.0.records.fetch_add(u64::from(items), Ordering::Relaxed);
        std::future::ready(Ok(tonic::Response::new(Bytes::new())))
    }
}

/// A running backend; ends when dropped.
pub(super) struct Sink {
    arrived: Arc<Arrived>,
    /// Of its own: its connections end with it.
    runtime: Option<tokio::runtime::Runtime>,
}

/// An address on which nobody listens.
pub(super) fn address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

impl Sink {
    pub(super) fn start(address: SocketAddr) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let arrived = Arc::new(Arrived::default());
        let service = Service(Arc::clone(&arrived));
        let export = move |request: axum::extract::Request| async move {
            let mut grpc = tonic::server::Grpc::new(RawCodec)
                .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
                .max_decoding_message_size(64 << 20);
            grpc.unary(service, request).await
        };
        let routes = tonic::service::Routes::from(axum::Router::new().route(EXPORT, axum::routing::post(export)));
        runtime.spawn(async move {
            let serve = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                // A backend that holds nobody up: no waiting for acknowledgements of TCP, and wide windows.
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                let server = tonic::transport::Server::builder()
                    .initial_stream_window_size(4 << 20)
                    .initial_connection_window_size(16 << 20)
                    .max_frame_size(1 << 20)
                    .add_routes(routes);
                server.serve_with_incoming(incoming).await.map_err(std::io::Error::other)
            };
            if let Err(error) = serve.await {
                eprintln!("the sink ended: {error}");
            }
        });
        Ok(Self { arrived, runtime: Some(runtime) })
    }

    /// Waits until so many records arrived. Answers how long that took since the first did.
    pub(super) fn wait_for(&self, records: u64, limit: Duration) -> Result<Duration, String> {
        let start = Instant::now();
        while self.arrived.records.load(Ordering::Relaxed) < records {
            if start.elapsed() > limit {
                let arrived = self.arrived.records.load(Ordering::Relaxed);
                return Err(format!("only {arrived} of {records} records arrived within {limit:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(self.arrived.first().map_or(Duration::ZERO, |first| first.elapsed()))
    }

    /// Counts from here on.
    pub(super) fn begin(&self) {
        self.arrived.records.store(0, Ordering::Relaxed);
        *self.arrived.first() = None;
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
