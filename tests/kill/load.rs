//! Clients that never stop sending, whatever happens to the agent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::oracle::Oracle;

const CLIENTS: u64 = 8;
const RECORDS_MAX: usize = 50;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries to reach an agent that is down.
const RECONNECT: Duration = Duration::from_millis(5);
/// Between two requests of one client, so that the backlog of a run stays small enough to count.
const PACE: Duration = Duration::from_millis(10);

/// The clients. A request that fails is not sent again: its records stay issued and unacknowledged.
pub(crate) struct Load {
    stopping: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(agent: SocketAddr, oracle: &Arc<Oracle>, seed: u64) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let (oracle, stopping) = (Arc::clone(oracle), Arc::clone(&stopping));
            tokio::spawn(send_until(stopping, agent, oracle, seed.wrapping_add(number)))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stopping, clients }
    }

    /// Ends every client after its request: an answer that is on its way still counts.
    pub(crate) async fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

async fn send_until(stopping: Arc<AtomicBool>, agent: SocketAddr, oracle: Arc<Oracle>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let stopping = || stopping.load(Ordering::SeqCst);
    while !stopping() {
        let Ok(mut client) = try_connect(agent).await else {
            tokio::time::sleep(RECONNECT).await;
            continue;
        };
        while !stopping() && send(&mut client, &oracle, random.usize(1..=RECORDS_MAX)).await.is_ok() {
            tokio::time::sleep(PACE).await;
        }
        // The connection may stand although nobody answers behind it.
        tokio::time::sleep(RECONNECT).await;
    }
}

/// A client of the agent, as soon as it listens.
pub(crate) async fn connect(agent: SocketAddr) -> LogsServiceClient<Channel> {
    loop {
        match try_connect(agent).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(RECONNECT).await,
        }
    }
}

async fn try_connect(agent: SocketAddr) -> Result<LogsServiceClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{agent}"))?.timeout(REQUEST_TIMEOUT);
    Ok(LogsServiceClient::new(endpoint.connect().await?))
}

/// Sends one request of new records; their ids once they are acknowledged.
pub(crate) async fn send(
    client: &mut LogsServiceClient<Channel>,
    oracle: &Oracle,
    count: usize,
) -> Result<Vec<u64>, tonic::Status> {
    let (ids, request) = oracle.issue(count);
    let answer = client.export(request).await.inspect_err(|status| {
        if status.code() == tonic::Code::ResourceExhausted {
            oracle.refused();
        }
    });
    let answer = answer?.into_inner();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_log_records);
    assert_eq!(rejected, 0, "the agent rejected records that are well formed");
    oracle.acked(&ids);
    Ok(ids)
}
