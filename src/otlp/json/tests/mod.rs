//! What is written is the specification's JSON, what is read is what was meant, and the tables are the protocol.

mod read;
mod samples;
mod tables;
mod write;

use super::write_line;
use crate::otlp::Signal;

fn line(signal: Signal, request: &impl prost::Message) -> String {
    let mut out = String::new();
    write_line(signal, &request.encode_to_vec(), &mut out).unwrap();
    out
}
