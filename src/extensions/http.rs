//! The loopback HTTP server behind health and metrics: few connections, one request on each, little patience.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service as _;

/// Connections at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 32;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last: its head, the collection, and the reading of the answer.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long one may last once nothing more is accepted.
const LAST: Duration = Duration::from_secs(1);
/// The most that is held of a head.
const MAX_HEAD: usize = 16 << 10;
/// How long accepting pauses after it failed, for want of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown` completes. The listener goes at once; what is in flight has a second more.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send + 'static) {
    let mut connections = accept(listener, router, shutdown).await;
    let finished = timeout(LAST, async { while connections.join_next().await.is_some() {} });
    if finished.await.is_err() {
        tracing::debug!("a connection to health or metrics was cut off");
    }
}

/// Accepts connections until `shutdown` completes: those that are in flight then.
async fn accept(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) -> JoinSet<()> {
    let (places, mut connections, mut shutdown) =
        (Arc::new(Semaphore::new(MAX_CONNECTIONS)), JoinSet::new(), pin!(shutdown));
    loop {
        let accepted = async {
            // Nobody closes it.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut shutdown => return connections,
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        answer(stream, router).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the server of health or metrics cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, router: Router) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = router.clone().call(request.map(axum::body::Body::new) as Request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(LIFETIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to health or metrics ended badly"),
        Err(_) => tracing::debug!("a client of health or metrics took too long"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn silent_clients_are_left_and_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "well"));
        let serving = tokio::spawn(serve(listener, router, std::future::pending()));
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let answered = timeout(3 * HEAD_TIMEOUT, client.read_to_string(&mut answer)).await;
        answered.expect("no answer, or the connection stays").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("well"), "{answer}");
        for mut one in silent {
            timeout(HEAD_TIMEOUT, one.read_to_end(&mut Vec::new())).await.expect("it keeps its place").unwrap();
        }
        serving.abort();
    }
}
