//! The logs that are read, merged by time.

use std::collections::VecDeque;
use std::io::Write;

use super::show::{Line, Show};
use crate::cli::output::{self, Failure, WARNING};
use crate::spool::{Frame, From, LogReader, Reader};

/// The logs of a spool, each read forward.
pub(super) struct Sources<'a> {
    reader: &'a Reader,
    /// Whether logs that appear later are read too.
    all: bool,
    sources: Vec<Source>,
}

/// One log.
struct Source {
    log: String,
    frames: LogReader,
    /// The next frame, already read.
    head: Option<Frame>,
}

impl<'a> Sources<'a> {
    /// Opens these logs, or all when none is named; each stands at its end.
    pub(super) fn open(reader: &'a Reader, wanted: &[String]) -> Result<Self, Failure> {
        let known = reader.logs().map_err(|error| output::spool_failure(&error))?;
        if let Some(unknown) = wanted.iter().find(|log| !known.contains(log)) {
            return Err(Failure::new(format!("no log {unknown}")).help(format!("the logs are: {}", known.join(", "))));
        }
        let mut sources = Self { reader, all: wanted.is_empty(), sources: Vec::new() };
        for log in known {
            if wanted.is_empty() || wanted.contains(&log) {
                sources.add(log, From::End)?;
            }
        }
        Ok(sources)
    }

    /// Begins to read every log there.
    pub(super) fn start(&mut self, from: From) -> Result<(), Failure> {
        for source in &mut self.sources {
            source.frames = read(self.reader, &source.log, from)?;
        }
        Ok(())
    }

    /// Takes up logs that have appeared since, from their first record.
    pub(super) fn add_new_logs(&mut self) -> Result<(), Failure> {
        if !self.all {
            return Ok(());
        }
        for log in self.reader.logs().map_err(|error| output::spool_failure(&error))? {
            if !self.sources.iter().any(|source| source.log == log) {
                self.add(log, From::Oldest)?;
            }
        }
        Ok(())
    }

    /// Shows the last `count` records of all logs by their own time; each log then stands at its end.
    pub(super) fn show_tail(&mut self, count: usize, show: &Show, out: &mut impl Write) -> Result<(), Failure> {
        let mut last = Vec::new();
        for source in &mut self.sources {
            last.push(source.rewind_to_last(self.reader, count, show)?);
        }
        print_last(last, count, out)
    }

    /// Shows the last `count` of the records from where the logs stand.
    pub(super) fn show_last(&mut self, count: usize, show: &Show, out: &mut impl Write) -> Result<(), Failure> {
        let mut last = Vec::new();
        for source in &mut self.sources {
            last.push(source.last(count, show)?);
        }
        print_last(last, count, out)
    }

    /// Shows every record that is there now, the logs merged in the order in which they were written.
    pub(super) fn show_new(&mut self, show: &Show, out: &mut impl Write) -> Result<(), Failure> {
        loop {
            for source in &mut self.sources {
                source.look()?;
            }
            let time = |source: &Source| source.head.as_ref().map(|frame| frame.time_unix_nanos);
            let next = self.sources.iter_mut().filter(|source| source.head.is_some()).min_by_key(|source| time(source));
            let Some(source) = next else { return Ok(()) };
            if let Some(frame) = source.head.take() {
                match source.lines(&frame, show) {
                    Ok(lines) => lines.iter().try_for_each(|line| out.write_all(line.text.as_bytes()))?,
                    Err(warning) => warn(&warning),
                }
            }
        }
    }

    fn add(&mut self, log: String, from: From) -> Result<(), Failure> {
        let frames = read(self.reader, &log, from)?;
        self.sources.push(Source { log, frames, head: None });
        Ok(())
    }
}

/// The last records of one log.
struct Last {
    lines: VecDeque<Line>,
    warnings: Vec<String>,
    /// How many records were read to find them.
    read: u64,
}

impl Source {
    fn look(&mut self) -> Result<(), Failure> {
        if self.head.is_none() {
            self.head = self.frames.next().map_err(|error| output::spool_failure(&error))?;
        }
        Ok(())
    }

    /// The last `count` records; nobody knows how far back they are when events are chosen, so it looks back
    /// further and further.
    fn rewind_to_last(&mut self, reader: &Reader, count: usize, show: &Show) -> Result<Last, Failure> {
        let mut back = count as u64;
        loop {
            self.frames = read(reader, &self.log, From::LastItems(back))?;
            let last = self.last(count, show)?;
            if last.lines.len() >= count || last.read < back {
                return Ok(last);
            }
            back = back.saturating_mul(16);
        }
    }

    /// Reads to the end, and keeps the last `count` records.
    fn last(&mut self, count: usize, show: &Show) -> Result<Last, Failure> {
        let mut last = Last { lines: VecDeque::new(), warnings: Vec::new(), read: 0 };
        loop {
            self.look()?;
            let Some(frame) = self.head.take() else { return Ok(last) };
            last.read += u64::from(frame.items);
            match self.lines(&frame, show) {
                Ok(lines) => last.lines.extend(lines),
                Err(warning) => last.warnings.push(warning),
            }
            let surplus = last.lines.len().saturating_sub(count);
            last.lines.drain(..surplus);
        }
    }

    /// The lines of a frame, or a warning that it cannot be shown.
    fn lines(&self, frame: &Frame, show: &Show) -> Result<Vec<Line>, String> {
        let place = |reason| format!("log {}, sequence {}: {reason}; not shown", self.log, frame.sequence);
        show.lines(&self.log, frame).map_err(place)
    }
}

fn warn(warning: &str) {
    output::tell(&format!("{WARNING}warning:{WARNING:#} {warning}\n"));
}

fn read(reader: &Reader, log: &str, from: From) -> Result<LogReader, Failure> {
    reader.read(log, from).map_err(|error| output::spool_failure(&error))
}

/// Prints the latest `count` of all logs, the latest last.
fn print_last(last: Vec<Last>, count: usize, out: &mut impl Write) -> Result<(), Failure> {
    last.iter().flat_map(|last| &last.warnings).for_each(|warning| warn(warning));
    let mut lines: Vec<Line> = last.into_iter().flat_map(|last| last.lines).collect();
    // Stable: what happened at the same time stays in the order of its log.
    lines.sort_by_key(|line| line.time);
    for line in &lines[lines.len().saturating_sub(count)..] {
        out.write_all(line.text.as_bytes())?;
    }
    Ok(())
}
