//! The agent's own messages on standard error: as text or JSON, and not too many of a kind.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::Event;
use tracing::callsite::Identifier;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::output;
use crate::config::{Encoding, Messages, Sampling};

/// Their level; a reload may change it.
pub(super) type Level = reload::Handle<LevelFilter, Registry>;

/// From now on messages are written as these settings say.
pub(super) fn to_stderr(settings: &Messages) -> Level {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(settings.level));
    let registry = tracing_subscriber::registry().with(filter);
    // When nobody reads standard error any more, saying so there would panic.
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = layer.log_internal_errors(false);
    let sampling = settings.sampling.clone();
    // Fails only when a subscriber is set already, as in a test: then that one is as good.
    match settings.encoding {
        Encoding::Text => {
            let layer = layer.with_ansi(output::stderr_has_colours());
            let limited = layer.map_event_format(|format| Limited::new(format, Encoding::Text, sampling));
            registry.with(limited).try_init().unwrap_or_default();
        }
        Encoding::Json => {
            output::say_as_json();
            let layer = layer.json().flatten_event(true).with_current_span(false);
            let limited = layer.map_event_format(|format| Limited::new(format, Encoding::Json, sampling));
            registry.with(limited).try_init().unwrap_or_default();
        }
    }
    handle
}

/// Formats messages, and leaves out those of which there are too many.
struct Limited<F> {
    format: F,
    encoding: Encoding,
    limiter: Option<Limiter>,
}

impl<F> Limited<F> {
    fn new(format: F, encoding: Encoding, sampling: Option<Sampling>) -> Self {
        Self { format, encoding, limiter: sampling.map(Limiter::new) }
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let judged = self.limiter.as_ref().map(|limiter| limiter.judge(event.metadata().callsite(), Instant::now()));
        match judged {
            Some(Judged::LeaveOut) => Ok(()),
            None | Some(Judged::Say { left_out: 0 }) => self.format.format_event(context, writer, event),
            Some(Judged::Say { left_out }) => {
                let mut line = String::new();
                self.format.format_event(context, Writer::new(&mut line), event)?;
                writer.write_str(&with_left_out(line.trim_end(), left_out, self.encoding))
            }
        }
    }
}

/// A line that also says how many like it were not said.
fn with_left_out(line: &str, left_out: u64, encoding: Encoding) -> String {
    match (encoding, line.strip_suffix('}')) {
        (Encoding::Json, Some(object)) => format!("{object},\"left_out\":{left_out}}}\n"),
        _ => format!("{line} left_out={left_out}\n"),
    }
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// `left_out`: so many of its kind were not said since the last one that was.
    Say {
        left_out: u64,
    },
    LeaveOut,
}

/// Lets through of each kind, which is a place in the code, the first of each tick and then one of many.
#[derive(Debug)]
struct Limiter {
    sampling: Sampling,
    kinds: Mutex<HashMap<Identifier, Tick>>,
}

#[derive(Debug)]
struct Tick {
    began: Instant,
    count: u64,
    left_out: u64,
}

impl Limiter {
    fn new(sampling: Sampling) -> Self {
        Self { sampling, kinds: Mutex::default() }
    }

    fn judge(&self, kind: Identifier, now: Instant) -> Judged {
        let Sampling { tick, initial, thereafter } = self.sampling;
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = kinds.entry(kind).or_insert(Tick { began: now, count: 0, left_out: 0 });
        if now.saturating_duration_since(seen.began) >= tick {
            (seen.began, seen.count) = (now, 0);
        }
        seen.count += 1;
        let beyond = seen.count.saturating_sub(initial);
        if beyond == 0 || (thereafter > 0 && beyond.is_multiple_of(thereafter)) {
            return Judged::Say { left_out: std::mem::take(&mut seen.left_out) };
        }
        seen.left_out += 1;
        Judged::LeaveOut
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing::Callsite as _;

    use super::*;

    /// A kind of messages; each place that calls this is another.
    macro_rules! kind {
        () => {
            tracing::callsite!(name: "test", kind: tracing::metadata::Kind::EVENT, fields: message).metadata().callsite()
        };
    }

    #[test]
    fn the_first_of_each_tick_are_said_then_one_of_many_and_how_many_were_not() {
        let limiter = Limiter::new(Sampling { tick: Duration::from_secs(10), initial: 2, thereafter: 3 });
        let (one, other, start) = (kind!(), kind!(), Instant::now());
        let said = |kind: &Identifier, seconds| limiter.judge(kind.clone(), start + Duration::from_secs(seconds));
        let say = |left_out| Judged::Say { left_out };
        let first: Vec<Judged> = (0..8).map(|_| said(&one, 0)).collect();
        let out = Judged::LeaveOut;
        assert_eq!(first, [say(0), say(0), out, out, say(2), out, out, say(2)]);
        assert_eq!(said(&other, 0), say(0), "another kind has its own count");
        assert_eq!(said(&one, 9), out);
        assert_eq!(said(&one, 10), say(1), "a new tick");
    }

    #[test]
    fn what_was_left_out_is_told_in_both_encodings() {
        assert_eq!(with_left_out("a=1", 7, Encoding::Text), "a=1 left_out=7\n");
        assert_eq!(with_left_out("{\"a\":1}", 7, Encoding::Json), "{\"a\":1,\"left_out\":7}\n");
    }
}
