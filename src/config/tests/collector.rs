//! Configurations written for the OpenTelemetry Collector.

use std::time::Duration;

use super::*;
use crate::config::{ExporterSettings, Receiver};
use crate::exporters::TlsVersions;
use crate::exporters::debug::Verbosity;
use crate::listen::unix::SocketMode;
use crate::receivers::otlp::Endpoint;
use crate::spool::Limit;

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
    tls: { ca_file: /etc/ca.pem, include_system_ca_certs_pool: true, min_version: "1.3", reload_interval: 1h }
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
    assert_eq!(config.messages.level, tracing::Level::INFO);

    let [debug, backend] = &config.exporters.values().collect::<Vec<_>>()[..] else { panic!("{:?}", config.exporters) };
    let ExporterSettings::Debug(debug) = &debug.settings else { panic!("{debug:?}") };
    assert_eq!(debug.verbosity, Verbosity::Basic);
    let ExporterSettings::Otlp(otlp) = &backend.settings else { panic!("{backend:?}") };
    assert_eq!(otlp.endpoint, "https://backend.example.net:4317");
    assert_eq!(otlp.headers, [("authorization".to_owned(), "Bearer abc".into())]);
    assert_eq!(otlp.timeout, Duration::from_secs(10));
    assert!(!otlp.tls.insecure && otlp.tls.include_system_ca_certs_pool);
    assert_eq!((otlp.tls.versions, otlp.tls.reload_interval), (TlsVersions::Only1_3, Duration::from_secs(3600)));
    assert_eq!(backend.drain.requests_in_flight, 10);
    assert_eq!(backend.drain.retry.max_elapsed_time, Duration::from_secs(300));
    let drain = &backend.drain;
    assert_eq!((drain.max_batch_bytes, drain.max_batch_items, drain.min_batch_items), (2 << 20, 8192, 8192));
    assert_eq!((drain.min_batch_bytes, drain.flush_timeout), (0, Duration::from_millis(200)));
    assert_eq!((backend.max_pending, backend.block_on_overflow), (None, false), "requests are no limit");
}

#[test]
fn exporters_and_receivers_speak_the_versions_of_tls_that_are_named() {
    use TlsVersions::{Any, Only1_2, Only1_3};
    for (typed, versions) in [
        ("", Any),
        ("min_version: 1.2, max_version: '1.3'", Any),
        ("min_version: 1.3, max_version: 1.3", Only1_3),
        ("min_version: '1.2', max_version: 1.2", Only1_2),
        ("max_version: 1.2", Only1_2),
        ("max_version: 1.3", Any),
    ] {
        for (kind, endpoint) in [("otlp", "c:1"), ("otlphttp", "https://c:1")] {
            let config = load_text(&format!(
                "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters: {{ {kind}: {{ endpoint: '{endpoint}', tls: {{ {typed} }} }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [{kind}] }} }} }}
"
            ))
            .unwrap();
            let tls = match &config.exporters.values().next().unwrap().settings {
                ExporterSettings::Otlp(settings) => &settings.tls,
                ExporterSettings::OtlpHttp(settings) => &settings.tls,
                other => panic!("{other:?}"),
            };
            assert_eq!(tls.versions, versions, "{kind} {typed}");
            assert_eq!(tls.reload_interval, Duration::ZERO);
        }
        let config = load_text(&format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ tls: {{ cert_file: c, key_file: k, {typed} }} }} }} }} }}
exporters: {{ debug: }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [debug] }} }} }}
"
        ))
        .unwrap();
        let Receiver::Otlp(otlp) = config.receivers.values().next().unwrap() else { panic!("{config:?}") };
        assert_eq!(otlp.grpc.as_ref().unwrap().tls.as_ref().unwrap().versions, versions, "receiver: {typed}");
    }
}

