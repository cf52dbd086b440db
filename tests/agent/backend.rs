//! An OTLP backend with moods.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use tokio::runtime::Runtime;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use crate::client::texts;
use crate::stage::PATIENCE;
use crate::support::wait_for;

/// How it answers.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    Take,
    Refuse(Code, &'static str),
    /// Takes what comes, and complains of it.
    Complain(&'static str),
    /// Takes the request and says nothing, for ever.
    Silent,
}

/// The backend. Gone, with all its connections, when it is dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

struct State {
    mood: Mutex<Mood>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: u64,
    empty: u64,
    bodies: Vec<String>,
}

struct Service(Arc<State>);

impl Backend {
    /// Listens on a free port.
    pub(crate) fn start(mood: Mood) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), mood)
    }

    pub(crate) fn at(address: SocketAddr, mood: Mood) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { mood: Mutex::new(mood), seen: Mutex::default() });
        let service = LogsServiceServer::new(Service(Arc::clone(&state)));
        let service = service.accept_compressed(CompressionEncoding::Gzip);
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, state, runtime: Some(runtime) }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// Requests that came, taken or not.
    pub(crate) fn requests(&self) -> u64 {
        self.state.seen.lock().unwrap().requests
    }

    /// Requests without a record.
    pub(crate) fn empty_requests(&self) -> u64 {
        self.state.seen.lock().unwrap().empty
    }

    /// The bodies of all records that it took, duplicates too.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().bodies.clone()
    }

    /// Waits until it has taken each of these at least once.
    #[track_caller]
    pub(crate) fn wait_for(&self, bodies: &[impl AsRef<str>]) {
        let missing = || {
            let taken: BTreeSet<String> = self.bodies().into_iter().collect();
            bodies.iter().filter(|body| !taken.contains(body.as_ref())).count()
        };
        let all = wait_for(PATIENCE, || (missing() == 0).then_some(()));
        assert!(all.is_some(), "{} of {} records never came", missing(), bodies.len());
    }

    /// Waits until a request has come, taken or not.
    #[track_caller]
    pub(crate) fn wait_for_request(&self) {
        wait_for(PATIENCE, || (self.requests() > 0).then_some(())).expect("no request came");
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], crate::support::free_port()))
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mood = self.0.mood.lock().unwrap().clone();
        {
            let mut seen = self.0.seen.lock().unwrap();
            seen.requests += 1;
            seen.empty += u64::from(texts(request.get_ref()).is_empty());
        }
        match mood {
            Mood::Take => {
                self.0.seen.lock().unwrap().bodies.extend(texts(request.get_ref()));
                Ok(Response::new(ExportLogsServiceResponse::default()))
            }
            Mood::Complain(message) => {
                self.0.seen.lock().unwrap().bodies.extend(texts(request.get_ref()));
                let partial = ExportLogsPartialSuccess { error_message: message.into(), ..Default::default() };
                Ok(Response::new(ExportLogsServiceResponse { partial_success: Some(partial) }))
            }
            Mood::Refuse(code, reason) => Err(Status::new(code, reason)),
            Mood::Silent => std::future::pending().await,
        }
    }
}
