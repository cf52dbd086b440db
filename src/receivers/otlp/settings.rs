//! The checked configuration of the receiver `otlp`.

use std::net::SocketAddr;

/// Which protocols listen, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `protocols.grpc`; absent: gRPC does not listen.
    pub grpc: Option<GrpcSettings>,
    /// `protocols.http`; absent: HTTP does not listen.
    pub http: Option<HttpSettings>,
}

/// `protocols.grpc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcSettings {
    /// Where it listens. Default `127.0.0.1:4317`.
    pub endpoint: SocketAddr,
    /// The largest message after decompression, in bytes. Default 4 MiB.
    pub max_message_bytes: usize,
}

/// `protocols.http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens. Default `127.0.0.1:4318`.
    pub endpoint: SocketAddr,
    /// The largest body, before and after decompression, in bytes. Default 20 MiB.
    pub max_body_bytes: usize,
}

impl Default for GrpcSettings {
    fn default() -> Self {
        Self { endpoint: SocketAddr::from(([127, 0, 0, 1], 4317)), max_message_bytes: 4 << 20 }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { endpoint: SocketAddr::from(([127, 0, 0, 1], 4318)), max_body_bytes: 20 << 20 }
    }
}
