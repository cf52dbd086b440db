//! The checked configuration of the exporter `otlp`.

use std::time::Duration;

/// The checked configuration of the exporter `otlp`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `host:port`, or a URL with `http` or `https`.
    pub endpoint: String,
    /// `tls`.
    pub tls: Tls,
    /// `headers`, sent with each request; values are secrets.
    pub headers: Vec<(String, String)>,
    /// `compression`. Default gzip.
    pub compression: Compression,
    /// `timeout` of one attempt; zero: none. Default 5 s.
    pub timeout: Duration,
}

/// How the connection is secured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Plain HTTP/2, no TLS.
    pub insecure: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<std::path::PathBuf>,
    /// PEM file of the client certificate.
    pub cert_file: Option<std::path::PathBuf>,
    /// PEM file of the client key.
    pub key_file: Option<std::path::PathBuf>,
    /// The name to check the server's certificate against, instead of the endpoint's host.
    pub server_name_override: Option<String>,
}

/// How request bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// gzip.
    #[default]
    Gzip,
    /// Not at all.
    None,
}