#[test]
fn what_a_stock_configuration_says_without_effect_is_told() {
    let told = notes(STOCK);
    for (path, word) in [
        ("extensions.file_storage/queue.fsync", "still"),
        ("extensions.file_storage/queue.create_directory", "no effect"),
        ("extensions.file_storage/queue.compaction", "no effect"),
        ("receivers.otlp.protocols.grpc.keepalive", "no effect"),
        ("processors.memory_limiter", "memory is bounded"),
        ("processors.batch", "exporters batch"),
        ("exporters.otlp_grpc/backend.sending_queue.num_consumers", "10 requests in flight"),
        ("exporters.otlp_grpc/backend.sending_queue.queue_size", "no effect"),
        ("exporters.otlp_grpc/backend.retry_on_failure.max_elapsed_time", "dead letters"),
        ("service.telemetry.metrics.readers", "every interface"),
    ] {
        let note = told.iter().find(|note| note.starts_with(&format!("{path}: ")));
        assert!(note.is_some_and(|note| note.contains(word) || word == "still"), "{path} {word}: {told:#?}");
    }
    assert!(!told.iter().any(|note| note.contains("abc")), "a header's value is never printed");
}

#[test]
fn tcp4_and_tcp6_listen_on_addresses_of_their_own() {
    let text = "receivers:
  otlp: { protocols: { grpc: { transport: tcp4, endpoint: ':4317' }, http: { transport: tcp4 } } }
  otlp/6: { protocols: { grpc: { transport: tcp6, endpoint: ':4317' }, http: { transport: tcp6 } } }
  otlp/any: { protocols: { grpc: { endpoint: ':4319' }, http: { endpoint: 'localhost:4320' } } }
exporters: { debug: }
service: { pipelines: { logs: { receivers: [otlp, otlp/6, otlp/any], exporters: [debug] } } }
";
    let listens = load_text(text).unwrap().receivers.into_values().map(|receiver| {
        let Receiver::Otlp(settings) = receiver else { panic!("{receiver:?}") };
        let endpoints = [settings.grpc.unwrap().endpoint, settings.http.unwrap().endpoint];
        endpoints.map(|endpoint| (endpoint.address().unwrap().to_string(), matches!(endpoint, Endpoint::Tcp6(_))))
    });
    let expected = [
        [("0.0.0.0:4317".to_owned(), false), ("127.0.0.1:4318".to_owned(), false)],
        [("[::]:4317".to_owned(), true), ("[::1]:4318".to_owned(), true)],
        [("[::]:4319".to_owned(), false), ("127.0.0.1:4320".to_owned(), false)],
    ];
    assert_eq!(listens.collect::<Vec<_>>(), expected);
}

#[test]
fn a_socket_in_the_file_system_is_for_whom_its_mode_says() {
    for (typed, mode) in [
        ("", SocketMode::User),
        (", socket_mode: 0660", SocketMode::Group),
        (", socket_mode: '0666'", SocketMode::Everyone),
    ] {
        let text = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ transport: unix, endpoint: /run/otlp.sock{typed} }} }} }} }}
exporters: {{ debug: }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [debug] }} }} }}
"
        );
        let config = load_text(&text).unwrap();
        let Some(Receiver::Otlp(settings)) = config.receivers.values().next() else { panic!("{config:?}") };
        assert_eq!(settings.grpc.as_ref().unwrap().endpoint, Endpoint::Unix("/run/otlp.sock".into(), mode), "{typed}");
    }
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

/// A pipeline whose one exporter has this `sending_queue`.
fn with_queue(queue: &str) -> String {
    format!(
        "
receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters: {{ otlp: {{ endpoint: c:1, sending_queue: {{ num_consumers: 1, {queue} }} }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }} }}"
    )
}

