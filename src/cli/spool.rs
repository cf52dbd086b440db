//! `tidegate spool`: looks into the logs on disk; never repairs.

use std::process::ExitCode;

use clap::Subcommand;

use super::Globals;
use super::output::Failure;
use super::sources::ConfigArgs;

/// Look into the logs on disk
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show every log, its segments, cursors and ledger
    Inspect(InspectArgs),
    /// Check every checksum; exit 1 when anything is damaged
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

pub(crate) fn run(args: &Args, _globals: &Globals) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Inspect(_) => Err(Failure::new("spool inspect is not built yet")),
        Command::Verify(_) => Err(Failure::new("spool verify is not built yet")),
    }
}
