//! Of many messages of one kind only some are said.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::Event;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::{FmtContext, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Sampling;

/// Fields that say whose message it is.
const WHOSE: [&str; 5] = ["exporter", "pipeline", "receiver", "log", "cursor"];

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// `left_out`: so many of its kind were not said since the last one that was.
    Say {
        left_out: u64,
    },
    LeaveOut,
}

/// Messages that count together: from one place in the code, about one exporter, receiver or log. What one of them says
/// too often keeps no other from being heard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    place: Identifier,
    whose: Whose,
}

/// The fields that say whose a message is, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Whose(String);

impl Kind {
    pub(super) fn of<S, N>(context: &FmtContext<'_, S, N>, event: &Event<'_>) -> Self
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        let mut whose = Whose::default();
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                whose.0.push_str(fields);
            }
        }
        event.record(&mut whose);
        Self { place: event.metadata().callsite(), whose }
    }
}

impl Visit for Whose {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if WHOSE.contains(&field.name()) {
            self.0.push_str(&format!(" {field}={value:?}"));
        }
    }
}

/// Lets through of each kind the first of each tick and then one of many.
#[derive(Debug)]
pub(super) struct Limiter {
    sampling: Sampling,
    kinds: Mutex<HashMap<Kind, Tick>>,
}

#[derive(Debug)]
struct Tick {
    began: Instant,
    count: u64,
    left_out: u64,
}

impl Limiter {
    pub(super) fn new(sampling: Sampling) -> Self {
        Self { sampling, kinds: Mutex::default() }
    }

    pub(super) fn judge(&self, kind: Kind, now: Instant) -> Judged {
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
        () => {{
            let place = tracing::callsite!(name: "test", kind: tracing::metadata::Kind::EVENT, fields: message);
            Kind { place: place.metadata().callsite(), whose: Whose::default() }
        }};
    }

    #[test]
    fn the_first_of_each_tick_are_said_then_one_of_many_and_how_many_were_not() {
        let limiter = Limiter::new(Sampling { tick: Duration::from_secs(10), initial: 2, thereafter: 3 });
        let (one, other, start) = (kind!(), kind!(), Instant::now());
        let said = |kind: &Kind, seconds| limiter.judge(kind.clone(), start + Duration::from_secs(seconds));
        let say = |left_out| Judged::Say { left_out };
        let first: Vec<Judged> = (0..8).map(|_| said(&one, 0)).collect();
        let out = Judged::LeaveOut;
        assert_eq!(first, [say(0), say(0), out, out, say(2), out, out, say(2)]);
        assert_eq!(said(&other, 0), say(0), "another kind has its own count");
        assert_eq!(said(&one, 9), out);
        assert_eq!(said(&one, 10), say(1), "a new tick");
    }
}
