//! How a [`LogExporter`] is made.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::{Compression, LogExporter, RetrySettings, SetupError, Tls};
use crate::auth::Secret;
use crate::exporters::{KeepAlive, drain, otlp};
use crate::spool::{self, Limit, LogOptions, Options};

/// Where the OTLP specification says a gRPC endpoint is, when nobody says otherwise.
const ENDPOINT: &str = "http://localhost:4317";
/// The OTLP specification's.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An application shares its disk with more than its telemetry.
const MAX_SIZE: u64 = 1 << 30;
/// Delivered records that are kept for `tidegate tail`.
const RETAIN_SIZE: u64 = 64 << 20;

/// Why a [`LogExporter`] cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No directory was given.
    #[error("no directory: call directory(path) with one that this process alone writes")]
    NoDirectory,
    /// An environment variable that this exporter takes has a value that it cannot use.
    #[error("{variable}: {reason}")]
    Environment {
        /// The variable.
        variable: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The endpoint, a header or a TLS file cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The directory cannot be opened as a log: owned by another process, no permission, damaged.
    #[error(transparent)]
    Log(#[from] spool::Error),
    /// The thread that delivers cannot be started.
    #[error("cannot start the delivering thread: {0}")]
    Thread(#[source] io::Error),
}

/// Makes a [`LogExporter`]. Only the directory is required; the rest comes from the `OTEL_EXPORTER_OTLP_*` variables
/// where it is not set here.
#[derive(Debug, Clone)]
#[must_use = "call build"]
pub struct LogExporterBuilder {
    directory: Option<PathBuf>,
    endpoint: Option<String>,
    headers: Option<Vec<(String, Secret)>>,
    timeout: Option<Duration>,
    compression: Option<Compression>,
    tls: Option<Tls>,
    retry: RetrySettings,
    options: Options,
    queue: Queue,
}

/// What waits for the endpoint, and what happens when it is too much.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queue {
    pub(super) max_pending: Option<Limit>,
    /// How long `export` waits for room.
    pub(super) wait: Duration,
}

impl Default for LogExporterBuilder {
    fn default() -> Self {
        let log = LogOptions { retain_size: RETAIN_SIZE, ..LogOptions::default() };
        Self {
            directory: None,
            endpoint: None,
            headers: None,
            timeout: None,
            compression: None,
            tls: None,
            // Sooner than an agent: an application may not run for long.
            retry: RetrySettings { initial_interval: Duration::from_secs(1), ..RetrySettings::default() },
            options: Options { log, max_size: Some(MAX_SIZE), ..Options::default() },
            queue: Queue::default(),
        }
    }
}

impl LogExporterBuilder {
    /// Where records are kept until they are delivered. One process writes a directory; it is made (0700) when it is
    /// missing. A program that runs several times at once gives each its own.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// The OTLP/gRPC endpoint: an `http` or `https` URL. Else `OTEL_EXPORTER_OTLP_ENDPOINT`, else
    /// `http://localhost:4317`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// A header that is sent with each request; may be called again. Else `OTEL_EXPORTER_OTLP_HEADERS`.
    pub fn header(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.get_or_insert_default().push((key.into(), Secret(value.into())));
        self
    }

    /// How long one attempt may take; zero: no limit. Else `OTEL_EXPORTER_OTLP_TIMEOUT`, else 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How requests are compressed. Else `OTEL_EXPORTER_OTLP_COMPRESSION`, else gzip.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// How the connection is secured when the endpoint is `https`. Else `OTEL_EXPORTER_OTLP_CERTIFICATE`,
    /// `_CLIENT_CERTIFICATE`, `_CLIENT_KEY` and `_INSECURE`, else the system's authorities.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How failed deliveries are tried again. Default for ever, from 1 s to 30 s apart.
    pub fn retry(mut self, retry: RetrySettings) -> Self {
        self.retry = retry;
        self
    }

    /// Limits and durability of the log. Default: synced before `export` returns, 1 GiB at most, then new batches are
    /// refused; 64 MiB of delivered records are kept.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// How much may wait for the endpoint. Default: what the log has room for. Beyond it new batches are refused, or with
    /// [`OnFull::DropOldest`](crate::spool::OnFull) the oldest records are dropped.
    pub fn max_pending(mut self, limit: Limit) -> Self {
        self.queue.max_pending = Some(limit);
        self
    }

    /// Has `export` wait for room, so long at most, instead of being refused at once. The batch processor waits with it
    /// and drops what its own queue cannot hold; with the simple one the program waits, and so does a shutdown meanwhile.
    /// Default zero.
    pub fn block_on_overflow(mut self, at_most: Duration) -> Self {
        self.queue.wait = at_most;
        self
    }

    /// Opens the log and starts to deliver what it holds. Blocks on the disk; works inside and outside of a runtime.
    ///
    /// # Errors
    /// See [`BuildError`]. An endpoint that is away is none.
    pub fn build(self) -> Result<LogExporter, BuildError> {
        self.build_in(|variable| std::env::var(variable).ok())
    }

    pub(super) fn build_in(self, variable: impl Fn(&str) -> Option<String>) -> Result<LogExporter, BuildError> {
        let client = otlp::Otlp::new(self.client_settings(&Environment(variable))?)?;
        let directory = self.directory.ok_or(BuildError::NoDirectory)?;
        let drain = drain::Settings { retry: self.retry, ..drain::Settings::default() };
        LogExporter::open(&directory, self.options, self.queue, client, drain)
    }

    pub(super) fn client_settings<F: Fn(&str) -> Option<String>>(
        &self,
        environment: &Environment<F>,
    ) -> Result<otlp::Settings, BuildError> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => Some(endpoint.clone()),
            None => environment.endpoint()?,
        };
        let headers = match &self.headers {
            Some(headers) => Some(headers.clone()),
            None => environment.headers()?,
        };
        let timeout = match self.timeout {
            Some(timeout) => Some(timeout),
            None => environment.timeout()?,
        };
        let compression = match self.compression {
            Some(compression) => Some(compression),
            None => environment.compression()?,
        };
        let tls = self.tls.clone().unwrap_or_else(|| Tls {
            insecure: environment.insecure(),
            ca_file: environment.file("CERTIFICATE"),
            cert_file: environment.file("CLIENT_CERTIFICATE"),
            key_file: environment.file("CLIENT_KEY"),
            ..Tls::default()
        });
        Ok(otlp::Settings {
            endpoint: endpoint.unwrap_or_else(|| ENDPOINT.to_owned()),
            tls,
            headers: headers.unwrap_or_default(),
            auth: None,
            compression: compression.unwrap_or_default(),
            timeout: timeout.unwrap_or(TIMEOUT),
            keep_alive: KeepAlive::default(),
        })
    }
}
