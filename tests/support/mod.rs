//! What the tests that drive the real binary share.

mod agent;
mod wait;

use std::net::TcpListener;

pub(crate) use agent::Agent;
pub(crate) use wait::wait_for;

/// A port of the loopback interface that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
