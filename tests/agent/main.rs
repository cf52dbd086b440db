//! The agent as its users and its enemies meet it: the real binary, what it prints, where it listens, how it starts,
//! stops and reloads, and what bad input gets.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod backend;
mod client;
mod http;
mod stage;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

mod bad_input;
mod command_line;
mod cursors;
mod data_directory;
mod delivery;
mod forward;
mod health;
mod losses;
mod messages;
mod metrics;
mod overflow;
mod peer_losses;
mod ports;
mod reload;
mod service_manager;
mod spool;
mod start;
mod stop;
mod tail;
mod terminal;
mod two_agents;
