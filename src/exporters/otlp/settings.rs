//! The checked configuration of the exporter `otlp`.

use std::fmt;
use std::time::Duration;

use crate::auth::ClientSettings;
use crate::exporters::{KeepAlive, Tls};

/// The checked configuration of the exporter `otlp`.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// `host:port`, or a URL with `http` or `https`.
    pub endpoint: String,
    /// `tls`.
    pub tls: Tls,
    /// `headers`, sent with each request; values are secrets.
    pub headers: Vec<(String, String)>,
    /// `auth`: credentials, sent with each request.
    pub auth: Option<ClientSettings>,
    /// `compression`. Default gzip.
    pub compression: Compression,
    /// `timeout` of one attempt; zero: none. Default 5 s.
    pub timeout: Duration,
    /// How a silent connection is looked after.
    pub keep_alive: KeepAlive,
}

impl fmt::Debug for Settings {
    /// Leaves out the headers' values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole, so that a field that is added must be judged here.
        let Self { endpoint, tls, headers, auth, compression, timeout, keep_alive } = self;
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("endpoint", endpoint)
            .field("tls", tls)
            .field("headers", &names)
            .field("auth", auth)
            .field("compression", compression)
            .field("timeout", timeout)
            .field("keep_alive", keep_alive)
            .finish()
    }
}

/// How request bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// gzip.
    #[default]
    Gzip,
    /// zstd.
    #[cfg(feature = "agent")]
    Zstd,
    /// Not at all.
    None,
}
