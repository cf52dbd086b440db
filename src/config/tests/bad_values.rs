//! One test per kind of bad value: its line, its path, its message, and what is suggested.

use super::*;

/// Asserts that a text has exactly these faults: (line, path, message, part of the suggestion).
#[track_caller]
fn refused(text: &str, expected: &[(usize, &str, &str, &str)]) {
    let found = faults(text);
    let told = found.iter().map(|(line, path, message, _)| (*line, &**path, &**message));
    assert!(told.eq(expected.iter().map(|(line, path, message, _)| (*line, *path, *message))), "{found:#?}");
    for ((.., suggestion), (.., wanted)) in found.iter().zip(expected) {
        assert!(suggestion.contains(wanted), "{suggestion:?} does not say {wanted:?}");
    }
}

/// A configuration whose exporter `otlp` has `keys` from line 5 on.
fn exporter(keys: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp] }} }} }}
exporters:
  otlp:
    {keys}
"
    )
}

/// As [`exporter`], with an endpoint in line 6.
#[track_caller]
fn exporter_refused(key: &str, path: &str, message: &str, suggestion: &str) {
    let path = format!("exporters.otlp.{path}");
    refused(&exporter(&format!("{key}\n    endpoint: collector:4317")), &[(5, &path, message, suggestion)]);
}

/// A configuration whose receiver `otlp` has `keys` under `protocols.grpc`, in line 5.
#[track_caller]
fn grpc_refused(key: &str, path: &str, message: &str, suggestion: &str) {
    let text = format!(
        "receivers:
  otlp:
    protocols:
      grpc:
        {key}
exporters: {{ debug: }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [debug] }} }} }}
"
    );
    refused(&text, &[(5, &format!("receivers.otlp.protocols.grpc.{path}"), message, suggestion)]);
}

/// A configuration whose extension `disk_buffer` has `key` in line 3.
fn disk_buffer(key: &str) -> String {
    format!(
        "extensions:
  disk_buffer:
    {key}
receivers: {{ kernel: }}
exporters: {{ debug: }}
service: {{ extensions: [disk_buffer], pipelines: {{ logs/kernel: {{ receivers: [kernel], exporters: [debug] }} }} }}
"
    )
}

#[track_caller]
fn disk_buffer_refused(key: &str, path: &str, message: &str, suggestion: &str) {
    refused(&disk_buffer(key), &[(3, &format!("extensions.disk_buffer.{path}"), message, suggestion)]);
}

/// A configuration of one pipeline, which stands in line 4.
fn pipeline(line: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: }} }}, kernel: }}
exporters: {{ debug: }}
service: {{ pipelines: {{
  {line}
}} }}
"
    )
}

#[test]
fn text_that_is_no_yaml() {
    let found = faults("receivers:\n  otlp: [\nexporters: {");
    assert_eq!(found.len(), 1);
    assert!(found[0].2.starts_with("not YAML: "), "{found:?}");
    let tabs = faults("receivers:\n\totlp:\n");
    assert!(tabs[0].3.contains("indent with spaces"), "{tabs:?}");
}

#[test]
fn a_second_document() {
    refused("receivers:\n---\nexporters:\n", &[(2, "", "a second document: one file holds one configuration", "")]);
}

#[test]
fn a_duplicate_key_names_the_first() {
    let text = exporter("endpoint: a:1\n    timeout: 1s\n    endpoint: b:2");
    refused(&text, &[(7, "", "`endpoint` is given twice, first in line 5", "")]);
}