#[test]
fn a_queues_limit_is_in_items_or_bytes_and_nothing_of_it_is_told() {
    for (queue, limit) in [
        ("sizer: items, queue_size: 5000, block_on_overflow: true", Limit::Items(5000)),
        ("sizer: bytes, queue_size: 50000000, block_on_overflow: true", Limit::Bytes(50_000_000)),
    ] {
        let config = load_text(&with_queue(queue)).unwrap();
        let exporter = config.exporters.values().next().unwrap();
        assert_eq!((exporter.max_pending, exporter.block_on_overflow), (Some(limit), true));
        assert!(config.waits_for_room(&config.pipelines[0]));
        assert_eq!(notes_of(&config), Vec::<String>::new());
    }
    let off = load_text(&with_queue("enabled: false, sizer: items, queue_size: 5, block_on_overflow: true")).unwrap();
    let exporter = off.exporters.values().next().unwrap();
    assert_eq!((exporter.max_pending, exporter.block_on_overflow), (None, false));
}

#[test]
fn a_batch_is_counted_as_its_queue_is_unless_it_says_otherwise() {
    let drain = |queue: &str| {
        let config = load_text(&with_queue(queue)).unwrap();
        let drain = &config.exporters.values().next().unwrap().drain;
        (drain.min_batch_items, drain.min_batch_bytes, drain.max_batch_items, drain.max_batch_bytes)
    };
    let none = u64::MAX;
    for (queue, expected) in [
        ("batch: { min_size: 10, max_size: 20 }", (10, 0, 20, 2 << 20)),
        ("sizer: bytes, batch: { min_size: 1000, max_size: 20000 }", (0, 1000, none, 20_000)),
        ("sizer: bytes, batch: { sizer: items, min_size: 10 }", (10, 0, none, 2 << 20)),
        ("sizer: requests, batch: { min_size: 10 }", (10, 0, none, 2 << 20)),
        ("batch: { max_size: 0 }", (0, 0, none, 2 << 20)),
        ("batch: { sizer: bytes, max_size: 100MiB }", (0, 0, none, 8 << 20)),
    ] {
        assert_eq!(drain(queue), expected, "{queue}");
    }
}

#[test]
fn what_of_a_queue_has_no_effect_where_it_is_used_is_told() {
    let told = |queue: &str, path: &str, word: &str| {
        let told = notes(&with_queue(queue));
        let path = format!("exporters.otlp.sending_queue.{path}: ");
        assert!(told.iter().any(|note| note.starts_with(&path) && note.contains(word)), "{path}{word}: {told:?}");
    };
    told("queue_size: 5000", "queue_size", "no effect: requests");
    told("batch: { flush_timeout: 1s }", "batch.flush_timeout", "without `min_size`");
    told("batch: { sizer: bytes, min_size: 3MiB }", "batch.min_size", "sent with 2MiB");
    told("batch: { sizer: bytes, max_size: 9MiB }", "batch.max_size", "8MiB at most");
    let drops = format!(
        "extensions: {{ disk_buffer: {{ on_full: drop_oldest }} }}{}",
        with_queue("sizer: items, queue_size: 5, block_on_overflow: true")
            .replace("service: {", "service: { extensions: [disk_buffer],")
    );
    let told = notes(&drops);
    for (path, word) in [("block_on_overflow", "refuses nobody"), ("queue_size", "dropped, counted")] {
        let path = format!("exporters.otlp.sending_queue.{path}: ");
        assert!(told.iter().any(|note| note.starts_with(&path) && note.contains(word)), "{path}: {told:?}");
    }
}

