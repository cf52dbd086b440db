//! Kernel events, triggered for real: `cargo test --test kernel`, as root. The same binary runs on Debian's 6.1 and 6.12
//! in an emulator (`tests/kernel/vm.sh`), so nothing here needs more than what that script puts into the guest.
//!
//! What would take the whole machine's memory is in `guest`: ignored here, and run by that script alone.
//!
//! Other programs make events too: every assertion filters on its own pid, port or network namespace.

#![allow(clippy::disallowed_methods, reason = "the tests write kernel settings, read clocks and abort on purpose")]

mod actions;
mod attach;
mod binary;
mod blocker;
mod cgroup;
mod crash;
mod drops;
mod guest;
mod harness;
mod hung;
mod network;
mod oom;
mod pods;
mod reload;
mod retransmit;
mod rights;
mod stack;
mod states;
#[path = "../support/mod.rs"]
#[allow(clippy::unwrap_used, dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;
