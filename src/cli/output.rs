//! What all subcommands print with: text or JSON, colours where they are wanted, failures with the next step.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Effects, Style};
use clap::builder::Styles;

use crate::spool::Durability;

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
        let mut text = self.details.clone();
        if !self.message.is_empty() {
            text.push_str(&format!("{ERROR}error:{ERROR:#} {}\n", self.message));
        }
        for help in &self.help {
            text.push_str(&format!("{HELP} help:{HELP:#} {help}\n"));
        }
        tell(&text);
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

/// Prints text on standard error, where what cannot be said is not worth ending for: whoever read it may be gone.
pub(crate) fn tell(text: &str) {
    anstream::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

/// Whether lines of the agent's life are JSON, as its messages are.
static SAYS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on [`say`] says it in JSON.
pub(crate) fn say_as_json() {
    SAYS_JSON.store(true, Ordering::Relaxed);
}

/// A line of the agent's life on standard error.
pub(crate) fn say(line: &str) {
    let line = if SAYS_JSON.load(Ordering::Relaxed) {
        let timestamp = jiff::Timestamp::now().to_string();
        serde_json::json!({ "timestamp": timestamp, "level": "INFO", "message": line }).to_string()
    } else {
        line.to_owned()
    };
    tell(&format!("{line}\n"));
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

/// A number of bytes as people read it: `12 B`, `3.4 KiB`, `10 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut unit, mut tenths) = (0, u128::from(bytes) * 10);
    // Rounded as it is shown: 1,048,575 bytes are 1 MiB, not 1024 KiB.
    while tenths >= 10_235 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {}", UNITS[unit]),
        (whole, tenth) => format!("{whole}.{tenth} {}", UNITS[unit]),
    }
}

/// A durability as the configuration spells it.
pub(crate) fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Sync => "sync",
        Durability::Interval => "interval",
        Durability::Os => "os",
    }
}

/// A log's error, with what can be done about it.
pub(crate) fn spool_failure(error: &crate::spool::Error) -> Failure {
    let failure = Failure::new(error.to_string());
    if error.is_not_found() {
        failure.help("name the directory with --data-dir, or start the agent once: tidegate run")
    } else if error.raw_os_error() == Some(rustix::io::Errno::ACCESS.raw_os_error()) {
        failure.help("run it as the user whose directory this is, or name another with --data-dir")
    } else {
        failure
    }
}

/// Whether standard error is a terminal that wants colours.
pub(crate) fn stderr_has_colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_round_to_the_next_unit() {
        let shown = [0, 12, 1023, 1024, 3_482, 1_048_575, 10 << 30, (10 << 30) + (1 << 29), u64::MAX].map(bytes);
        let expected =
            ["0 B", "12 B", "1023 B", "1 KiB", "3.4 KiB", "1 MiB", "10 GiB", "10.5 GiB", "16 EiB"].map(str::to_owned);
        assert_eq!(shown, expected);
    }
}
