//! The options that say which configuration: `--config` and `--set`.

use std::path::PathBuf;

use super::Globals;
use super::faults::faults_failure;
use super::output::Failure;
use crate::config::{self, Config, Sources};

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

impl ConfigArgs {
    /// All that the configuration is made of.
    pub(crate) fn sources(&self, globals: &Globals) -> Sources {
        Sources::of_process(self.config.clone(), self.set.clone(), globals.data_dir.clone())
    }
}

/// Reads and checks a configuration; a failure shows every fault that it has.
pub(crate) fn load(sources: &Sources) -> Result<Config, Failure> {
    config::load(sources).map_err(|faults| faults_failure(&faults))
}

/// The data directory that a command reads: `--data-dir`, else what the configuration says, else the default.
pub(crate) fn data_dir(args: &ConfigArgs, globals: &Globals) -> Result<PathBuf, Failure> {
    // A directory that was named needs no configuration, not even a valid one.
    match &globals.data_dir {
        Some(directory) => Ok(directory.clone()),
        None => load(&args.sources(globals)).map(|config| config.data_dir),
    }
}
