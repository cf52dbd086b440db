//! `tidegate run`: the agent.

use std::process::ExitCode;

use super::Globals;
use super::output::Failure;
use super::sources::ConfigArgs;

/// Run the agent
///
/// Without --config it runs the built-in configuration: kernel events and OTLP on 127.0.0.1:4317 (gRPC) and :4318
/// (HTTP), kept on disk, with a readable copy of kernel events in the data directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate run\n  \
    tidegate run --config agent.yaml --config site.yaml\n  \
    tidegate run --set receivers.otlp.protocols.grpc.endpoint=127.0.0.1:5317\n  \
    tidegate run --print-default-config > agent.yaml\n\n\
    SIGTERM stops within --shutdown-timeout; what is not delivered stays on disk. SIGHUP reloads.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print the built-in configuration and exit
    #[arg(long)]
    pub(crate) print_default_config: bool,
    /// How long a stop may take, as 5s or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(crate) shutdown_timeout: String,
}

pub(crate) fn run(_args: &Args, _globals: &Globals) -> Result<ExitCode, Failure> {
    Err(Failure::new("run is not built yet"))
}
