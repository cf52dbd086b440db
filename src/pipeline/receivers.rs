//! The ways in that listen: bound before anything starts, stopped before the drains.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::Stop;
use super::budgets::Budgets;
use crate::config::{Config, Id, Receiver};
use crate::listen::Ports;
use crate::receivers::{Intake, otlp};

/// Binds the ports of every `otlp` receiver.
pub(super) fn bind(
    config: &Config,
    budgets: &Budgets,
    passwords: &otlp::RememberedPasswords,
    ports: &mut Ports,
) -> Result<BTreeMap<Id, otlp::Bound>, otlp::ListenError> {
    let mut bound = BTreeMap::new();
    for (id, receiver) in &config.receivers {
        if let Receiver::Otlp(settings) = receiver {
            let one = otlp::bind(&id.to_string(), settings, ports)?;
            bound.insert(id.clone(), one.sharing(budgets.for_receiver(id)).remembering(passwords));
        }
    }
    Ok(bound)
}

/// The start-up lines.
pub(super) fn facts(bound: &BTreeMap<Id, otlp::Bound>) -> Vec<String> {
    bound.iter().map(|(id, bound)| format!("receiver {id}: {}", bound.endpoints())).collect()
}

/// The running receivers.
#[derive(Debug)]
pub(super) struct Receivers {
    stop: Stop,
    servers: JoinSet<()>,
    /// Has its other side as long as one of them accepts connections.
    accepting: mpsc::Receiver<()>,
    /// To end them with what they have in flight.
    ends: Vec<AbortHandle>,
}

impl Receivers {
    pub(super) fn start(bound: BTreeMap<Id, otlp::Bound>, intakes: &BTreeMap<Id, Intake>) -> Self {
        let (stop, mut servers, mut ends) = (Stop::new(), JoinSet::new(), Vec::new());
        let (accepts, accepting) = mpsc::channel(1);
        for (id, bound) in bound {
            if let Some(intake) = intakes.get(&id) {
                // On a task of its own, so that a panic is told when it happens.
                let server = tokio::spawn(bound.telling(accepts.clone()).serve(intake.clone(), stop.requested()));
                ends.push(server.abort_handle());
                servers.spawn(async move {
                    match server.await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::error!(receiver = %id, %error, "the receiver ended"),
                        Err(error) if error.is_cancelled() => {}
                        Err(error) => tracing::error!(receiver = %id, %error, "the receiver ended badly"),
                    }
                });
            }
        }
        Self { stop, servers, accepting, ends }
    }

    /// Stops accepting, and lets the requests in flight go on beside what comes next, by `deadline` at the latest.
    pub(super) async fn hand_over(mut self, deadline: Instant) {
        self.stop.now();
        // Its port may be wanted at another address.
        while self.accepting.recv().await.is_some() {}
        tokio::spawn(self.stop(deadline));
    }

    /// Stops accepting and waits for the requests in flight.
    pub(super) async fn stop(mut self, deadline: Instant) {
        self.stop.now();
        let finished = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(left(deadline), finished).await.is_err() {
            tracing::warn!("requests in flight were cut off; their senders were not acknowledged and will send again");
            self.ends.iter().for_each(AbortHandle::abort);
            // It is at once; until then its ports and its memory are not given back.
            while self.servers.join_next().await.is_some() {}
        }
    }
}

/// Until the deadline, but never nothing: what is already done must be seen as done.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(10))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::otlp::Signal;
    use crate::receivers::otlp::{Endpoint, HttpSettings, Settings};
    use crate::spool::{Options, Spool};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stop_that_cannot_wait_cuts_off_what_is_in_flight() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), Options::default()).unwrap();
        let http =
            HttpSettings { endpoint: Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), ..Default::default() };
        let bound =
            otlp::bind("otlp", &Settings { http: Some(http), ..Settings::default() }, &mut Ports::default()).unwrap();
        let (address, id) = (bound.http_addr().unwrap(), Id::new("otlp", ""));
        let intake = Intake::new(vec![(Signal::Logs, spool.log("logs").unwrap())]);
        let receivers = Receivers::start(BTreeMap::from([(id.clone(), bound)]), &BTreeMap::from([(id, intake)]));
        let mut half = TcpStream::connect(address).unwrap();
        half.write_all(
            b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        )
        .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        receivers.stop(Instant::now()).await;
        half.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let ended = tokio::task::spawn_blocking(move || half.read(&mut [0; 1])).await.unwrap();
        assert!(ended.as_ref().map_or_else(|error| !is_timeout(error), |length| *length == 0), "{ended:?}");
    }

    fn is_timeout(error: &std::io::Error) -> bool {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    }
}
