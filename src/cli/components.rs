//! `tidegate components`: what this build can run.

use std::process::ExitCode;

use super::Globals;
use super::output::Failure;

/// List receivers, processors, exporters and extensions of this build
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, _globals: &Globals) -> Result<ExitCode, Failure> {
    Err(Failure::new("components is not built yet"))
}
