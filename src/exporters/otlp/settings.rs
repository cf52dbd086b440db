//! The checked configuration of the exporter `otlp`.

use std::time::Duration;

use crate::auth::{ClientSettings, Secret};
use crate::exporters::{KeepAlive, Tls};

/// The checked configuration of the exporter `otlp`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `host:port`, or a URL with `http` or `https`.
    pub endpoint: String,
    /// `tls`.
    pub tls: Tls,
    /// `headers`, sent with each request.
    pub headers: Vec<(String, Secret)>,
    /// `auth`: credentials, sent with each request.
    pub auth: Option<ClientSettings>,
    /// `compression`. Default gzip.
    pub compression: Compression,
    /// `timeout` of one attempt; zero: none. Default 5 s.
    pub timeout: Duration,
    /// How a silent connection is looked after.
    pub keep_alive: KeepAlive,
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
