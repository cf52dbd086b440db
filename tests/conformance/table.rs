//! A duty of the specification, the question that shows whether it is met, and the table of all answers.

use std::fmt::Write as _;

use crate::program::Program;

/// How the specification words it (RFC 2119).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Must,
    Should,
}

/// Who has the duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// One sentence of the OTLP specification.
pub(crate) struct Duty {
    pub(crate) side: Side,
    /// The heading that it stands under.
    pub(crate) section: &'static str,
    pub(crate) level: Level,
    /// In our words.
    pub(crate) text: &'static str,
    pub(crate) ask: fn(Program) -> Answer,
    /// Why tidegate does otherwise than the specification says, or than the Collector does.
    pub(crate) why: Option<&'static str>,
}

/// What a program did when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) is_met: bool,
    pub(crate) said: String,
}

/// An answer that meets its duty, or does not.
pub(crate) fn answer(is_met: bool, said: impl Into<String>) -> Answer {
    Answer { is_met, said: said.into() }
}

impl Duty {
    pub(crate) const fn new(
        side: Side,
        section: &'static str,
        level: Level,
        text: &'static str,
        ask: fn(Program) -> Answer,
    ) -> Self {
        Self { side, section, level, text, ask, why: None }
    }

    pub(crate) const fn because(self, why: &'static str) -> Self {
        Self { why: Some(why), ..self }
    }
}

/// A duty with what both programs answered.
pub(crate) struct Row {
    pub(crate) duty: Duty,
    pub(crate) tidegate: Answer,
    pub(crate) collector: Answer,
}

impl Row {
    /// Whether a reader would ask why.
    pub(crate) fn needs_a_reason(&self) -> bool {
        !self.tidegate.is_met || self.tidegate != self.collector
    }
}

/// The page of the documentation, as Markdown.
pub(crate) fn page(rows: &[Row], collector: &str) -> String {
    let mut out = String::from(HEAD);
    let met = |side: Option<Side>, level, who: fn(&Row) -> &Answer| {
        let of = rows.iter().filter(|row| side.is_none_or(|side| row.duty.side == side) && row.duty.level == level);
        let (met, all) = of.fold((0, 0), |(met, all), row| (met + usize::from(who(row).is_met), all + 1));
        format!("{met} of {all}")
    };
    writeln!(out, "| met | tidegate | Collector {collector} |\n|---|---|---|").unwrap();
    for (name, side, level) in [
        ("server, MUST", Side::Server, Level::Must),
        ("server, SHOULD", Side::Server, Level::Should),
        ("client, MUST", Side::Client, Level::Must),
        ("client, SHOULD", Side::Client, Level::Should),
    ] {
        let (ours, theirs) =
            (met(Some(side), level, |row| &row.tidegate), met(Some(side), level, |row| &row.collector));
        writeln!(out, "| {name} | {ours} | {theirs} |").unwrap();
    }
    for (title, side) in [("As a server", Side::Server), ("As a client", Side::Client)] {
        let head =
            "| section | | what is asked | tidegate | Collector | why tidegate does so |\n|---|---|---|---|---|---|";
        writeln!(out, "\n## {title}\n\n{head}").unwrap();
        for row in rows.iter().filter(|row| row.duty.side == side) {
            let level = if row.duty.level == Level::Must { "MUST" } else { "SHOULD" };
            let mark = |answer: &Answer| format!("{}{}", if answer.is_met { "" } else { "**no:** " }, answer.said);
            let why = row.duty.why.unwrap_or_default();
            let (ours, theirs) = (mark(&row.tidegate), mark(&row.collector));
            writeln!(out, "| {} | {level} | {} | {ours} | {theirs} | {why} |", row.duty.section, row.duty.text)
                .unwrap();
        }
    }
    out
}

const HEAD: &str = "# Conformance to OTLP

Each MUST and SHOULD of the [OTLP specification](https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md)
(1.10, commit 03dcdb9), put as a question to tidegate and to the OpenTelemetry Collector: the same configuration file, the same requests, the
same scripted backend. `tests/run conformance` asks them all and compares the answers with this page, which it wrote. **no** marks
an answer that does not do what is asked.

What the tables do not ask: that a sender of data make no oversized or empty requests of its own (neither program makes any telemetry here,
they forward it), profiles (in development, taken by neither), and discovery of future capabilities, which is not defined yet.

";
