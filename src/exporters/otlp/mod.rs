//! The exporter `otlp`: OTLP over gRPC, the stored bytes passed through.
//!
//! A request is sent as it stands in the log: the codec hands bytes to tonic and takes bytes from it. What an answer
//! means for the records is decided in `answer`, after the
//! [OTLP specification](https://opentelemetry.io/docs/specs/otlp/#otlpgrpc) 1.10.

mod answer;
mod codec;
mod connect;
mod guard;
mod settings;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::connect::{Connector, SetupError, headers};
use super::response;
use super::sink::{Request, SendError, Sent, Sink};
use crate::auth;
use crate::otlp::Signal;
use codec::RawCodec;
use guard::Guarded;
pub use settings::{Compression, Settings};

/// The longest time-out that a server is told: gRPC's header has room for eight digits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

/// A client of one OTLP/gRPC backend. Connects when it first sends, and again whenever the connection is lost.
#[derive(Debug)]
pub struct Otlp {
    endpoint: Endpoint,
    connector: Connector,
    /// Made when something is sent: making it needs the runtime, which starts after exporters are built.
    channel: Mutex<Option<Channel>>,
    /// `headers`, sent with each request.
    headers: HeaderMap,
    auth: Option<auth::Client>,
    settings: Settings,
}

impl Otlp {
    /// A client with these settings. Reads the TLS files and the environment's proxies; connects to nothing.
    ///
    /// # Errors
    /// [`SetupError`] for an endpoint, a header or a TLS file that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let (endpoint, connector) = connect::endpoint(&settings)?;
        let headers = headers(&settings.headers)?;
        let auth = settings.auth.clone().map(auth::Client::new);
        Ok(Self { endpoint, connector, channel: Mutex::new(None), headers, auth, settings })
    }

    fn channel(&self) -> Channel {
        let connect = || self.endpoint.connect_with_connector_lazy(self.connector.clone());
        self.channel.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(connect).clone()
    }

    /// The next request goes over a new connection: one that does not answer may be to a server that hangs or to nobody,
    /// and pings would find that out much later. Requests in flight keep theirs.
    fn leave_connection(&self) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn call(&self, signal: Signal, payload: Bytes, has_said: Arc<AtomicBool>) -> Result<Bytes, tonic::Status> {
        let channel = Guarded { channel: self.channel(), has_said };
        let mut client = Grpc::new(channel).accept_compressed(CompressionEncoding::Gzip);
        match self.settings.compression {
            Compression::Gzip => client = client.send_compressed(CompressionEncoding::Gzip),
            #[cfg(feature = "agent")]
            Compression::Zstd => client = client.send_compressed(CompressionEncoding::Zstd),
            Compression::None => {}
        }
        let mut request = tonic::Request::new(payload);
        *request.metadata_mut() = self.metadata()?;
        if !self.settings.timeout.is_zero() {
            // The server may give up a little later than we do, so that our own clearer message is the one told.
            request.set_timeout(self.settings.timeout.min(LONGEST_TIMEOUT) + Duration::from_secs(1));
        }
        client.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
        Ok(client.unary(request, PathAndQuery::from_static(path(signal)), RawCodec).await?.into_inner())
    }

    /// The headers of a request, credentials among them.
    fn metadata(&self) -> Result<MetadataMap, tonic::Status> {
        let mut headers = self.headers.clone();
        if let Some(auth) = &self.auth {
            let (name, value) = auth.header().map_err(tonic::Status::unauthenticated)?;
            headers.insert(name, value);
        }
        Ok(MetadataMap::from_headers(headers))
    }
}

impl Sink for Otlp {
    async fn send(&self, request: Request) -> Result<Sent, SendError> {
        let timeout = self.settings.timeout;
        let has_said = Arc::new(AtomicBool::new(false));
        let call = self.call(request.signal, request.payload, Arc::clone(&has_said));
        let answer = if timeout.is_zero() {
            call.await
        } else {
            // Connecting is part of the attempt, so the header that tonic sends is not enough.
            tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
                self.leave_connection();
                let message = format!("no answer within {} s", timeout.as_secs_f64());
                Err(tonic::Status::new(Code::DeadlineExceeded, message))
            })
        };
        match answer {
            Ok(response) => Ok(response::sent(&response, request.items)),
            Err(status) => Err(answer::error(&status, has_said.load(Ordering::Relaxed))),
        }
    }
}

/// The unary method that takes a signal.
const fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

#[cfg(test)]
mod tests;
