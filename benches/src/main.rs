//! The project's own figures. Every figure is a ratio against a peer or a physical limit, measured in the same
//! run, in turns, and given as a median: `cargo run --release -p tidegate-benches -- log append`.

#![allow(clippy::disallowed_methods, reason = "the bare loop calls what it measures; waits here pace a load")]

mod device;
mod forward;
mod log;
mod raw;
mod report;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures tidegate beside the disk and beside nothing else than what it names")]
struct Args {
    /// Where the measured files are made; the file system measured is the one this stands on.
    #[arg(long, default_value = "target", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// The log alone, beside the disk and beside Quiver (feature `quiver`).
    #[command(subcommand)]
    Log(log::Row),
    /// OTLP gRPC in, queue, OTLP gRPC out, beside the OpenTelemetry Collector.
    Forward(forward::Args),
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    match args.bench {
        Bench::Log(row) => log::run(&args.dir, &row),
        Bench::Forward(bench) => forward::run(&args.dir, &bench),
    }
}
