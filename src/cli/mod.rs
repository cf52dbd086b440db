//! The command line: one file per subcommand, each with its own `Args` and `run`.

mod components;
mod descriptors;
mod doctor;
mod faults;
mod memory;
mod messages;
mod origin;
mod output;
mod run;
mod service_manager;
mod signals;
mod sources;
mod spool;
mod tail;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Failure, Output};

/// Keeps telemetry on local disk until it is delivered.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, max_term_width = 120, styles = output::HELP_STYLES)]
#[command(
    about,
    long_about = "Keeps telemetry on local disk until it is delivered.\n\n\
    tidegate collects Linux kernel events and OTLP telemetry, acknowledges them when they are on disk, and delivers \
    them to OTLP endpoints and files for as long as it takes."
)]
#[command(after_help = "Examples:\n  \
    tidegate run                              kernel events and OTLP on this machine, no configuration needed\n  \
    tidegate tail                             what was recorded, as it happens\n  \
    tidegate run --config agent.yaml          only what the file names\n  \
    tidegate validate --config agent.yaml     every fault of the file in one go\n\n\
    Exit codes: 0 done, 1 failure, 2 usage or bad configuration.")]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Globals {
    /// Where the logs are [default: what the configuration says, else /var/lib/tidegate as root, else
    /// $XDG_STATE_HOME/tidegate]
    #[arg(long, global = true, value_name = "DIR", env = "TIDEGATE_DATA_DIR", help_heading = "Global options")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Text for people, json for programs
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", help_heading = "Global options")]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Validate(validate::Args),
    Components(components::Args),
    Doctor(doctor::Args),
    Tail(tail::Args),
    Spool(spool::Args),
}

/// Parses the arguments and runs the subcommand they name. Errors are printed once, on standard error.
#[must_use]
pub fn main() -> ExitCode {
    memory::give_back();
    // clap prints usage errors itself and exits 2, as documented; help and version exit 0.
    let cli = Cli::parse();
    dispatch(&cli).unwrap_or_else(|failure| failure.report())
}

fn dispatch(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Run(args) => run::run(args, &cli.globals),
        Command::Validate(args) => validate::run(args, &cli.globals),
        Command::Components(args) => components::run(args, &cli.globals),
        Command::Doctor(args) => doctor::run(args, &cli.globals),
        Command::Tail(args) => tail::run(args, &cli.globals),
        Command::Spool(args) => spool::run(args, &cli.globals),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_are_taken_after_the_subcommand() {
        let cli = Cli::try_parse_from(["tidegate", "tail", "--data-dir", "/d", "--output", "json"]).unwrap();
        assert_eq!(cli.globals.data_dir, Some(PathBuf::from("/d")));
        assert_eq!(cli.globals.output, Output::Json);
    }

    #[test]
    fn a_usage_error_exits_with_2() {
        assert_eq!(Cli::try_parse_from(["tidegate", "rnu"]).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["tidegate", "run", "--cofnig", "x"]).unwrap_err().exit_code(), 2);
    }

    /// Every command with its whole name: `tidegate spool inspect`.
    fn commands(command: &clap::Command, name: &str, into: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let name = format!("{name} {}", sub.get_name());
            if sub.has_subcommands() {
                commands(sub, &name, into);
            } else {
                into.push((name, sub.clone()));
            }
        }
    }

    #[test]
    fn every_command_and_option_is_documented() {
        let document = include_str!("../../docs/cli.md");
        let mut all = Vec::new();
        commands(&Cli::command(), "tidegate", &mut all);
        assert!(all.len() >= 7, "{}", all.len());
        let has = |option: &str| ["`", " "].iter().any(|end| document.contains(&format!("`--{option}{end}")));
        for (name, command) in all {
            assert!(document.contains(&format!("## `{name}`")), "{name}");
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(has(option), "--{option} of {name}");
            }
        }
        assert!(Cli::command().get_arguments().filter_map(clap::Arg::get_long).all(has));
    }
}