#[test]
fn what_is_no_word_cannot_be_a_key() {
    refused(&exporter("endpoint: a:1\n    [1, 2]: 3"), &[(6, "", "a list cannot be a key: write a word", "")]);
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one() {
    exporter_refused("timout: 5s", "timout", "unknown key `timout`", "did you mean `timeout`?");
    exporter_refused("Endpoint: x:1", "Endpoint", "unknown key `Endpoint`", "did you mean `endpoint`?");
    exporter_refused(
        "retry_on_failure: { max_interva: 5s }",
        "retry_on_failure.max_interva",
        "unknown key `max_interva`",
        "did you mean `max_interval`?",
    );
    exporter_refused(
        "qqqqqq: 5s",
        "qqqqqq",
        "unknown key `qqqqqq`",
        "keys here: endpoint, tls, timeout, headers, compression, sending_queue",
    );
}

#[test]
fn an_unknown_top_level_key() {
    let text = format!("exporter: {{}}\n{}", pipeline("logs: { receivers: [otlp] }"));
    refused(&text, &[(1, "exporter", "unknown key `exporter`", "did you mean `exporters`?")]);
}

#[test]
fn a_missing_endpoint_points_at_the_exporter() {
    refused(
        &exporter("timeout: 5s"),
        &[(4, "exporters.otlp.endpoint", "`endpoint` is missing", "write `endpoint: collector:4317`")],
    );
}

#[test]
fn a_map_or_list_where_one_value_stands() {
    exporter_refused("timeout: [5s]", "timeout", "expected a duration as 5s, 1m30s or 100ms, found a list", "");
    exporter_refused("tls: true", "tls", "expected a map, found a single value", "");
    exporter_refused("tls: { insecure: {} }", "tls.insecure", "expected true or false, found a map", "");
}

#[test]
fn a_bad_boolean() {
    exporter_refused("tls: { insecure: yes }", "tls.insecure", "expected true or false, found `yes`", "");
    exporter_refused(
        "tls: { insecure: 'true' }",
        "tls.insecure",
        "expected true or false, found `true` in quotes",
        "without quotes",
    );
}

#[test]
fn a_bad_duration() {
    let expected = |found: &str| format!("expected a duration as 5s, 1m30s or 100ms, found {found}");
    exporter_refused("timeout: 5", "timeout", &expected("`5`"), "`5s` for seconds");
    exporter_refused("timeout: 5 sec", "timeout", &expected("`5 sec`"), "the units are ns, us, ms, s, m, h");
    exporter_refused("timeout: -5s", "timeout", &expected("`-5s`"), "");
    exporter_refused("timeout: 2d", "timeout", &expected("`2d`"), "write `48h`");
    exporter_refused("timeout: 9999999999h", "timeout", &expected("`9999999999h`"), "the longest");
    exporter_refused("timeout: 1.2.3s", "timeout", &expected("`1.2.3s`"), "");
    exporter_refused(
        "retry_on_failure: { initial_interval: 0s }",
        "retry_on_failure.initial_interval",
        "expected a duration longer than 0",
        "",
    );
}

#[test]
fn a_bad_size() {
    let expected = |found: &str| format!("expected a size as 64MiB, 10GiB, or a number of bytes, found {found}");
    disk_buffer_refused("max_size: 10G", "max_size", &expected("`10G`"), "KiB, MiB, GiB, TiB");
    disk_buffer_refused("max_size: 1.5GiB", "max_size", &expected("`1.5GiB`"), "");
    disk_buffer_refused("max_size: 99999999999TiB", "max_size", &expected("`99999999999TiB`"), "");
    disk_buffer_refused("max_size: 1KiB", "max_size", "`1KiB` is out of range", "it must be from 16MiB to 1024TiB");
    disk_buffer_refused("max_frame: 65MiB", "max_frame", "`65MiB` is out of range", "it must be from 4KiB to 64MiB");
    disk_buffer_refused("segment_size: 1023KiB", "segment_size", "`1023KiB` is out of range", "from 1MiB to 1GiB");
}

#[test]
fn a_bad_share() {
    disk_buffer_refused("min_free: 5", "min_free", "expected a share from 0% to 99%, found `5`", "write `5%`");
    disk_buffer_refused("min_free: 100%", "min_free", "expected a share from 0% to 99%, found `100%`", "");
}

#[test]
fn a_bad_word() {
    disk_buffer_refused(
        "durability: snyc",
        "durability",
        "expected one of sync, interval, os, found `snyc`",
        "did you mean `sync`?",
    );
    disk_buffer_refused(
        "on_full: drop",
        "on_full",
        "expected one of reject, drop_oldest, found `drop`",
        "words allowed",
    );
    exporter_refused(
        "compression: zstd",
        "compression",
        "this compression is not in this version",
        "write `gzip` or `none`",
    );
}

#[test]
fn a_bad_number() {
    grpc_refused(
        "max_recv_msg_size_mib: 0",
        "max_recv_msg_size_mib",
        "expected a whole number from 1 to 64, found `0`",
        "",
    );
    grpc_refused(
        "max_recv_msg_size_mib: '4'",
        "max_recv_msg_size_mib",
        "expected a whole number from 1 to 64, found `4` in quotes",
        "without quotes",
    );
    grpc_refused(
        "max_recv_msg_size_mib: 4.5",
        "max_recv_msg_size_mib",
        "expected a whole number from 1 to 64, found `4.5`",
        "",
    );
    exporter_refused(
        "retry_on_failure: { multiplier: .nan }",
        "retry_on_failure.multiplier",
        "expected a number from 1 to 100, found `.nan`",
        "",
    );
    exporter_refused(
        "retry_on_failure: { randomization_factor: 2 }",
        "retry_on_failure.randomization_factor",
        "expected a number from 0 to 1, found `2`",
        "",
    );
}

#[test]
fn a_bad_listening_address() {
    let expected = "expected an address as 127.0.0.1:4317";
    grpc_refused("endpoint: 4317", "endpoint", &format!("{expected}, found `4317`"), "write `host:port`");
    grpc_refused(
        "endpoint: localhost:99999",
        "endpoint",
        &format!("{expected}, found `localhost:99999`"),
        "from 0 to 65535",
    );
    grpc_refused(
        "endpoint: http://127.0.0.1:4317",
        "endpoint",
        &format!("{expected}, found a URL"),
        "write `127.0.0.1:4317`",
    );
    grpc_refused(
        "endpoint: 'bad host:4317'",
        "endpoint",
        "`bad host:4317` is not an address of this machine that can be resolved",
        "write the IP address",
    );
}

#[test]
fn a_bad_backend_endpoint() {
    let refused_endpoint = |endpoint: &str, message: &str, suggestion: &str| {
        refused(&exporter(&format!("endpoint: {endpoint}")), &[(5, "exporters.otlp.endpoint", message, suggestion)]);
    };
    let expected = |found: &str| format!("expected an endpoint as collector:4317, found `{found}`");
    refused_endpoint("collector", &expected("collector"), "write `host:4317`");
    refused_endpoint("https://collector", &expected("https://collector"), "write `host:4317`");
    refused_endpoint("collector:otlp", &expected("collector:otlp"), "from 1 to 65535");
    refused_endpoint("collector:0", &expected("collector:0"), "from 1 to 65535");
    refused_endpoint("ftp://collector:21", &expected("ftp://collector:21"), "http and https");
    refused_endpoint("http://collector:4318/v1/logs", &expected("http://collector:4318/v1/logs"), "gRPC has no paths");
    refused_endpoint("'::1:4317'", &expected("::1:4317"), "IPv6 address in brackets");
    refused_endpoint("'a b:4317'", &expected("a b:4317"), "a host name");
}

#[test]
fn a_second_listener_on_the_same_address() {
    let text = "
receivers:
  otlp: { protocols: { grpc: { endpoint: 127.0.0.1:4317 } } }
  otlp/2: { protocols: { grpc: { endpoint: 0.0.0.0:4317 } } }
exporters: { debug: }
service: { pipelines: { logs: { receivers: [otlp, otlp/2], exporters: [debug] } } }";
    refused(
        text,
        &[(
            4,
            "receivers.otlp/2.protocols.grpc.endpoint",
            "0.0.0.0:4317 is already taken by receivers.otlp.protocols.grpc.endpoint",
            "another port",
        )],
    );
}

#[test]
fn a_receiver_without_protocols() {
    let text = "receivers:\n  otlp:\nservice: { pipelines: { logs: { receivers: [otlp] } } }";
    refused(text, &[(2, "receivers.otlp.protocols", "no protocol: nothing would listen", "write `grpc:` or `http:`")]);
}

#[test]
fn what_would_be_unsafe_to_ignore_is_refused() {
    grpc_refused("tls: { cert_file: c, key_file: k }", "tls", "`tls` is not in this version", "loopback");
    grpc_refused("auth: { authenticator: basicauth }", "auth", "`auth` is not in this version", "loopback");
    grpc_refused("transport: unix", "transport", "only `tcp` is in this version", "write `tcp`");
    exporter_refused("auth: { authenticator: bearer }", "auth", "`auth` is not in this version", "`headers`");
    exporter_refused(
        "tls: { insecure_skip_verify: true }",
        "tls.insecure_skip_verify",
        "a certificate is always verified in this version",
        "`ca_file`",
    );
    exporter_refused("tls: { cert_file: c }", "tls.cert_file", "`key_file` is missing", "together");
}

#[test]
fn a_bad_header_is_told_without_its_value() {
    exporter_refused("headers: { 'a b': hunter2 }", "headers", "`a b` is no name of a header", "");
    exporter_refused("headers: { x: [hunter2] }", "headers", "the value of the header `x` must be one text", "");
    exporter_refused(
        "headers: { x: \"hunter2\\n\" , y: \"a\\nb\" }",
        "headers",
        "the value of the header `y` has characters that a header cannot hold",
        "printable ASCII",
    );
    exporter_refused(
        "headers: { grpc-timeout: 1S }",
        "headers",
        "the header `grpc-timeout` belongs to gRPC itself",
        "",
    );
    exporter_refused("headers: [{ name: x }]", "headers", "expected a header as `{name: …, value: …}`", "");
}

#[test]
fn a_longest_wait_shorter_than_the_first() {
    exporter_refused(
        "retry_on_failure: { max_interval: 1s }",
        "retry_on_failure.max_interval",
        "`max_interval` is shorter than `initial_interval`",
        "",
    );
}

#[test]
fn an_unknown_component_and_one_of_another_version() {
    let text = "
receivers: { otlp: { protocols: { grpc: } }, filelog: { include: [x] } }
processors: { filter: {}, btch: }
exporters:
  oltp: { endpoint: a:1 }
  opensearch: { http: { endpoint: 'http://x' }, anything: 1 }
  otlphttp: { endpoint: 'http://x' }
extensions: { zpages: }
connectors: { forward: }
service: { pipelines: { logs: { receivers: [otlp, filelog], processors: [filter], exporters: [oltp, opensearch, otlphttp] } } }";
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
                "otlp, otlp_grpc, file, debug",
            ),
            (7, "exporters.otlphttp", "the exporter `otlphttp` is not in this version", ""),
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
    let long = format!("logs/{}: {{ receivers: [otlp] }}", "n".repeat(101));
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
