//! What of a frame is shown, and how.

use crate::otlp::Signal;
use crate::otlp::record::{Record, Request};
use crate::otlp::render::{Detail, Renderer};
use crate::spool::Frame;

/// What is shown, and how.
#[derive(Debug, Clone, Default)]
pub(super) struct Show {
    /// Only these event names; empty: all records.
    pub(super) events: Vec<String>,
    /// One JSON object a line, instead of text.
    pub(super) json: bool,
    /// Text in colours.
    pub(super) styled: bool,
}

/// A record as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// When it happened, else when it was written to the log; nanoseconds since 1970.
    pub(super) time: u64,
    /// With its newline.
    pub(super) text: String,
}

impl Show {
    /// The records of a frame that are to be shown, or why they cannot be.
    pub(super) fn lines(&self, log: &str, frame: &Frame) -> Result<Vec<Line>, String> {
        let signal = Signal::from_tag(frame.content)
            .ok_or_else(|| format!("content {} is of a newer tidegate", frame.content))?;
        let request = Request::decode(signal, &frame.payload).map_err(|error| error.to_string())?;
        let records = request.records();
        let lines = records.iter().filter(|record| self.takes(record)).map(|record| Line {
            time: record.time().or(record.observed_time()).unwrap_or(frame.time_unix_nanos),
            text: self.text(log, frame, record),
        });
        Ok(lines.collect())
    }

    fn takes(&self, record: &Record<'_>) -> bool {
        self.events.is_empty() || record.event_name().is_some_and(|name| self.events.iter().any(|event| event == name))
    }

    fn text(&self, log: &str, frame: &Frame, record: &Record<'_>) -> String {
        let mut text = String::new();
        if self.json {
            record.write_json(log, frame.sequence, &mut text);
            text.push('\n');
        } else {
            Renderer::new(Detail::Line, self.styled).write(record, &mut text);
        }
        text
    }
}
