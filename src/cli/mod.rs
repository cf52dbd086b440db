//! The command line: one file per subcommand.

use std::process::ExitCode;

/// Parses the arguments and runs the subcommand they name.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
