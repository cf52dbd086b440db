//! `tidegate tail`: what the logs hold, as it happens.

use std::process::ExitCode;

use super::Globals;
use super::output::Failure;
use super::sources::ConfigArgs;

/// Show recorded events and telemetry, as they happen
///
/// Reads the logs beside a running agent or without one; it never holds data back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

pub(crate) fn run(_args: &Args, _globals: &Globals) -> Result<ExitCode, Failure> {
    Err(Failure::new("tail is not built yet"))
}
