//! The built-in configuration, and defaults that no file needs to say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{ExporterSettings, Receiver};
use crate::spool::{Durability, LogOptions, Need, OnFull, Options};

#[test]
fn the_built_in_configuration_is_what_is_documented() {
    let config = load(&sources(Vec::new())).unwrap();
    assert_eq!(config.data_dir, Path::new("/data"));
    let logs: Vec<(String, &str, usize)> =
        config.pipelines.iter().map(|p| (p.id.to_string(), &*p.log, p.exporters.len())).collect();
    let expected =
        [("logs/kernel", "kernel", 2), ("logs/otlp", "otlp", 0), ("traces", "traces", 0), ("metrics", "metrics", 0)];
    assert_eq!(logs, expected.map(|(id, log, exporters)| (id.to_owned(), log, exporters)));

    let Some(Receiver::Otlp(otlp)) = config.receivers.values().find(|r| matches!(r, Receiver::Otlp(_))) else {
        panic!("no receiver otlp in {:?}", config.receivers)
    };
    assert_eq!(otlp.grpc.as_ref().unwrap().endpoint.address().unwrap(), SocketAddr::from(([127, 0, 0, 1], 4317)));
    assert_eq!(otlp.http.as_ref().unwrap().endpoint.address().unwrap(), SocketAddr::from(([127, 0, 0, 1], 4318)));
    let file = config.exporters.values().find_map(|e| match &e.settings {
        ExporterSettings::File(file) => Some(file),
        _ => None,
    });
    let file = file.unwrap();
    assert_eq!(file.path, Path::new("/data/events/kernel.jsonl"));
    assert_eq!((file.rotation.max_bytes, file.rotation.max_backups, file.create_directory), (100_000_000, 10, true));
    assert_eq!(config.health[0].endpoint, SocketAddr::from(([127, 0, 0, 1], 13133)));
    assert_eq!(config.metrics, [SocketAddr::from(([127, 0, 0, 1], 8888))]);
    assert_eq!(config.spool, Options::default());
}

#[test]
fn a_log_fed_by_the_kernel_alone_drops_the_oldest_and_others_refuse() {
    let config = load(&sources(Vec::new())).unwrap();
    let on_full: Vec<OnFull> = config.pipelines.iter().map(|p| p.options.on_full).collect();
    assert_eq!(on_full, [OnFull::DropOldest, OnFull::Reject, OnFull::Reject, OnFull::Reject]);

    let mixed = "
receivers: { kernel: , otlp: { protocols: { grpc: } } }
exporters: { debug: }
service: { pipelines: { logs: { receivers: [kernel, otlp], exporters: [debug] } } }";
    assert_eq!(load_text(mixed).unwrap().pipelines[0].options.on_full, OnFull::Reject);
}

#[test]
fn a_configuration_runs_only_what_it_names_and_its_own_metrics() {
    let config = load_text(
        "
receivers: { otlp: { protocols: { grpc: } } }
exporters: { otlp: { endpoint: collector:4317 } }
service: { pipelines: { logs: { receivers: [otlp], exporters: [otlp] } } }",
    )
    .unwrap();
    assert_eq!(config.receivers.len(), 1);
    assert_eq!(config.metrics, [SocketAddr::from(([127, 0, 0, 1], 8888))]);
    assert!(config.health.is_empty());
    let Receiver::Otlp(otlp) = config.receivers.values().next().unwrap() else { panic!("not otlp") };
    assert_eq!(otlp.http, None);
    let exporter = config.exporters.values().next().unwrap();
    assert_eq!(exporter.drain, crate::exporters::drain::Settings::default());
    assert_eq!(exporter.need, Need::Required);
    assert_eq!(config.pipelines[0].options, LogOptions::default());
}

#[test]
fn the_data_directory_is_the_flags_then_the_files_then_the_default() {
    let files = Files::new();
    let named = files.add(
        "named.yaml",
        "
extensions: { disk_buffer: { directory: /named }, file_storage: { directory: /named } }
receivers: { kernel: }
exporters: { file: { path: '${tidegate:data_dir}/k.jsonl' } }
service: { extensions: [file_storage, disk_buffer], pipelines: { logs: { receivers: [kernel], exporters: [file] } } }",
    );
    let with = |data_dir: Option<&str>, files: Vec<String>| Sources {
        data_dir: data_dir.map(PathBuf::from),
        env: env(&[("HOME", "/home/ada")]),
        ..sources(files)
    };
    let dir = |sources: &Sources| load(sources).unwrap().data_dir;
    assert_eq!(dir(&with(Some("/flag"), vec![named.clone()])), Path::new("/flag"));
    assert_eq!(dir(&with(None, vec![named.clone()])), Path::new("/named"));
    assert_eq!(dir(&with(None, Vec::new())), Path::new("/home/ada/.local/state/tidegate"));
    assert_eq!(dir(&Sources { root: true, ..with(None, Vec::new()) }), Path::new("/var/lib/tidegate"));
    let state = env(&[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/state")]);
    assert_eq!(dir(&Sources { env: state, ..with(None, Vec::new()) }), Path::new("/state/tidegate"));

    let config = load(&with(None, vec![named.clone()])).unwrap();
    let Some(ExporterSettings::File(file)) = config.exporters.values().next().map(|e| &e.settings) else {
        panic!("no file exporter")
    };
    assert_eq!(file.path, Path::new("/named/k.jsonl"));
    assert!(!notes_of(&config).iter().any(|note| note.contains("instead")));
    let told = notes_of(&load(&with(Some("/flag"), vec![named])).unwrap());
    assert!(told.iter().any(|note| note.contains("/flag is used instead")), "{told:?}");
}

#[test]
fn without_home_the_data_directory_must_be_named() {
    let sources = Sources { data_dir: None, ..sources(Vec::new()) };
    let faults = faults_of(load(&sources).unwrap_err());
    assert_eq!(faults[0].2, "no data directory: neither XDG_STATE_HOME nor HOME is set");
    assert!(faults[0].3.contains("--data-dir"));
}

#[test]
fn options_of_one_log_stand_above_those_of_all() {
    let config = load_text(
        "
extensions:
  disk_buffer:
    durability: interval
    sync_interval: 50ms
    max_size: 2GiB
    min_free: 10%
    orphan_ttl: 1h30m
    max_age: 24h
    on_full: reject
    dead_letter: { max_size: 32MiB }
    logs:
      kernel: { durability: sync, max_size: 64MiB, on_full: drop_oldest }
receivers: { kernel: , otlp: { protocols: { http: } } }
exporters: { debug: }
service:
  extensions: [disk_buffer]
  pipelines:
    logs/kernel: { receivers: [kernel], exporters: [debug] }
    logs: { receivers: [kernel], exporters: [debug] }",
    )
    .unwrap();
    let [kernel, logs] = &config.pipelines[..] else { panic!("{:?}", config.pipelines) };
    assert_eq!((kernel.options.durability, kernel.options.on_full), (Durability::Sync, OnFull::DropOldest));
    assert_eq!(kernel.options.max_size, Some(64 << 20));
    // Typed for all logs, so the rule for the kernel's does not apply.
    assert_eq!((logs.options.durability, logs.options.on_full), (Durability::Interval, OnFull::Reject));
    assert_eq!((logs.options.max_size, logs.options.dead_letter_max_size), (None, Some(32 << 20)));
    assert_eq!((config.spool.max_size, config.spool.min_free_percent), (Some(2 << 30), 10));
    assert_eq!(config.spool.orphan_ttl.as_secs(), 5400);
    assert_eq!(kernel.options.max_age.as_secs(), 24 * 3600);
}
