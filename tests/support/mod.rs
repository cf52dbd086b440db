//! What the tests that drive the real binary share.

mod agent;
mod wait;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

pub(crate) use agent::Agent;
pub(crate) use wait::wait_for;

/// Where `tests/run` puts what it builds and fetches.
pub(crate) fn parts() -> PathBuf {
    let parts = std::env::var_os("TIDEGATE_TEST_DEPS").map(PathBuf::from);
    parts.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-deps"))
}

/// Below what Linux gives out unless it is told otherwise.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of the loopback interface that nobody has, and that nobody else is given: the kernel gives out higher ones, to
/// who connects as to who lets it choose.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let of_this_process = std::process::id() % u32::from(PORTS.end - PORTS.start);
    let next =
        || PORTS.start + (of_this_process as u16 + GIVEN.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
    std::iter::repeat_with(next).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
