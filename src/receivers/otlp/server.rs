//! Connections: accepting, their limits, and an orderly end.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::gather::Gathered;
use super::idle::InFlight;
use super::listener::{Listener, Stream};
use super::places::{Place, Places};
use super::reply::Reply;
use super::settings::Limits;
use crate::listen::tls::Certificates;

/// What a peer may send ahead of being read, in bytes. The connection's window holds those of all its streams: requests
/// that wait for memory must not keep the bodies of admitted ones from arriving. What is held so is bounded by the
/// places of [`super::arrivals`]: who has none is refused at once, and what he sends thrown away.
const STREAM_WINDOW: u32 = 64 << 10;
/// An HTTP/2 peer that is silent is asked whether it is there, and left when it does not answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// HTTP/1 needs as much to read at all; the handlers refuse larger heads after they were read.
const MIN_BUFFER: usize = 16 << 10;
/// How long a client whose place is wanted may take to hear that.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long who connected in the last moment has for his request.
const FIRST_REQUEST: Duration = Duration::from_millis(100);
/// How long accepting pauses after it failed, for want of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One port, and how it is served.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) listener: Listener,
    pub(super) tls: Option<Certificates>,
    pub(super) limits: Limits,
    /// Held until no more connections are accepted.
    pub(super) accepting: Option<mpsc::Sender<()>>,
}

impl Server {
    /// Serves connections until `stop` completes, then finishes the requests that are in flight.
    pub(super) async fn serve<H, F>(self, handler: H, stop: impl Future<Output = ()>)
    where
        H: Fn(Request<Incoming>, InFlight) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Reply>> + Send + 'static,
    {
        let Self { listener, tls, limits, accepting } = self;
        let (stopping, stopped) = watch::channel(());
        let terms = Terms { builder: builder(&limits), limits, stopped };
        let places = Places::new(terms.limits.max_connections);
        let answer = |stream, place| {
            let acceptor = tls.as_ref().map(Certificates::acceptor);
            terms.clone().connection(stream, place, acceptor, handler.clone())
        };
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        // One at most waits for a place here, and all others in the listener's queue.
        let mut accepted = None;
        loop {
            tokio::select! {
                () = &mut stop => break,
                stream = accept(&listener), if accepted.is_none() => accepted = stream,
                Some(place) = places.take(), if accepted.is_some() => {
                    let Some(stream) = accepted.take() else { continue };
                    connections.spawn(answer(stream, place));
                }
                Some(_) = connections.join_next() => {}
            }
        }
        if let Some(stream) = accepted
            && let Ok(Some(place)) = timeout(FIRST_REQUEST, places.take()).await
        {
            connections.spawn(answer(stream, place));
        }
        drop((listener, accepting, stopping));
        while connections.join_next().await.is_some() {}
    }
}

async fn accept(listener: &Listener) -> Option<Stream> {
    match listener.accept().await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "the receiver otlp cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// What every connection of a port is served under.
#[derive(Debug, Clone)]
struct Terms {
    builder: Builder<TokioExecutor>,
    limits: Limits,
    /// Its other side goes when the receiver stops.
    stopped: watch::Receiver<()>,
}

impl Terms {
    async fn connection<H, F>(mut self, stream: Stream, place: Place, acceptor: Option<TlsAcceptor>, handler: H)
    where
        H: Fn(Request<Incoming>, InFlight) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Reply>> + Send + 'static,
    {
        let Some(acceptor) = acceptor else { return self.serve(stream, &place, handler).await };
        let handshake = timeout(self.limits.handshake_timeout, acceptor.accept(stream));
        // Nothing is in flight yet: a stop does not wait for it.
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = place.activity.asked_to_go() => return,
            _ = self.stopped.changed() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, &place, handler).await,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client of the receiver otlp did not get to an agreement on TLS")
            }
            Err(_) => tracing::debug!("a client of the receiver otlp did not finish its TLS handshake"),
        }
    }

    /// Serves until the client goes, is idle for too long or while its place is wanted, or the receiver stops.
    async fn serve<I, H, F>(mut self, stream: I, place: &Place, handler: H)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Fn(Request<Incoming>, InFlight) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Reply>> + Send + 'static,
    {
        let activity = &place.activity;
        let service = {
            let activity = Arc::clone(activity);
            service_fn(move |request: Request<Incoming>| {
                let answer = handler(request, activity.begin());
                async move { Ok::<_, Infallible>(answer.await) }
            })
        };
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(Gathered::new(stream)), service));
        let mut idle = pin!(activity.idle(self.limits.header_timeout, self.limits.idle_timeout));
        // What is in flight has to arrive within this, and its answer to be read: who does not is left.
        let patience = tokio::select! {
            ended = connection.as_mut() => return told(Ok(ended)),
            () = &mut idle => self.limits.body_timeout,
            () = activity.asked_to_go() => GOODBYE,
            _ = self.stopped.changed() => self.limits.body_timeout,
        };
        // Who has just connected is about to ask, and would not know why nobody answers.
        if activity.is_new()
            && let Ok(ended) = timeout(FIRST_REQUEST, connection.as_mut()).await
        {
            return told(Ok(ended));
        }
        connection.as_mut().graceful_shutdown();
        told(timeout(patience, connection).await);
    }
}

/// How a connection ended.
fn told(ended: Result<Result<(), Box<dyn Error + Send + Sync>>, Elapsed>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error, "a connection to the receiver otlp ended badly"),
        Err(_) => tracing::debug!("a client of the receiver otlp did not let its connection end"),
    }
}

/// HTTP/1.1, and HTTP/2 without TLS from who begins with its preface. The port of gRPC takes both, so that who speaks
/// OTLP over HTTP to it can be told.
fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Heads have no timer of hyper's: it would run between requests too. Who does not finish his is idle.
    let largest_head = (4 * limits.max_header_bytes as usize).max(MIN_BUFFER);
    builder.http1().header_read_timeout(None).max_buf_size(largest_head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .max_frame_size(STREAM_WINDOW)
        .max_header_list_size(limits.max_header_bytes)
        .max_concurrent_streams(limits.max_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(limits.max_streams.saturating_mul(STREAM_WINDOW).min(i32::MAX as u32));
    builder
}
