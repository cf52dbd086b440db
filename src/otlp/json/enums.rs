//! The names of enum values. OTLP JSON wants their numbers; the Collector takes names too, and so do we.

/// An enum's values: the name of the field that has it, the names' prefix, and name and number of each.
type Enum = (&'static str, &'static str, &'static [(&'static str, i32)]);

const SEVERITIES: &[(&str, i32)] = &[
    ("UNSPECIFIED", 0),
    ("TRACE", 1),
    ("TRACE2", 2),
    ("TRACE3", 3),
    ("TRACE4", 4),
    ("DEBUG", 5),
    ("DEBUG2", 6),
    ("DEBUG3", 7),
    ("DEBUG4", 8),
    ("INFO", 9),
    ("INFO2", 10),
    ("INFO3", 11),
    ("INFO4", 12),
    ("WARN", 13),
    ("WARN2", 14),
    ("WARN3", 15),
    ("WARN4", 16),
    ("ERROR", 17),
    ("ERROR2", 18),
    ("ERROR3", 19),
    ("ERROR4", 20),
    ("FATAL", 21),
    ("FATAL2", 22),
    ("FATAL3", 23),
    ("FATAL4", 24),
];

const KINDS: &[(&str, i32)] =
    &[("UNSPECIFIED", 0), ("INTERNAL", 1), ("SERVER", 2), ("CLIENT", 3), ("PRODUCER", 4), ("CONSUMER", 5)];

const CODES: &[(&str, i32)] = &[("UNSET", 0), ("OK", 1), ("ERROR", 2)];

const TEMPORALITIES: &[(&str, i32)] = &[("UNSPECIFIED", 0), ("DELTA", 1), ("CUMULATIVE", 2)];

pub(super) const ENUMS: &[Enum] = &[
    ("severityNumber", "SEVERITY_NUMBER_", SEVERITIES),
    ("kind", "SPAN_KIND_", KINDS),
    ("code", "STATUS_CODE_", CODES),
    ("aggregationTemporality", "AGGREGATION_TEMPORALITY_", TEMPORALITIES),
];

/// The number of a value that a field was given by name.
pub(super) fn number(field: &str, name: &str) -> Option<i32> {
    let (_, prefix, values) = ENUMS.iter().find(|(of, ..)| *of == field)?;
    let name = name.strip_prefix(prefix)?;
    values.iter().find(|(value, _)| *value == name).map(|(_, number)| *number)
}
