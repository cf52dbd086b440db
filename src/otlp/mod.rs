//! OTLP bytes: scan, count, validate, concatenate and split, without decoding.

mod signal;

pub use signal::Signal;