#[test]
fn a_batch_that_contradicts_itself_is_a_fault_as_in_the_collector() {
    for (queue, path) in [
        ("batch: { min_size: 20, max_size: 10 }", "batch.max_size"),
        ("sizer: items, queue_size: 5, batch: { min_size: 10 }", "batch.min_size"),
        ("batch: { sizer: requests }", "batch.sizer"),
        ("batch: { min_size: 10, flush_timeout: 0s }", "batch.flush_timeout"),
        ("sizer: items, queue_size: 0", "queue_size"),
        ("block_on_overflow: maybe", "block_on_overflow"),
    ] {
        let found = faults(&with_queue(queue));
        assert_eq!(found.len(), 1, "{queue}: {found:?}");
        assert_eq!(found[0].1, format!("exporters.otlp.sending_queue.{path}"), "{found:?}");
    }
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

#[test]
fn a_connection_that_is_never_to_be_pinged_is_not() {
    let with = |idle: &str| {
        format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters: {{ otlphttp: {{ endpoint: \"http://c:1\", http2_read_idle_timeout: {idle} }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlphttp] }} }} }}
"
        )
    };
    let interval = |idle: &str| match &load_text(&with(idle)).unwrap().exporters.values().next().unwrap().settings {
        ExporterSettings::OtlpHttp(settings) => settings.keep_alive.interval,
        other => panic!("{other:?}"),
    };
    assert_eq!(interval("7s"), Duration::from_secs(7));
    assert!(interval("0s") > Duration::from_secs(1_000_000), "as in the Collector");
}

/// The Collector takes each of them.
#[test]
fn values_at_the_edges_mean_what_they_mean_in_the_collector() {
    let text = "
receivers:
  otlp:
    protocols:
      grpc: { max_recv_msg_size_mib: 100, max_concurrent_streams: 16, tls: { cert_file: a, key_file: b, include_insecure_cipher_suites: false } }
      http: { max_request_body_size: 0, keepalive: { enabled: true } }
extensions: { health_check: { use_v2: true, read_timeout: 5s } }
processors: { memory_limiter: { check_interval: 1s, limit_mib: 4000, max_gc_interval_when_soft_limited: 10s } }
exporters:
  otlp:
    endpoint: passthrough:///backend:4317
    user_agent: me
    keepalive: { time: 0s }
    retry_on_failure: { max_interval: 1s }
    sending_queue: { num_consumers: 500 }
  otlphttp: { endpoint: 'http://backend:4318', http2_ping_timeout: 0s, keepalive: { enabled: true } }
  debug: { verbosity: Detailed }
service:
  extensions: [health_check]
  telemetry:
    logs: { level: Info, encoding: JSON, sampling: { initial: 0 }, disable_zap_resource: true }
    metrics: { level: Detailed }
  pipelines:
    logs: { receivers: [otlp], processors: [memory_limiter], exporters: [otlp, otlphttp, debug] }
";
    let config = load_text(text).unwrap();
    let exporter = |kind: &str| config.exporters.iter().find(|(id, _)| id.kind() == kind).unwrap().1;
    let Receiver::Otlp(receiver) = config.receivers.values().next().unwrap() else { panic!("not otlp") };
    assert_eq!(receiver.grpc.as_ref().unwrap().max_message_bytes, 64 << 20);
    assert_eq!(receiver.limits.max_streams, 16);
    assert_eq!(receiver.http.as_ref().unwrap().max_body_bytes, 20 << 20);
    let otlp = exporter("otlp");
    assert_eq!(otlp.drain.retry.initial_interval, Duration::from_secs(1), "no wait is longer than the longest");
    assert_eq!(otlp.drain.requests_in_flight, 100);
    let ExporterSettings::Otlp(grpc) = &otlp.settings else { panic!("not gRPC") };
    assert_eq!(grpc.endpoint, "backend:4317");
    assert!(grpc.keep_alive.interval > Duration::from_secs(24 * 3600), "never");
    let ExporterSettings::OtlpHttp(http) = &exporter("otlphttp").settings else { panic!("not HTTP") };
    assert_eq!(http.keep_alive.timeout, Duration::from_secs(10));
    assert_eq!(config.messages.level, tracing::Level::INFO);
    assert_eq!(config.messages.sampling.unwrap().initial, 0);
    let notes: Vec<String> = config.notes.iter().map(ToString::to_string).collect();
    for told in ["max_recv_msg_size_mib", "num_consumers", "user_agent", "use_v2", "disable_zap_resource"] {
        assert!(notes.iter().any(|note| note.contains(told)), "{told}: {notes:#?}");
    }
    // What is worse than an error is an error here.
    let fatal = load_text(&text.replace("level: Info", "level: fatal")).unwrap();
    assert_eq!(fatal.messages.level, tracing::Level::ERROR);
}
