//! `tidegate tail`: what the logs hold, as it happens.

mod show;
mod source;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Globals;
use super::origin::Origin;
use super::output::{self, Failure, Output};
use super::sources::{self, ConfigArgs};
use crate::spool::Reader;
use show::Show;
use source::Sources;

/// How many records are shown when nothing else is said.
const LINES: usize = 10;
/// How often the logs are looked at for more. A look costs a few reads of what is in memory.
const PACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// A running owner's last frame can be read some 15 ms after it was acknowledged: who asks once waits so long.
const SETTLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 30_000_000 };
/// How often new logs are looked for, in looks.
const LOOKS_PER_LISTING: u32 = 10;

/// Show recorded events and telemetry, as they happen
///
/// Reads the logs beside a running agent or without one; it never holds data back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate tail                                  the last 10 records, then what comes\n  \
    tidegate tail -n 100 --event kernel.oom.kill   the last hundred OOM kills\n  \
    tidegate tail --from 15m --log kernel          what was recorded in the last quarter of an hour\n  \
    tidegate tail --from oldest --output json | jq .attributes")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Show the last N records [default: 10; with --from all]
    #[arg(short = 'n', long = "lines", value_name = "N")]
    lines: Option<usize>,
    /// Go on and show what comes [default on a terminal]
    #[arg(short, long, overrides_with = "no_follow")]
    follow: bool,
    /// Stop at the end
    #[arg(long)]
    no_follow: bool,
    /// Only records with this event name; repeat it for more
    #[arg(long, value_name = "NAME")]
    event: Vec<String>,
    /// Only this log; repeat it for more
    #[arg(long, value_name = "NAME")]
    log: Vec<String>,
    /// Start at the oldest record, after the newest, at a sequence, or at a time: 2026-05-07T00:11:49Z, or 15m for a quarter hour ago
    #[arg(long, value_name = "oldest|newest|SEQ|TIME")]
    from: Option<Origin>,
}

pub(crate) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = sources::data_dir(&args.config, globals)?;
    let reader = Reader::open(&directory).map_err(|error| output::spool_failure(&error))?;
    let stdout = io::stdout();
    let show = Show {
        events: args.event.clone(),
        json: globals.output == Output::Json,
        styled: anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never,
    };
    let follow = args.follow || (stdout.is_terminal() && !args.no_follow);
    let wait = || if follow { wait_while_read(&io::stdout(), &PACE) } else { Ok(false) };
    if !follow {
        wait_while_read(&stdout, &SETTLE)?;
    }
    tail(args, &reader, &show, &mut io::BufWriter::new(stdout.lock()), wait)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what the logs hold, and goes on for as long as `wait` says so.
fn tail(
    args: &Args,
    reader: &Reader,
    show: &Show,
    out: &mut impl Write,
    mut wait: impl FnMut() -> io::Result<bool>,
) -> Result<(), Failure> {
    let mut sources = Sources::open(reader, &args.log)?;
    match (args.from, args.lines) {
        (Some(origin), None) => sources.start(origin.into())?,
        (Some(origin), Some(lines)) => {
            sources.start(origin.into())?;
            sources.show_last(lines, show, out)?;
        }
        (None, lines) => sources.show_tail(lines.unwrap_or(LINES), show, out)?,
    }
    let mut looks = 0;
    loop {
        sources.show_new(show, out)?;
        out.flush()?;
        if !wait()? {
            return Ok(());
        }
        looks += 1;
        if looks % LOOKS_PER_LISTING == 0 {
            sources.add_new_logs()?;
        }
    }
}

/// Waits a moment; false when whoever read standard output has gone, so that `tail -f | head` ends without a record.
fn wait_while_read(stdout: &io::Stdout, time: &Timespec) -> io::Result<bool> {
    let mut fds = [PollFd::new(stdout, PollFlags::empty())];
    match poll(&mut fds, Some(time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(!fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL))
}
