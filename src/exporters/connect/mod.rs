//! Connections to backends: through a proxy where the environment names one, and with TLS.

mod connector;
#[cfg(test)]
pub(super) mod for_tests;
mod headers;
mod proxy;
mod secured;
mod setup;
mod tls;

pub(super) use connector::Connector;
#[cfg(feature = "agent")]
pub(super) use connector::is_https;
pub(super) use headers::headers;
pub use setup::SetupError;
pub use tls::Tls;

use std::time::Duration;

/// The longest time that one attempt to connect may take, with what a proxy and TLS need.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that is silent for this long is asked whether it is there, by TCP and by HTTP/2.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What backends are told about who sends.
pub(super) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// How a silent HTTP/2 connection is looked after: `keepalive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// A peer that is silent for this long is pinged. Default 30 s.
    pub interval: Duration,
    /// One that does not answer within this is left. Default 10 s.
    pub timeout: Duration,
    /// Also while no request waits for an answer. Default false.
    pub while_idle: bool,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { interval: KEEP_ALIVE, timeout: Duration::from_secs(10), while_idle: false }
    }
}

/// An attempt to connect outlives the request that began it; the next request must not inherit one that hangs.
pub(super) fn connect_timeout(timeout: Duration) -> Duration {
    if timeout.is_zero() { CONNECT_TIMEOUT } else { timeout.min(CONNECT_TIMEOUT) }
}

/// An error and what caused it, in one line. Parts that repeat what was said are left out.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
