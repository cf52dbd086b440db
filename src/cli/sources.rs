//! The options that say which configuration: `--config` and `--set`.

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
