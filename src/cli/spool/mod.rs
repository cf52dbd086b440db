//! `tidegate spool`: looks into the logs on disk, beside a running agent or without one; never repairs.

mod inspect;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use super::Globals;
use super::output::Failure;

/// Look into the logs on disk
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Verify(verify::Args),
}

pub(crate) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Inspect(args) => inspect::run(args, globals),
        Command::Verify(args) => verify::run(args, globals),
    }
}
