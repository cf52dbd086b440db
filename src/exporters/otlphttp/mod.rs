//! The exporter `otlphttp`: OTLP over HTTP, as binary protobuf or JSON.
//!
//! HTTP/2 where TLS negotiates it, else HTTP/1.1. What an answer means for the records is decided in `answer`, after
//! the [OTLP specification](https://opentelemetry.io/docs/specs/otlp/#otlphttp) 1.10.

mod answer;
mod encode;
mod settings;

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::SetupError;
use super::connect::{Connector, USER_AGENT, causes, connect_timeout, headers, is_https};
use super::sink::{Request, SendError, Sent, Sink};
use crate::auth;
use crate::otlp::Signal;
use crate::url::without_secrets;
use answer::Answer;
pub use settings::{Compression, Encoding, Endpoints, Settings};

/// How much of an answer is read, in bytes: what the specification lets a client cap a response at.
const MAX_RESPONSE: usize = 4 << 20;
/// Of an error the beginning is enough.
const MAX_ERROR: usize = 64 << 10;
/// How long an answer's body may take after its head.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that nothing was sent over for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// What a closed connection may mean.
const WITHOUT_CERTIFICATE: &str =
    " (so ends a connection to a server that asks for a client certificate, tls.cert_file)";

/// A client of one OTLP/HTTP backend. Connects when it first sends, and again whenever the connection is lost.
#[derive(Debug)]
pub struct OtlpHttp {
    client: Client<Connector, Full<Bytes>>,
    logs: Option<Target>,
    traces: Option<Target>,
    metrics: Option<Target>,
    auth: Option<auth::Client>,
    settings: Settings,
}

/// Where the requests of a signal go, and what is sent with each.
#[derive(Debug)]
struct Target {
    url: Uri,
    headers: HeaderMap,
}

impl OtlpHttp {
    /// A client with these settings. Reads the TLS files and the environment's proxies; connects to nothing.
    ///
    /// # Errors
    /// [`SetupError`] for an endpoint, a header or a TLS file that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let url = |signal| settings.endpoints.url(signal).as_deref().map(parse).transpose();
        let urls = [url(Signal::Logs)?, url(Signal::Traces)?, url(Signal::Metrics)?];
        let tls = urls.iter().flatten().any(is_https).then_some(&settings.tls);
        let connector = Connector::http(tls, connect_timeout(settings.timeout))?;
        let target = |url: Option<Uri>| url.map(|url| target(url, &settings, &connector)).transpose();
        let [logs, traces, metrics] = urls.map(target);
        let (logs, traces, metrics) = (logs?, traces?, metrics?);
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(settings.keep_alive.interval)
            .http2_keep_alive_timeout(settings.keep_alive.timeout);
        let client = builder.build(connector);
        let auth = settings.auth.clone().map(auth::Client::new);
        Ok(Self { client, logs, traces, metrics, auth, settings })
    }

    fn target(&self, signal: Signal) -> Option<&Target> {
        match signal {
            Signal::Logs => self.logs.as_ref(),
            Signal::Traces => self.traces.as_ref(),
            Signal::Metrics => self.metrics.as_ref(),
        }
    }

    /// Sends a request; the head of its answer, the body still to come.
    async fn post(&self, target: &Target, body: Bytes) -> Result<Response<Incoming>, String> {
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.url.clone();
        *request.headers_mut() = target.headers.clone();
        if let Some(auth) = &self.auth {
            let (name, value) = auth.header()?;
            request.headers_mut().insert(name, value);
        }
        self.client.request(request).await.map_err(|error| {
            let reason = causes(&error);
            // With TLS 1.3 the server's word about it comes after the handshake, and is lost with the connection.
            let is_unnamed = target.url.scheme_str() == Some("https") && self.settings.tls.cert_file.is_none();
            if is_unnamed && !error.is_connect() { format!("{reason}{WITHOUT_CERTIFICATE}") } else { reason }
        })
    }
}

impl Sink for OtlpHttp {
    async fn send(&self, request: Request) -> Result<Sent, SendError> {
        let Some(target) = self.target(request.signal) else {
            let reason = format!("no endpoint takes {}", request.signal);
            return Err(SendError::Refused { reason });
        };
        let items = request.items;
        let body = encode::body(request, self.settings.encoding, self.settings.compression).await?;
        let timeout = self.settings.timeout;
        let post = self.post(target, body);
        let answer = if timeout.is_zero() {
            post.await
        } else {
            let late = |_| Err(format!("no answer within {} s", timeout.as_secs_f64()));
            tokio::time::timeout(timeout, post).await.unwrap_or_else(late)
        };
        match answer {
            Ok(answer) => read_answer(answer).await.judge(items),
            Err(reason) => Err(SendError::Retry { reason, after: None }),
        }
    }
}

/// A URL that requests can be sent to.
fn parse(url: &str) -> Result<Uri, SetupError> {
    let wrong = |reason: String| SetupError::Endpoint { endpoint: without_secrets(url).into_owned(), reason };
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    if uri.host().is_none_or(str::is_empty) || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("no URL with http or https and a host".into()));
    }
    Ok(uri)
}

fn target(url: Uri, settings: &Settings, connector: &Connector) -> Result<Target, SetupError> {
    connector.check(&url)?;
    let mut all = HeaderMap::new();
    all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    all.insert(header::CONTENT_TYPE, encode::content_type(settings.encoding));
    if let Some(encoding) = encode::content_encoding(settings.compression) {
        all.insert(header::CONTENT_ENCODING, encoding);
    }
    if let Some(mut authorization) = connector.proxy_authorization(&url) {
        authorization.set_sensitive(true);
        all.insert(header::PROXY_AUTHORIZATION, authorization);
    }
    // In place of ours with the same name.
    all.extend(headers(&settings.headers)?);
    Ok(Target { url, headers: all })
}

/// The whole answer. The status alone says what became of the records: a body that breaks off or does not come takes
/// nothing back.
async fn read_answer(response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let limit = if head.status.is_success() { MAX_RESPONSE } else { MAX_ERROR };
    let mut bytes = Vec::new();
    if tokio::time::timeout(BODY_TIMEOUT, read(&mut body, limit, &mut bytes)).await.is_err() {
        tracing::debug!(status = %head.status, "an answer's body did not come to its end");
    }
    Answer { status: head.status, headers: head.headers, body: bytes }
}

/// Reads a body as far as it comes, up to a limit.
async fn read(body: &mut Incoming, limit: usize, bytes: &mut Vec<u8>) {
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(data) = frame.into_data() else { continue };
        bytes.extend_from_slice(&data[..data.len().min(limit - bytes.len())]);
        if bytes.len() == limit {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
