//! Components, pipelines, storage and telemetry that do not fit together.

use super::bad_values::{disk_buffer, disk_buffer_refused, exporter_refused, pipeline, refused};
use super::*;

#[test]
fn an_unknown_component_and_one_of_another_version() {
    let text = "
receivers: { otlp: { protocols: { grpc: } }, filelog: { include: [x] } }
processors: { filter: {}, btch: }
exporters:
  oltp: { endpoint: a:1 }
  opensearch: { http: { endpoint: 'http://x' }, anything: 1 }
  kafka: { endpoint: 'http://x' }
extensions: { zpages: }
connectors: { forward: }
service: { pipelines: { logs: { receivers: [otlp, filelog], processors: [filter], exporters: [oltp, opensearch, kafka] } } }";
    refused(
        text,
        &[
            (
                2,
                "receivers.filelog",
                "the receiver `filelog` is not in this version",
                "the receivers of this version: kernel, otlp",
            ),
            (3, "processors.filter", "the processor `filter` is not in this version", ""),
            (3, "processors.btch", "unknown processor `btch`", "did you mean `batch`?"),
            (5, "exporters.oltp", "unknown exporter `oltp`", "did you mean `otlp`?"),
            (
                6,
                "exporters.opensearch",
                "the exporter `opensearch` is not in this version",
                "otlp, otlp_grpc, otlphttp, otlp_http, file, debug",
            ),
            (7, "exporters.kafka", "the exporter `kafka` is not in this version", ""),
            (8, "extensions.zpages", "the extension `zpages` is not in this version", ""),
            (9, "connectors", "`connectors` is not in this version", ""),
        ],
    );
}

#[test]
fn a_bad_id() {
    let text = "
receivers: { otlp: { protocols: { grpc: } }, otlp/: , 'otlp/a b': , '4x': , 'ot lp': }
service: { pipelines: { logs: { receivers: [otlp] } } }";
    refused(
        text,
        &[
            (2, "receivers.otlp/", "`otlp/` is no id: nothing follows the slash", "write `otlp` or `otlp/name`"),
            (
                2,
                "receivers.otlp/a b",
                "`otlp/a b` is no id: its name has a character that is not allowed",
                "letters, digits",
            ),
            (2, "receivers.4x", "`4x` is no id: its type is not a word", "`type/name`"),
            (2, "receivers.ot lp", "`ot lp` is no id: its type is not a word", ""),
        ],
    );
    let long = format!("logs/{}: {{ receivers: [otlp] }}", "n".repeat(81));
    let found = faults(&pipeline(&long));
    assert!(found[0].2.ends_with("its name is too long"), "{found:?}");
}

#[test]
fn two_names_of_one_component() {
    let text = "
receivers: { otlp: { protocols: { grpc: } } }
exporters:
  otlp: { endpoint: a:1 }
  otlp_grpc: { endpoint: b:1 }
service: { pipelines: { logs: { receivers: [otlp], exporters: [otlp] } } }";
    refused(text, &[(5, "exporters.otlp_grpc", "`otlp` and `otlp_grpc` are the same exporter", "`type/name`")]);
}

#[test]
fn a_pipeline_that_names_what_is_not_defined() {
    refused(
        &pipeline("logs: { receivers: [otpl], processors: [batch], exporters: [debug, file/x] }"),
        &[
            (
                4,
                "service.pipelines.logs.receivers",
                "the receiver `otpl` is not defined under `receivers`",
                "did you mean `otlp`?",
            ),
            (
                4,
                "service.pipelines.logs.processors",
                "the processor `batch` is not defined under `processors`",
                "there are no processors defined",
            ),
            (
                4,
                "service.pipelines.logs.exporters",
                "the exporter `file/x` is not defined under `exporters`",
                "exporters defined: debug",
            ),
        ],
    );
}

#[test]
fn a_pipeline_of_an_unknown_signal() {
    refused(
        &pipeline("log: { receivers: [otlp] },\n  profiles: { receivers: [otlp] }"),
        &[
            (4, "service.pipelines.log", "unknown signal `log`", "did you mean `logs`?"),
            (5, "service.pipelines.profiles", "the signal `profiles` is not in this version", "logs, traces, metrics"),
        ],
    );
}

