//! Configurations written for the OpenTelemetry Collector.

use std::time::Duration;

use super::*;
use crate::config::ExporterSettings;
use crate::exporters::debug::Verbosity;

/// What a person who runs a Collector today may well have.
const STOCK: &str = r#"
extensions:
  health_check:
    endpoint: ${env:MY_POD_IP:-127.0.0.1}:13133
  file_storage/queue:
    directory: /var/lib/otelcol/queue
    create_directory: true
    timeout: 1s
    fsync: false
    compaction: { on_start: true, directory: /tmp }
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: ${env:MY_POD_IP:-127.0.0.1}:4317
        max_recv_msg_size_mib: 16
        keepalive: { server_parameters: { max_connection_age: 60s } }
      http:
        endpoint: localhost:4318
        cors: { allowed_origins: ["http://*"] }
processors:
  memory_limiter: { check_interval: 1s, limit_percentage: 75, spike_limit_percentage: 15 }
  batch: { send_batch_size: 10000, timeout: 10s }
exporters:
  debug: { verbosity: basic, sampling_initial: 5 }
  otlp_grpc/backend:
    endpoint: https://backend.example.net:4317
    compression: none
    timeout: 10s
    headers: { authorization: "Bearer ${env:TOKEN:-abc}" }
    tls: { ca_file: /etc/ca.pem, min_version: "1.3" }
    retry_on_failure: { enabled: true, initial_interval: 1s, max_interval: 1m, max_elapsed_time: 300s }
    sending_queue:
      enabled: true
      num_consumers: 10
      queue_size: 5000
      storage: file_storage/queue
      batch: { min_size: 8192, max_size: 8192, flush_timeout: 200ms }
service:
  extensions: [health_check, file_storage/queue]
  telemetry:
    logs: { level: INFO, encoding: json }
    metrics:
      level: detailed
      readers: [{ pull: { exporter: { prometheus: { host: 0.0.0.0, port: 8889 } } } }]
  pipelines:
    logs: { receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_grpc/backend, debug] }
    traces/all: { receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_grpc/backend] }
    metrics: { receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_grpc/backend] }
"#;

#[test]
fn a_stock_configuration_of_supported_components_runs_unchanged() {
    let config = load_text(STOCK).unwrap();
    let logs: Vec<&str> = config.pipelines.iter().map(|pipeline| &*pipeline.log).collect();
    assert_eq!(logs, ["logs", "traces.all", "metrics"]);
    assert_eq!(config.metrics[0].to_string(), "0.0.0.0:8889");
    assert_eq!(config.log_level, tracing::Level::INFO);

    let [debug, backend] = &config.exporters.values().collect::<Vec<_>>()[..] else { panic!("{:?}", config.exporters) };
    let ExporterSettings::Debug(debug) = &debug.settings else { panic!("{debug:?}") };
    assert_eq!(debug.verbosity, Verbosity::Basic);
    let ExporterSettings::Otlp(otlp) = &backend.settings else { panic!("{backend:?}") };
    assert_eq!(otlp.endpoint, "https://backend.example.net:4317");
    assert_eq!(otlp.headers, [("authorization".to_owned(), "Bearer abc".to_owned())]);
    assert_eq!(otlp.timeout, Duration::from_secs(10));
    assert!(!otlp.tls.insecure);
    assert_eq!(backend.drain.requests_in_flight, 10);
    assert_eq!(backend.drain.retry.max_elapsed_time, Duration::from_secs(300));
    assert_eq!(backend.drain.max_batch_bytes, 2 << 20);
}

