//! Clients that never stop sending, whatever happens to the agent.

use std::net::SocketAddr;
use std::sync::Arc;
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
pub(crate) struct Load(Vec<JoinHandle<()>>);

impl Load {
    pub(crate) fn start(agent: SocketAddr, oracle: &Arc<Oracle>, seed: u64) -> Self {
        let client = |number| tokio::spawn(send_for_ever(agent, Arc::clone(oracle), seed.wrapping_add(number)));
        Self((0..CLIENTS).map(client).collect())
    }

    /// Ends every client, also in the middle of a request.
    pub(crate) fn stop(self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn send_for_ever(agent: SocketAddr, oracle: Arc<Oracle>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        let mut client = connect(agent).await;
        while send(&mut client, &oracle, random.usize(1..=RECORDS_MAX)).await.is_ok() {
            tokio::time::sleep(PACE).await;
        }
    }
}

/// A client of the agent, as soon as it listens.
pub(crate) async fn connect(agent: SocketAddr) -> LogsServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{agent}")).unwrap().timeout(REQUEST_TIMEOUT);
    loop {
        match endpoint.connect().await {
            Ok(channel) => return LogsServiceClient::new(channel),
            Err(_) => tokio::time::sleep(RECONNECT).await,
        }
    }
}

/// Sends one request of new records; their ids once they are acknowledged.
pub(crate) async fn send(
    client: &mut LogsServiceClient<Channel>,
    oracle: &Oracle,
    count: usize,
) -> Result<Vec<u64>, tonic::Status> {
    let (ids, request) = oracle.issue(count);
    let answer = client.export(request).await?.into_inner();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_log_records);
    assert_eq!(rejected, 0, "the agent rejected records that are well formed");
    oracle.acked(&ids);
    Ok(ids)
}