#[test]
fn a_pipeline_without_receivers() {
    refused(
        &pipeline("logs: { exporters: [debug] }"),
        &[(4, "service.pipelines.logs.receivers", "a pipeline without receivers carries nothing", "receivers: [otlp]")],
    );
    refused(
        &pipeline("logs: { receivers: otlp }"),
        &[(4, "service.pipelines.logs.receivers", "expected a list, found a single value", "[a, b]")],
    );
}

#[test]
fn a_receiver_that_does_not_carry_the_signal() {
    refused(
        &pipeline("traces: { receivers: [kernel], exporters: [debug] }"),
        &[(4, "service.pipelines.traces.receivers", "the receiver `kernel` carries no traces", "it carries logs")],
    );
}

#[test]
fn the_same_exporter_twice_in_a_pipeline() {
    refused(
        &pipeline("logs: { receivers: [otlp], exporters: [debug, debug] }"),
        &[(4, "service.pipelines.logs.exporters", "`debug` is named twice in this pipeline", "")],
    );
}

#[test]
fn nothing_to_run() {
    refused("", &[(1, "service.pipelines", "no pipeline: nothing would run", "under `service.pipelines`")]);
    refused("service:\n  telemetry:\n", &[(1, "service.pipelines", "no pipeline: nothing would run", "")]);
}

#[test]
fn a_second_kernel_receiver() {
    let text = "
receivers: { kernel: , kernel/2: }
exporters: { debug: }
service: { pipelines: { logs: { receivers: [kernel, kernel/2], exporters: [debug] } } }";
    refused(
        text,
        &[(2, "receivers.kernel/2", "a second receiver `kernel`: the hooks are attached once", "several pipelines")],
    );
}

#[test]
fn an_unknown_kernel_event() {
    let text = "
receivers:
  kernel:
    events:
      kernel.net.package_drop: { enabled: false }
      kernel.task.hung: { max_stacks: many }
exporters: { debug: }
service: { pipelines: { logs: { receivers: [kernel], exporters: [debug] } } }";
    refused(
        text,
        &[
            (
                5,
                "receivers.kernel.events.kernel.net.package_drop",
                "unknown key `kernel.net.package_drop`",
                "did you mean `kernel.net.packet_drop`?",
            ),
            (
                6,
                "receivers.kernel.events.kernel.task.hung.max_stacks",
                "expected a whole number from 0 to 1000, found `many`",
                "",
            ),
        ],
    );
}

#[test]
fn options_for_a_log_that_no_pipeline_writes() {
    disk_buffer_refused(
        "logs: { kernl: { max_size: 64MiB } }",
        "logs.kernl",
        "no pipeline writes a log `kernl`",
        "did you mean `kernel`?",
    );
}

#[test]
fn sizes_that_contradict_each_other() {
    disk_buffer_refused(
        "logs: { kernel: { max_size: 64MiB, segment_size: 64MiB } }",
        "logs.kernel",
        "`2 × segment_size` of the log `kernel` is larger than its `max_size`",
        "raise `max_size`",
    );
    refused(
        &disk_buffer("max_size: 64MiB\n    logs: { kernel: { max_size: 1GiB } }"),
        &[(
            4,
            "extensions.disk_buffer.logs.kernel",
            "`max_size` of the log `kernel` is larger than the directory's",
            "raise `disk_buffer.max_size`",
        )],
    );
}

#[test]
fn the_data_directory_cannot_be_named_by_itself() {
    let text = disk_buffer("directory: '${tidegate:data_dir}/logs'");
    refused(
        &text,
        &[(
            3,
            "extensions.disk_buffer.directory",
            "the data directory cannot be named by itself",
            "write the directory's path",
        )],
    );
}

#[test]
fn two_directories() {
    let text = "
extensions:
  file_storage: { directory: /a }
  file_storage/b: { directory: /b }
receivers: { otlp: { protocols: { grpc: } } }
exporters: { otlp: { endpoint: c:1, sending_queue: { storage: file_storage/b } } }
service: { extensions: [file_storage, file_storage/b], pipelines: { logs: { receivers: [otlp], exporters: [otlp] } } }";
    refused(
        text,
        &[(
            4,
            "extensions.file_storage/b",
            "another directory than `extensions.file_storage` has: all logs are kept in one",
            "the same directory",
        )],
    );
}