#[test]
fn what_a_stock_configuration_says_without_effect_is_told() {
    let told = notes(STOCK);
    for (path, word) in [
        ("extensions.file_storage/queue.fsync", "still"),
        ("extensions.file_storage/queue.create_directory", "no effect"),
        ("extensions.file_storage/queue.compaction", "no effect"),
        ("receivers.otlp.protocols.grpc.keepalive", "no effect"),
        ("receivers.otlp.protocols.http.cors", "no effect"),
        ("processors.memory_limiter", "memory is bounded"),
        ("processors.batch", "exporters batch"),
        ("exporters.otlp_grpc/backend.sending_queue.num_consumers", "10 requests in flight"),
        ("exporters.otlp_grpc/backend.sending_queue.queue_size", "no effect"),
        ("exporters.otlp_grpc/backend.sending_queue.batch.max_size", "no effect in items"),
        ("exporters.otlp_grpc/backend.retry_on_failure.max_elapsed_time", "dead letters"),
        ("service.telemetry.metrics.readers", "every interface"),
    ] {
        let note = told.iter().find(|note| note.starts_with(&format!("{path}: ")));
        assert!(note.is_some_and(|note| note.contains(word) || word == "still"), "{path} {word}: {told:#?}");
    }
    assert!(!told.iter().any(|note| note.contains("abc")), "a header's value is never printed");
}

#[test]
fn the_directory_of_file_storage_is_the_data_directory() {
    let files = Files::new();
    let file = files.add("stock.yaml", STOCK);
    let config = load(&Sources { data_dir: None, ..sources(vec![file]) }).unwrap();
    assert_eq!(config.data_dir, std::path::Path::new("/var/lib/otelcol/queue"));
}

#[test]
fn a_queue_that_is_switched_off_is_durable_and_told() {
    let text = "
receivers: { otlp: { protocols: { grpc: } } }
exporters: { otlp: { endpoint: c:1, sending_queue: { enabled: false, batch: { sizer: bytes, max_size: 1000000 } } } }
service: { pipelines: { logs: { receivers: [otlp], exporters: [otlp] } } }";
    let config = load_text(text).unwrap();
    let told = notes_of(&config);
    assert!(told.iter().any(|n| n.starts_with("exporters.otlp.sending_queue.enabled: no effect")), "{told:?}");
    let exporter = config.exporters.values().next().unwrap();
    assert_eq!((exporter.drain.max_batch_bytes, exporter.drain.requests_in_flight), (1_000_000, 1));
}

#[test]
fn aliases_name_the_same_cursor() {
    let cursor = |kind: &str| {
        let text = format!(
            "
receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters: {{ {kind}/gateway: {{ endpoint: c:1 }} }}
service: {{ pipelines: {{ logs/app: {{ receivers: [otlp], exporters: [{kind}/gateway] }} }} }}"
        );
        let config = load_text(&text).unwrap();
        let pipeline = &config.pipelines[0];
        pipeline.cursor_name(&pipeline.exporters[0])
    };
    assert_eq!(cursor("otlp"), "logs/app:otlp/gateway");
    assert_eq!(cursor("otlp_grpc"), cursor("otlp"));
}

#[test]
fn the_gateway_that_a_collector_runs_has_one_fault_here() {
    let text = include_str!("../../../otel-config.yaml");
    let found = faults(text);
    let line = text.lines().position(|line| line.starts_with("  opensearch:")).unwrap() + 1;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, &*found[0].1), (line, "exporters.opensearch"));
    assert_eq!(found[0].2, "the exporter `opensearch` is not in this version");
}

#[test]
fn components_that_nothing_names_do_not_run_and_are_told() {
    let text = "
extensions: { health_check: , disk_buffer: { max_size: 1GiB } }
receivers: { otlp: { protocols: { grpc: } }, kernel: }
exporters: { debug: , otlp: { endpoint: c:1 } }
processors: { batch: }
service: { pipelines: { logs: { receivers: [otlp], exporters: [debug] } } }";
    let config = load_text(text).unwrap();
    assert_eq!((config.receivers.len(), config.exporters.len(), config.health.len()), (1, 1, 0));
    assert_eq!(config.spool.max_size, None);
    let told = notes_of(&config);
    for path in
        ["extensions.health_check", "extensions.disk_buffer", "receivers.kernel", "exporters.otlp", "processors.batch"]
    {
        assert!(told.iter().any(|note| note.starts_with(&format!("{path}: not used"))), "{path}: {told:?}");
    }
}
