//! `tidegate doctor`: what this machine allows, and what would allow the rest.

use std::process::ExitCode;

use super::Globals;
use super::output::Failure;

/// Show what this machine allows: kernel, BTF, rights, hooks
///
/// Each gap is told with what would close it. Nothing stays attached.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, _globals: &Globals) -> Result<ExitCode, Failure> {
    Err(Failure::new("doctor is not built yet"))
}
