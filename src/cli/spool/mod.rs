//! `tidegate spool`: looks into the logs on disk, beside a running agent or without one; never repairs. What changes
//! cursors goes through the agent that owns them.

mod cursor;
mod export;
mod inspect;
mod owner;
mod replay;
mod select;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use super::Globals;
use super::output::Failure;

/// Look into the logs on disk, and move the cursors over them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Verify(verify::Args),
    Export(export::Args),
    Replay(replay::Args),
    Cursor(cursor::Args),
}

pub(crate) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Inspect(args) => inspect::run(args, globals),
        Command::Verify(args) => verify::run(args, globals),
        Command::Export(args) => export::run(args, globals),
        Command::Replay(args) => replay::run(args, globals),
        Command::Cursor(args) => cursor::run(args, globals),
    }
}