#[test]
fn storage_that_does_not_run() {
    exporter_refused(
        "sending_queue: { storage: file_storage }",
        "sending_queue.storage",
        "the extension `file_storage` is not defined under `extensions`",
        "",
    );
    let text = "
extensions: { file_storage: , health_check: }
receivers: { otlp: { protocols: { grpc: } } }
exporters:
  otlp: { endpoint: c:1, sending_queue: { storage: file_storage } }
  otlp/2: { endpoint: c:2, sending_queue: { storage: health_check } }
service: { extensions: [health_check], pipelines: { logs: { receivers: [otlp], exporters: [otlp, otlp/2] } } }";
    refused(
        text,
        &[
            (
                5,
                "exporters.otlp.sending_queue.storage",
                "the extension `file_storage` does not run",
                "`service.extensions`",
            ),
            (
                6,
                "exporters.otlp/2.sending_queue.storage",
                "`health_check` stores nothing",
                "`file_storage` or `disk_buffer`",
            ),
        ],
    );
}

#[test]
fn two_exporters_that_write_one_file() {
    let text = "
receivers: { otlp: { protocols: { grpc: } } }
exporters: { file: { path: /x }, file/2: { path: /x } }
service: { pipelines: { logs: { receivers: [otlp], exporters: [file, file/2] } } }";
    refused(text, &[(3, "exporters.file/2", "writes the same file as exporters.file", "`path` of its own")]);
}

#[test]
fn formats_of_the_file_exporter_that_come_later() {
    let text = "
receivers: { otlp: { protocols: { grpc: } } }
exporters:
  file:
    path: /x
    format: huatuo
    region: eu
    compression: zstd
service: { pipelines: { logs: { receivers: [otlp], exporters: [file] } } }";
    refused(
        text,
        &[
            (6, "exporters.file.format", "this format is not in this version", "write `json`"),
            (7, "exporters.file.region", "`region` is not in this version", "huatuo"),
            (8, "exporters.file.compression", "zstd is not in this version", "leave `compression` out"),
        ],
    );
}

#[test]
fn the_old_form_of_the_metrics_address_says_what_to_write() {
    let text = "
receivers: { otlp: { protocols: { grpc: } } }
service:
  telemetry:
    metrics:
      address: 0.0.0.0:8889
  pipelines: { logs: { receivers: [otlp] } }";
    refused(
        text,
        &[(
            6,
            "service.telemetry.metrics.address",
            "`address` is the Collector's old form",
            "readers: [{pull: {exporter: {prometheus: {host: \"0.0.0.0\", port: 8889}}}}]",
        )],
    );
}

#[test]
fn a_bad_health_path() {
    let text = "
extensions: { health_check: { path: 'he{alth' } }
receivers: { otlp: { protocols: { grpc: } } }
service: { extensions: [health_check], pipelines: { logs: { receivers: [otlp] } } }";
    refused(text, &[(2, "extensions.health_check.path", "expected a path as /health", "begin with a slash")]);
}

#[test]
fn all_faults_come_in_one_go_and_in_the_order_of_the_file() {
    let text = "
service: { pipelines: { logs: { receivers: [otlp, nope], exporters: [otlp] } }, telemetry: { logs: { level: loud } } }
exporters:
  otlp: { endpont: x:1, timeout: 5, tls: { insecure: maybe } }
receivers:
  otlp: { protocols: { grpc: { endpoint: 1 }, htp: } }";
    let lines: Vec<usize> = faults(text).iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [2, 2, 4, 4, 4, 4, 6, 6]);
}

#[test]
fn so_many_faults_that_the_rest_is_only_counted() {
    let keys: Vec<String> = (0..500).map(|n| format!("  zz{n}: 1")).collect();
    let found = faults(&format!("receivers:\n{}\n", keys.join("\n")));
    assert_eq!(found.len(), 51);
    assert_eq!(found[50].2, "451 more faults are not listed");
}
