//! The options that say which configuration: `--config` and `--set`.

use std::path::PathBuf;

use super::Globals;
use super::output::Failure;

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file; repeat it to merge several, later ones win
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Vec<String>,
    /// Set one value, as `receivers.otlp.protocols.grpc.endpoint=127.0.0.1:5317`; after all files
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
}

/// The data directory that a command reads: `--data-dir`, else what the configuration says, else the default.
pub(crate) fn data_dir(_config: &ConfigArgs, globals: &Globals) -> Result<PathBuf, Failure> {
    globals.data_dir.clone().ok_or_else(|| Failure::usage("--data-dir is needed"))
}
