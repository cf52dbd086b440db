//! Requests good and bad, over real connections to a receiver before a real log.

mod auth;
mod bounds;
mod cors;
mod ends;
mod json;
mod lab;
mod refused;
mod slow;
mod taken;
mod tls;
