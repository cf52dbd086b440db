//! Text that nobody should write: no panic, no endless work, no secret in what is said about it.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Pieces of YAML and of this configuration, so that random texts get beyond the parser.
const PIECES: &[&str] = &[
    "receivers",
    "exporters",
    "extensions",
    "service",
    "pipelines",
    "otlp",
    "kernel",
    "file",
    "disk_buffer",
    "protocols",
    "grpc",
    "endpoint",
    "logs",
    "telemetry",
    "metrics",
    "readers",
    ": ",
    ":\n",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!x ",
    "|\n",
    ">-\n",
    "# ",
    "---\n",
    "...\n",
    "%TAG ! x\n",
    "? ",
    "${env:X}",
    "${",
    "$$",
    "}",
    "127.0.0.1:1",
    "5s",
    "1GiB",
    "true",
    "null",
    "~",
    "-1",
    "\t",
    "\r\n",
    "\u{feff}",
    "é",
    "\0",
    "\u{2028}",
    "\\",
    "@",
    "`",
];

fn text_of_pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        9 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// The built-in configuration with one stretch replaced.
fn damaged_default() -> impl Strategy<Value = String> {
    let text = crate::config::DEFAULT_YAML;
    (0..text.len(), 0..40_usize, text_of_pieces()).prop_map(|(at, length, new)| {
        let end = (at + length).min(text.len());
        format!("{}{new}{}", &text[..at], &text[end..])
    })
}

fn load_in_memory(text: &str) -> Result<Config, Faults> {
    let sources = Sources { env: env(&[("CONFIG", text), ("X", "1")]), ..sources(vec!["env:CONFIG".to_owned()]) };
    load(&sources)
}

proptest! {
    // 256 cases each; PROPTEST_CASES sets another number.
    #[test]
    fn any_text_gets_an_answer(text in prop_oneof![text_of_pieces(), "\\PC{0,200}", any::<String>(), damaged_default()]) {
        match load_in_memory(&text) {
            Ok(config) => prop_assert!(!config.pipelines.is_empty()),
            Err(faults) => {
                prop_assert!(!faults.faults.is_empty());
                for fault in &faults.faults {
                    prop_assert!(fault.message.chars().count() < 400, "{}", fault.message);
                    prop_assert!(!fault.message.chars().any(char::is_control), "{:?}", fault.message);
                    if let Some(snippet) = &fault.snippet {
                        prop_assert!(snippet.column >= 1 && snippet.width >= 1);
                        prop_assert!(!snippet.text.chars().any(char::is_control));
                    }
                }
            }
        }
    }

    #[test]
    fn any_set_gets_an_answer(path in "[a-z:./ =]{0,30}", value in text_of_pieces()) {
        let sets = vec![format!("{path}={value}"), path];
        let outcome = load(&Sources { sets, ..sources(Vec::new()) });
        prop_assert!(outcome.is_err(), "the second --set has no value, or an empty path");
    }
}

#[test]
fn deep_nesting_is_refused_quickly() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "a:\n ".repeat(10_000)] {
        let start = Instant::now();
        assert!(load_in_memory(&text).is_err());
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}…", &text[..8]);
    }
    let nested = format!("receivers: {}1{}", "[".repeat(70), "]".repeat(70));
    assert!(load_in_memory(&nested).unwrap_err().to_string().contains("nested deeper than 64 levels"));
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let previous = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [&*previous; 10].join(", ")));
    }
    let found = load_in_memory(&text).unwrap_err().to_string();
    assert!(found.contains("more than 20000 values, aliases expanded"), "{found}");
}

#[test]
fn aliases_that_nest_or_name_themselves_are_refused() {
    let deep: Vec<String> = (1..100).map(|n| format!("a{n}: &a{n} [*a{}]", n - 1)).collect();
    let found = load_in_memory(&format!("a0: &a0 [1]\n{}", deep.join("\n"))).unwrap_err().to_string();
    assert!(found.contains("nested deeper than 64 levels"), "{found}");
    let own = load_in_memory("a: &a [*a]").unwrap_err().to_string();
    assert!(own.contains("an alias inside what it names"), "{own}");
}

#[test]
fn many_keys_are_read_in_good_time() {
    let keys: Vec<String> = (0..9_000).map(|n| format!("k{n}: 1")).collect();
    let start = Instant::now();
    assert!(load_in_memory(&keys.join("\n")).is_err());
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_variable_that_multiplies_is_bounded() {
    let text = "exporters: { otlp: { headers: '${env:X:-${env:X:-${env:X:-${env:X:-a}}}}' } }";
    assert!(load_in_memory(text).is_err());
    let nested = format!("a: '{}x{}'", "${env:N:-".repeat(50), "}".repeat(50));
    let found = load_in_memory(&nested).unwrap_err().to_string();
    assert!(found.contains("references nested more than 8 deep"), "{found}");
}

/// Everything that is said about a text.
fn all_said(text: &str) -> String {
    match load_in_memory(text) {
        Ok(config) => format!("{config:?}"),
        Err(faults) => format!("{faults:?}"),
    }
}

#[test]
fn no_secret_is_ever_said() {
    let headers = |value: &str| {
        format!(
            "
receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters: {{ otlp: {{ endpoint: c:1, headers: {{ authorization: {value} }} }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }} }}"
        )
    };
    for text in [
        headers("hunter2"),
        headers("\"hunter2\\0\""),
        headers("[hunter2]"),
        headers("{ a: hunter2 }"),
        headers("hunter2").replace("c:1", "nowhere"),
        headers("hunter2").replace("headers:", "heders:"),
        headers("x").replace("c:1", "https://me:hunter2@c:1"),
        headers("x").replace("c:1", "ftp://me:hunter2@c:1"),
        headers("x").replace("otlp: { endpoint: c:1", "otlphttp: { endpoint: 'http://c:1/x?token=hunter2'"),
        headers("x").replace("otlp: { endpoint: c:1", "otlphttp: { endpoint: 'http://c:1/x?token=hunter2#a'"),
        headers("'hunter2"),
        "exporters:\n  otlp:\n    headers:\n      x-key: \"hunter2\n".to_owned(),
        "exporters:\n  otlp:\n    headers:\n      x-key: hunter2: no\n".to_owned(),
        "exporters:\n  otlp:\n    endpoint: \"https://me:hunter2@c:1\n".to_owned(),
    ] {
        let said = all_said(&text);
        assert!(!said.contains("hunter2"), "{text}\n{said}");
    }
}

#[test]
fn a_long_line_is_shown_in_part() {
    let text = format!("receivers: {{ otlp: {{ {}, wrong: 1 }} }}", vec!["protocols: x"; 400].join(", "));
    let found = load_in_memory(&text).unwrap_err();
    for fault in found.faults {
        assert!(fault.snippet.is_none_or(|snippet| snippet.text.chars().count() <= 400));
    }
}

#[test]
fn the_sources_do_not_show_values() {
    let set = "exporters.otlp.headers={authorization: hunter2}".to_owned();
    let sources = Sources { env: env(&[("TOKEN", "hunter2")]), sets: vec![set], ..sources(Vec::new()) };
    let shown = format!("{sources:?}");
    assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
}
