//! Names: component and pipeline ids as the Collector spells them, and the names of logs and cursors made of them.

use std::fmt;

use super::fault::Problem;
use super::source::quote;
use crate::otlp::Signal;

/// A component's id, `type` or `type/name`, with its canonical type: aliases are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    kind: &'static str,
    name: String,
}

impl Id {
    /// An id of this canonical type; an empty name means none.
    pub(crate) fn new(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }

    /// The canonical type: `otlp`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What follows the slash.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.name.is_empty()).then_some(&*self.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, self.kind, &self.name)
    }
}

/// A pipeline's id: `logs`, `traces`, `metrics`, or one of them with `/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipelineId {
    signal: Signal,
    name: String,
}

impl PipelineId {
    /// The id of this signal; an empty name means none.
    pub(crate) fn new(signal: Signal, name: &str) -> Self {
        Self { signal, name: name.to_owned() }
    }

    /// What the pipeline carries.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// What follows the slash.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.name.is_empty()).then_some(&*self.name)
    }
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, self.signal.name(), &self.name)
    }
}

fn write_id(f: &mut fmt::Formatter<'_>, kind: &str, name: &str) -> fmt::Result {
    f.write_str(kind)?;
    if name.is_empty() { Ok(()) } else { write!(f, "/{name}") }
}

/// Splits an id into type and name, by the Collector's rules.
pub(super) fn parse_id(text: &str) -> Result<(&str, &str), Problem> {
    const TYPE_CHARS_MAX: usize = 63;
    // A cursor's name has two ids in it, and is a file name: two names and their types have to fit.
    const NAME_LENGTH_MAX: usize = 80;
    let (kind, name) = match text.split_once('/') {
        Some((kind, name)) => (kind.trim(), Some(name.trim())),
        None => (text.trim(), None),
    };
    let is_type = kind.starts_with(|c: char| c.is_ascii_alphabetic())
        && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && kind.len() <= TYPE_CHARS_MAX;
    if !is_type {
        return Err(Problem::new(format!("{} is no id: its type is not a word", quote(text)))
            .suggest("write `type` or `type/name`; a type has letters, digits and underscores"));
    }
    // Letters, digits and punctuation; the Collector allows no symbols, spaces or control characters.
    let is_name = |c: char| c.is_alphanumeric() || (c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c));
    match name {
        Some("") => Err(Problem::new(format!("{} is no id: nothing follows the slash", quote(text)))
            .suggest(format!("write `{kind}` or `{kind}/name`"))),
        Some(name) if !name.chars().all(is_name) => {
            Err(Problem::new(format!("{} is no id: its name has a character that is not allowed", quote(text)))
                .suggest("a name has letters, digits and punctuation such as `-`, `_`, `.`"))
        }
        Some(name) if length_in_file_name(name) > NAME_LENGTH_MAX => {
            Err(Problem::new(format!("{} is no id: its name is too long", quote(text)))
                .suggest(format!("{NAME_LENGTH_MAX} letters and digits are allowed")))
        }
        name => Ok((kind, name.unwrap_or_default())),
    }
}

/// The name of a pipeline's log. Different pipelines have different logs: a name that could be read as another
/// signal's log, or as the agent's own, keeps its prefix.
///
/// | pipeline | log |
/// |---|---|
/// | `logs`, `traces`, `metrics` | the same word |
/// | `traces/N`, `metrics/N` | `traces.N`, `metrics.N` |
/// | `logs/N` | `N` |
/// | `logs/N` where N is `logs`, `traces`, `metrics`, `self`, or starts with one of the first three and a dot, or with `dead/` | `logs.N` |
pub(super) fn log_name(pipeline: &PipelineId) -> String {
    let signal = pipeline.signal.name();
    match pipeline.name() {
        None => signal.to_owned(),
        Some(name) if pipeline.signal == Signal::Logs && !is_reserved(name) => name.to_owned(),
        Some(name) => format!("{signal}.{name}"),
    }
}

/// The log in which the agent tells of itself. No pipeline's log may have this name.
pub(crate) const SELF_LOG: &str = "self";

fn is_reserved(name: &str) -> bool {
    // The log keeps names that begin with `dead/` for dead letters.
    name == SELF_LOG
        || name.starts_with("dead/")
        || Signal::ALL
            .iter()
            .any(|signal| name.strip_prefix(signal.name()).is_some_and(|r| r.is_empty() || r.starts_with('.')))
}

/// The name of a cursor: pipeline, colon, canonical exporter id, as `logs/kernel:file/local`.
pub(super) fn cursor_name(pipeline: &PipelineId, exporter: &Id) -> String {
    format!("{pipeline}:{exporter}")
}

/// How much of a file name a name takes: the log writes as three bytes what is not safe in one.
fn length_in_file_name(name: &str) -> usize {
    name.bytes().map(|byte| if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) { 1 } else { 3 }).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(signal: Signal, name: &str) -> String {
        log_name(&PipelineId::new(signal, name))
    }

    #[test]
    fn a_logs_pipeline_gives_its_name_to_its_log() {
        assert_eq!(log(Signal::Logs, "kernel"), "kernel");
        assert_eq!(log(Signal::Logs, "self.made"), "self.made");
        assert_eq!(log(Signal::Logs, "logstash"), "logstash");
    }

    #[test]
    fn bare_signals_and_other_signals_keep_the_signals_word() {
        assert_eq!(log(Signal::Logs, ""), "logs");
        assert_eq!(log(Signal::Traces, ""), "traces");
        assert_eq!(log(Signal::Traces, "edge"), "traces.edge");
        assert_eq!(log(Signal::Metrics, "edge"), "metrics.edge");
    }

    #[test]
    fn a_name_that_reads_like_another_log_keeps_its_prefix() {
        for name in ["logs", "traces", "metrics", "self", "logs.a", "traces.edge", "metrics.", "dead/a"] {
            assert_eq!(log(Signal::Logs, name), format!("logs.{name}"));
        }
    }

    #[test]
    fn a_cursor_is_named_by_pipeline_and_exporter() {
        let pipeline = PipelineId::new(Signal::Logs, "kernel");
        assert_eq!(cursor_name(&pipeline, &Id::new("file", "local")), "logs/kernel:file/local");
        assert_eq!(cursor_name(&pipeline, &Id::new("otlp", "")), "logs/kernel:otlp");
    }

    #[test]
    fn the_longest_ids_make_a_cursor_that_the_log_takes() {
        let longest = format!("metrics/{}", "/".repeat(26));
        assert!(parse_id(&longest).is_ok() && parse_id(&format!("{longest}/")).is_err());
        let pipeline = PipelineId::new(Signal::Metrics, &"/".repeat(26));
        let names = [log_name(&pipeline), cursor_name(&pipeline, &Id::new("debug", &"n".repeat(80)))];
        // What `spool` allows.
        assert!(names.iter().all(|name| length_in_file_name(name) <= 200), "{names:?}");
    }

    /// Names as the Collector allows them, with much of what could collide.
    fn any_name() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "logs", "traces", "metrics", "self", "dead", ".", "/", "a", "-", "2E", "ü", ":", "",
        ]);
        prop::collection::vec(word, 0..4).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn different_pipelines_have_different_logs(
            a in (prop::sample::select(Signal::ALL.to_vec()), any_name()),
            b in (prop::sample::select(Signal::ALL.to_vec()), any_name()),
        ) {
            prop_assert_eq!(log(a.0, &a.1) == log(b.0, &b.1), a == b);
            let log = log(a.0, &a.1);
            prop_assert!(log != "self" && !log.starts_with("dead/"));
        }
    }
}
