//! The checked configuration of the receiver `otlp`.

use std::net::{SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::ServerSettings;
use crate::listen::tls::ServerTls;
use crate::listen::unix::SocketMode;

/// Which protocols listen, where, and under which limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `protocols.grpc`; absent: gRPC does not listen.
    pub grpc: Option<GrpcSettings>,
    /// `protocols.http`; absent: HTTP does not listen.
    pub http: Option<HttpSettings>,
    /// `limits`.
    pub limits: Limits,
}

/// `protocols.grpc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcSettings {
    /// Where it listens. Default `127.0.0.1:4317`.
    pub endpoint: Endpoint,
    /// The largest message after decompression, in bytes. Default 4 MiB.
    pub max_message_bytes: usize,
    /// `tls`; absent: plain.
    pub tls: Option<ServerTls>,
    /// `auth`; absent: whoever connects may send.
    pub auth: Option<ServerSettings>,
}

/// `protocols.http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens. Default `127.0.0.1:4318`.
    pub endpoint: Endpoint,
    /// The largest body, before and after decompression, in bytes. Default 20 MiB.
    pub max_body_bytes: usize,
    /// `tls`; absent: plain.
    pub tls: Option<ServerTls>,
    /// `auth`; absent: whoever connects may send.
    pub auth: Option<ServerSettings>,
    /// `cors`; absent: browsers keep pages of other origins from sending.
    pub cors: Option<Cors>,
}

/// `cors`: which pages may send.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    /// Of these origins, each with one `*` at most.
    pub allowed_origins: Vec<String>,
    /// With these headers; none named: what OTLP needs.
    pub allowed_headers: Vec<String>,
    /// They may read these headers of an answer.
    pub exposed_headers: Vec<String>,
    /// For so many seconds a browser need not ask again; 0: as it likes.
    pub max_age: u32,
}

/// Where a protocol listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `transport: tcp` and `tcp4`. At `[::]` it takes IPv4 too.
    Tcp(SocketAddr),
    /// `transport: tcp6`: IPv6 alone, also at `[::]`.
    Tcp6(SocketAddrV6),
    /// `transport: unix`: a socket in the file system, and who may connect (`socket_mode`).
    Unix(PathBuf, SocketMode),
}

impl Endpoint {
    /// The port's address; none of a socket in the file system.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Tcp6(address) => Some((*address).into()),
            Self::Unix(..) => None,
        }
    }
}

/// `limits`: what one client may take from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `max_in_flight_size`: bytes that requests in flight may hold. None: 24 MiB, shared with other receivers.
    pub max_in_flight_bytes: Option<usize>,
    /// `max_decompression_ratio`: how many times its size a body may inflate to, once that is above 64 KiB. Default
    /// 1,000: gzip cannot do more than 1,032.
    pub max_ratio: usize,
    /// `max_nesting_depth`: how deep messages may nest, in protobuf and JSON. Default 98, and no more: others stop at 100.
    pub max_nesting_depth: usize,
    /// `max_connections` of each protocol; one more takes the place of the one that was idle for the longest. Default
    /// 1,024: a client that sends now and then keeps its own.
    pub max_connections: usize,
    /// `max_concurrent_streams`: calls at once on one connection. Default 128.
    pub max_streams: u32,
    /// `max_header_size`: all headers of a request together, in bytes. Default 16 KiB.
    pub max_header_bytes: u32,
    /// `handshake_timeout` of TLS. Default 10 s.
    pub handshake_timeout: Duration,
    /// `header_timeout`: how long the first head on a connection may take; later ones, `idle_timeout`. Default 60 s.
    pub header_timeout: Duration,
    /// `body_timeout`: how long each 64 KiB of a body may take to arrive. Default 30 s.
    pub body_timeout: Duration,
    /// `idle_timeout`: a connection without a request for this long is closed. Default 5 min.
    pub idle_timeout: Duration,
    /// `admission_timeout`: how long a request may wait to be read, and for memory; then it is sent away. Default 10 s.
    pub admission_timeout: Duration,
    /// `room_timeout`: how long one may wait for room in a log whose senders wait (`block_on_overflow`). A sender that
    /// gives up before is noticed at once; this ends those that vanished without a word. Default 5 min.
    pub room_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight_bytes: None,
            max_ratio: 1_000,
            max_nesting_depth: 98,
            max_connections: 1024,
            max_streams: 128,
            max_header_bytes: 16 << 10,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            admission_timeout: Duration::from_secs(10),
            room_timeout: Duration::from_secs(300),
        }
    }
}

impl Default for GrpcSettings {
    fn default() -> Self {
        let endpoint = Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 4317)));
        Self { endpoint, max_message_bytes: 4 << 20, tls: None, auth: None }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        let endpoint = Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 4318)));
        Self { endpoint, max_body_bytes: 20 << 20, tls: None, auth: None, cors: None }
    }
}
