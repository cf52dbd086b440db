//! One test per kind of bad value: its line, its path, its message, and what is suggested.

use super::*;

/// Asserts that a text has exactly these faults: (line, path, message, part of the suggestion).
#[track_caller]
pub(super) fn refused(text: &str, expected: &[(usize, &str, &str, &str)]) {
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
pub(super) fn exporter_refused(key: &str, path: &str, message: &str, suggestion: &str) {
    let path = format!("exporters.otlp.{path}");
    refused(&exporter(&format!("{key}\n    endpoint: collector:4317")), &[(5, &path, message, suggestion)]);
}

/// As [`exporter_refused`], for `otlphttp`. An empty path is the exporter's own.
#[track_caller]
fn otlphttp_refused(key: &str, path: &str, message: &str, suggestion: &str) {
    let text = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters:
  otlphttp:
    {key}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlphttp] }} }} }}
"
    );
    let (line, path) = if path.is_empty() { (3, String::new()) } else { (4, format!(".{path}")) };
    refused(&text, &[(line, &format!("exporters.otlphttp{path}"), message, suggestion)]);
}

/// A configuration whose receiver `otlp` has `keys` under `protocols.grpc`, in line 5.
#[track_caller]
/// A receiver with this under `grpc`.
fn grpc(settings: &str) -> String {
    format!(
        "receivers:
  otlp:
    protocols:
      grpc: {settings}
exporters: {{ debug: }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [debug] }} }} }}
"
    )
}

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
pub(super) fn disk_buffer(key: &str) -> String {
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
pub(super) fn disk_buffer_refused(key: &str, path: &str, message: &str, suggestion: &str) {
    refused(&disk_buffer(key), &[(3, &format!("extensions.disk_buffer.{path}"), message, suggestion)]);
}

/// A configuration of one pipeline, which stands in line 4.
pub(super) fn pipeline(line: &str) -> String {
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
        "keys here: endpoint, tls, timeout, headers, compression, auth, keepalive, sending_queue",
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
        "compression: snappy",
        "compression",
        "this compression is not in this version",
        "write `gzip`, `zstd` or `none`",
    );
}

#[test]
fn an_endpoint_of_otlphttp_that_is_no_url() {
    let endpoint = |text: &str, suggestion: &str| {
        let found = text.trim_matches('\'');
        let message = format!("expected a URL as http://collector:4318, found `{found}`");
        otlphttp_refused(&format!("endpoint: {text}"), "endpoint", &message, suggestion);
    };
    endpoint("collector:4318", "write `http://collector:4318`, or https for TLS");
    endpoint("ftp://collector", "the schemes are http and https");
    endpoint("'http://'", "scheme, host and port");
    endpoint("'http://a#b'", "scheme, host and port");
    let secret = "endpoint: http://user:secret@collector";
    otlphttp_refused(secret, "endpoint", "credentials do not belong in an endpoint", "`headers`");
}

#[test]
fn an_exporter_without_an_endpoint_for_a_signal() {
    otlphttp_refused(
        "traces_endpoint: http://x/",
        "",
        "nothing says where logs go",
        "`logs_endpoint` with a whole URL",
    );
}

#[test]
fn a_bad_number() {
    grpc_refused(
        "max_recv_msg_size_mib: '4'",
        "max_recv_msg_size_mib",
        "expected a whole number from 0 to 17592186044415, found `4` in quotes",
        "without quotes",
    );
    grpc_refused(
        "max_recv_msg_size_mib: 4.5",
        "max_recv_msg_size_mib",
        "expected a whole number from 0 to 17592186044415, found `4.5`",
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
    grpc_refused("socket_mode: 0660", "socket_mode", "a port has no mode", "`transport: unix`");
    grpc_refused("socket_mode: 0777", "socket_mode", "expected one of 0600, 0660, 0666, found `0777`", "words allowed");
    grpc_refused("transport: udp", "transport", "expected one of tcp, tcp4, tcp6, unix", "");
    let v4 = "{ transport: tcp4, endpoint: '[::1]:4317' }";
    refused(
        &grpc(v4),
        &[(4, "receivers.otlp.protocols.grpc.endpoint", "[::1]:4317 is IPv6, not IPv4", "the IPv4 address")],
    );
    let v6 = "{ transport: tcp6, endpoint: '127.0.0.1:4317' }";
    let message = "127.0.0.1:4317 is IPv4, not IPv6";
    refused(
        &grpc(v6),
        &[(4, "receivers.otlp.protocols.grpc.endpoint", message, "as `[::1]:4317`, or another `transport`")],
    );
    grpc_refused("tls: { key_file: /k }", "tls.cert_file", "`cert_file` is missing", "write `cert_file: ");
    let old = "tls: { cert_file: /c, key_file: /k, min_version: '1.1' }";
    grpc_refused(old, "tls.min_version", "there is no TLS below 1.2 in this version", "write `1.2` or `1.3`");
    let middleware = "middlewares: [{ id: x }]";
    exporter_refused(middleware, "middlewares", "`middlewares` is not in this version", "leave it out");
    exporter_refused(
        "tls: { insecure_skip_verify: true }",
        "tls.insecure_skip_verify",
        "a certificate is always verified in this version",
        "`ca_file`",
    );
    exporter_refused("tls: { cert_file: c }", "tls.cert_file", "`key_file` is missing", "together");
}

#[test]
fn versions_of_tls_that_an_exporter_cannot_speak() {
    for key in ["min_version", "max_version"] {
        for old in ["1.0", "'1.1'"] {
            let no_tls = "there is no TLS below 1.2 in this version";
            exporter_refused(
                &format!("tls: {{ {key}: {old} }}"),
                &format!("tls.{key}"),
                no_tls,
                "write `1.2` or `1.3`",
            );
        }
        let unknown = "expected one of 1.0, 1.1, 1.2, 1.3, found `1.4`";
        exporter_refused(&format!("tls: {{ {key}: 1.4 }}"), &format!("tls.{key}"), unknown, "");
    }
    let above = "tls: { min_version: '1.3', max_version: '1.2' }";
    exporter_refused(above, "tls.min_version", "`min_version` is above `max_version`", "");
}

#[test]
fn a_socket_in_the_file_system_needs_a_path() {
    let text = "receivers: { otlp: { protocols: { grpc: { transport: unix } } } }
exporters: { debug: }
service: { pipelines: { logs: { receivers: [otlp], exporters: [debug] } } }
";
    refused(text, &[(1, "receivers.otlp.protocols.grpc.endpoint", "`endpoint` is missing", "otlp.sock")]);
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
    for twice in ["{ X-Key: hunter2, x-key: b }", "[{ name: x-key, value: hunter2 }, { name: x-key, value: b }]"] {
        exporter_refused(&format!("headers: {twice}"), "headers", "the header `x-key` comes twice", "write it once");
    }
    exporter_refused("headers: [{ name: x }]", "headers", "expected a header as `{name: …, value: …}`", "");
}
