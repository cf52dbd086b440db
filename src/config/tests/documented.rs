//! `docs/config.md` has the keys that the code knows: all of them, and no others. Its examples are valid.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::config::check::{self, DataDir};
use crate::config::fields::Check;
use crate::config::load::read;

const DOCUMENT: &str = include_str!("../../../docs/config.md");

/// Names every section that is only read when it is there.
const EVERYTHING: &str = "
receivers: { kernel: , otlp: { protocols: { grpc: { tls: , auth: }, http: { tls: , auth: , cors: } } } }
processors: { batch: , memory_limiter: }
exporters:
  otlp: { endpoint: c:1, sending_queue: , auth: }
  otlphttp: { endpoint: 'http://c', sending_queue: , auth: }
  file: { path: /x, rotation: }
  debug:
extensions: { health_check: , file_storage: , bearertokenauth: , basicauth: { htpasswd: , client_auth: }, disk_buffer: { logs: { kernel: } } }
service:
  telemetry: { metrics: { readers: [{ pull: { exporter: { prometheus: } } }] } }
  pipelines: { logs/kernel: { receivers: [kernel] } }
";

const EVENTS: [&str; 5] = [
    "kernel.oom.kill",
    "kernel.process.crash",
    "kernel.net.tcp_retransmit",
    "kernel.net.packet_drop",
    "kernel.task.hung",
];

/// The keys that the code asks for, as the document spells them.
fn known() -> BTreeSet<String> {
    let files = Files::new();
    let file = files.add("all.yaml", EVERYTHING);
    let typed = read(&sources(vec![file]));
    let mut check = Check::new(&typed.sources);
    check::config(&mut check, &typed.root, &DataDir { path: PathBuf::new(), given: false });
    let spelled = |key: &String| {
        let mut key = key.replace("[0]", "[]").replace("logs/kernel", "<id>").replace("logs.kernel.", "logs.<log>.");
        for event in EVENTS {
            for common in ["enabled", "max_per_second"] {
                key = key.replace(&format!("events.{event}.{common}"), &format!("events.<event>.{common}"));
            }
        }
        key
    };
    let all: BTreeSet<String> = check.keys.iter().map(spelled).collect();
    // A map is documented by what it holds.
    let holds_others = |key: &String| all.iter().any(|other| other.starts_with(&format!("{key}.")));
    let sections = ["receivers", "processors", "exporters", "extensions", "service", "connectors", "service.pipelines"];
    let events = EVENTS.map(|event| format!("receivers.kernel.events.{event}"));
    all.iter()
        .filter(|key| !holds_others(key) && !sections.contains(&&***key) && !events.contains(key))
        .cloned()
        .collect()
}

/// The keys in the tables of the document: each heading names what its rows stand under.
fn documented() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut prefixes: Vec<&str> = Vec::new();
    for line in DOCUMENT.lines() {
        if line.starts_with('#') {
            prefixes = if line.starts_with("### `") { quoted(line).collect() } else { Vec::new() };
        } else if let Some(row) = line.strip_prefix("| `") {
            let first = row.split(" | ").next().unwrap();
            for key in quoted(&format!("`{first}")) {
                keys.extend(prefixes.iter().map(|prefix| format!("{prefix}.{key}")));
            }
        }
    }
    keys
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_known() {
    let (known, documented) = (known(), documented());
    let undocumented: Vec<&String> = known.difference(&documented).collect();
    assert_eq!(undocumented, Vec::<&String>::new(), "known, but not in docs/config.md");
    // A key that is a map of the user's, and lists, are documented by their name and by what they hold.
    let extra: Vec<&String> =
        documented.difference(&known).filter(|key| !known.iter().any(|k| k.starts_with(&***key))).collect();
    assert_eq!(extra, Vec::<&String>::new(), "in docs/config.md, but not known");
}

#[test]
fn every_component_is_documented() {
    for component in crate::config::COMPONENTS {
        let heading = format!("`{}.{}`", component.kind.section(), component.name);
        assert!(DOCUMENT.lines().any(|line| line.starts_with("### ") && line.contains(&heading)), "{heading}");
        for alias in component.aliases {
            assert!(DOCUMENT.contains(&format!("`{alias}`")), "{alias}");
        }
    }
}

#[test]
fn the_examples_in_the_documents_are_valid() {
    let readme = include_str!("../../../README.md");
    let mut checked = 0;
    for document in [DOCUMENT, readme] {
        for example in document.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            if let Err(faults) = load_text(example) {
                panic!("{faults}\n{example}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 2, "the examples were not found");
}

#[test]
fn documented_defaults_are_those_of_the_code() {
    let log = crate::spool::LogOptions::default();
    assert_eq!((log.retain_size, log.max_frame), (1 << 30, 64 << 20));
    for (key, default) in [
        ("durability", "`sync`".to_owned()),
        ("sync_interval", format!("`{}ms`", log.sync_interval.as_millis())),
        ("retain_size", "`1GiB`".to_owned()),
        ("retain_age", format!("`{}h`", log.retain_age.as_secs() / 3600)),
        ("max_frame", "`64MiB`".to_owned()),
        ("min_free", format!("`{}%`", crate::spool::Options::default().min_free_percent)),
        ("orphan_ttl", format!("`{}h`", crate::spool::Options::default().orphan_ttl.as_secs() / 3600)),
    ] {
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap();
        assert_eq!(row.split(" | ").nth(1), Some(&*default), "{row}");
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md").exists());
}
