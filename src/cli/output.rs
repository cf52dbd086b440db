//! What all subcommands print with: text or JSON, colours where they are wanted, failures with the next step.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anstyle::{AnsiColor, Effects, Style};
use clap::builder::Styles;

/// A heading, or the name of what a line is about.
pub(crate) const HEADING: Style = Style::new().effects(Effects::BOLD);
/// What failed.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// What deserves attention.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().effects(Effects::BOLD);
/// What is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What to do next.
pub(crate) const HELP: Style = AnsiColor::Cyan.on_default().effects(Effects::BOLD);
/// What stands back.
pub(crate) const DIM: Style = Style::new().effects(Effects::DIMMED);

/// The colours of `--help`.
pub(crate) const HELP_STYLES: Styles =
    Styles::styled().header(HEADING).usage(HEADING).literal(HELP).placeholder(Style::new()).error(ERROR);

/// How results are printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one object, or one object a line where the result is a stream.
    Json,
}

/// Why a command ended badly, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Printed before the message, as it is.
    details: String,
    message: String,
    help: Vec<String>,
    code: u8,
}

impl Failure {
    /// Exit code 1: the command could not do its work.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { details: String::new(), message: message.into(), help: Vec::new(), code: 1 }
    }

    /// Exit code 2: the arguments or the configuration are wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(message) }
    }

    /// Exit code 0 and nothing to say.
    fn silent() -> Self {
        Self { code: 0, ..Self::new(String::new()) }
    }

    /// Sets what is printed before the message.
    #[must_use]
    pub(crate) fn details(mut self, details: String) -> Self {
        self.details = details;
        self
    }

    /// Adds what the reader can do.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// What is said; empty when all was said before.
    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the failure on standard error and gives its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        anstream::eprint!("{}", self.details);
        if !self.message.is_empty() {
            anstream::eprintln!("{ERROR}error:{ERROR:#} {}", self.message);
        }
        for help in &self.help {
            anstream::eprintln!("{HELP} help:{HELP:#} {help}");
        }
        ExitCode::from(self.code)
    }
}

/// A reader that went away (`tidegate tail | head`) ends the command quietly and well.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::silent(),
            _ => Self::new(format!("standard output: {error}")),
        }
    }
}

/// Prints text on standard output; styles are taken out unless it is a terminal and `NO_COLOR` is unset.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints one JSON value and a newline on standard output.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}")?;
    Ok(stdout.flush()?)
}

/// A number of bytes as people read it: `12 B`, `3.4 KiB`, `1.0 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A log's error, with what can be done about it.
pub(crate) fn spool_failure(error: &crate::spool::Error) -> Failure {
    let failure = Failure::new(error.to_string());
    if error.is_not_found() {
        failure.help("name the directory with --data-dir, or start the agent once: tidegate run")
    } else if error.raw_os_error() == Some(rustix::io::Errno::ACCESS.raw_os_error()) {
        failure.help("the directory belongs to the user the agent runs as; use that user, or root")
    } else {
        failure
    }
}

/// Whether standard error is a terminal that wants colours.
pub(crate) fn stderr_has_colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}
