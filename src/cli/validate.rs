//! `tidegate validate`: every fault of a configuration in one go.

use std::process::ExitCode;

use super::Globals;
use super::output::Failure;
use super::sources::ConfigArgs;

/// Check a configuration and show every fault, each with its line
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Configuration files, as with --config
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
}

pub(crate) fn run(_args: &Args, _globals: &Globals) -> Result<ExitCode, Failure> {
    Err(Failure::new("validate is not built yet"))
}
