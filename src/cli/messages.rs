//! The agent's own messages on standard error: as text or JSON, and not too many of a kind.

mod limiter;

use std::fmt;
use std::time::Instant;

use tracing::Event;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use super::output;
use crate::config::{Encoding, Messages, Sampling};
use crate::exporters::LOSS;
use limiter::{Judged, Kind, Limiter};

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
        let limiter = self.limiter.as_ref().filter(|_| event.metadata().target() != LOSS);
        let judged = limiter.map(|limiter| limiter.judge(Kind::of(context, event), Instant::now()));
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written of the messages that `say` gives, with one of each kind in an hour.
    fn written(say: impl FnOnce()) -> String {
        let sampling = Sampling { tick: Duration::from_secs(3600), initial: 1, thereafter: 0 };
        let format = Limited::new(tracing_subscriber::fmt::format().without_time(), Encoding::Text, Some(sampling));
        let out = Out::default();
        let writer = out.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).event_format(format);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, say);
        String::from_utf8(std::mem::take(&mut out.0.lock().unwrap())).unwrap()
    }

    #[test]
    fn one_exporter_or_log_does_not_silence_another() {
        let said = written(|| {
            for _ in 0..3 {
                for id in ["otlp/a", "otlp/b"] {
                    tracing::error_span!("exporter", id).in_scope(|| tracing::warn!(items = 1, "not delivered"));
                }
                for log in ["logs", "traces"] {
                    tracing::warn!(log, items = 1, "the log refuses");
                }
            }
        });
        for whose in ["id=\"otlp/a\"", "id=\"otlp/b\"", "log=\"logs\"", "log=\"traces\""] {
            assert_eq!(said.matches(whose).count(), 1, "{whose} in {said}");
        }
    }

    #[test]
    fn no_loss_is_left_out() {
        let said = written(|| (0..200).for_each(|items| tracing::warn!(target: LOSS, items, "records lost")));
        assert_eq!(said.matches("records lost").count(), 200, "{said}");
    }

    #[test]
    fn what_was_left_out_is_told_in_both_encodings() {
        assert_eq!(with_left_out("a=1", 7, Encoding::Text), "a=1 left_out=7\n");
        assert_eq!(with_left_out("{\"a\":1}", 7, Encoding::Json), "{\"a\":1,\"left_out\":7}\n");
    }
}
