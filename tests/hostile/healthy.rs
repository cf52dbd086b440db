//! A client that does nothing wrong, and how long it waits for its answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message as _;

use crate::otlp;

/// Its pace.
const EVERY: Duration = Duration::from_millis(5);

pub(crate) struct Healthy {
    waits: Arc<Mutex<Vec<Duration>>>,
    is_over: Arc<AtomicBool>,
    client: JoinHandle<()>,
}

/// The waits of a while.
pub(crate) struct Waits {
    pub(crate) calls: usize,
    pub(crate) p99: Duration,
}

impl Healthy {
    /// Calls one after the other, over one connection, until it is told to end.
    pub(crate) fn start(agent: SocketAddr) -> Self {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (noted, over) = (Arc::clone(&waits), Arc::clone(&is_over));
        let client = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut client = LogsServiceClient::connect(format!("http://{agent}")).await.unwrap();
                let request = ExportLogsServiceRequest::decode(&*otlp::samples()[0]).unwrap();
                let mut pace = tokio::time::interval(EVERY);
                while !over.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let called = Instant::now();
                    client.export(request.clone()).await.expect("a healthy client is served");
                    noted.lock().unwrap().push(called.elapsed());
                }
            });
        });
        Self { waits, is_over, client }
    }

    /// What it waited for while something was done.
    pub(crate) fn measure(&self, work: impl FnOnce()) -> Waits {
        self.waits.lock().unwrap().clear();
        work();
        let mut waits = std::mem::take(&mut *self.waits.lock().unwrap());
        assert!(!waits.is_empty(), "not one call was answered");
        waits.sort();
        Waits { calls: waits.len(), p99: waits[waits.len() * 99 / 100] }
    }

    /// Every call of it was answered with success.
    pub(crate) fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.client.join().expect("a healthy client is served");
    }
}
