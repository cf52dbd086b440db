//! Connections to backends: through a proxy where the environment names one, and with TLS.

mod proxy;
mod setup;
mod tls;

pub(super) use proxy::Connector;
pub use setup::SetupError;
pub use tls::Tls;
#[cfg(all(test, feature = "agent"))]
pub(super) use tls::for_tests::{known_client, pem};

use std::time::Duration;

/// The longest time that one attempt to connect may take; over gRPC, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A lost peer is noticed within this time while a request waits for its answer.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What backends are told about who sends.
pub(super) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

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
