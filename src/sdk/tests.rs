use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::*;
use crate::exporters::otlp::Settings;

fn settings(builder: &LogExporterBuilder, variables: &[(&str, &str)]) -> Result<Settings, BuildError> {
    let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    builder.client_settings(&Environment(find))
}

fn of(variables: &[(&str, &str)]) -> Settings {
    settings(&LogExporter::builder(), variables).unwrap()
}

fn error(variables: &[(&str, &str)]) -> String {
    settings(&LogExporter::builder(), variables).unwrap_err().to_string()
}

#[test]
fn without_anything_the_specifications_defaults_hold() {
    let settings = of(&[]);
    assert_eq!(settings.endpoint, "http://localhost:4317");
    assert_eq!(settings.timeout, Duration::from_secs(10));
    assert_eq!(settings.headers, []);
}

#[test]
fn the_environment_is_read_and_the_signals_own_variables_go_first() {
    let settings = of(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://gateway:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b%3D,x = y,"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE"),
    ]);
    assert_eq!(settings.endpoint, "https://gateway:4317");
    assert_eq!(settings.headers, [("api-key".into(), "a b=".into()), ("x".into(), "y".into())]);
    assert_eq!(settings.timeout, Duration::from_millis(2500));
    assert_eq!(settings.compression, Compression::None);
    assert_eq!(settings.tls.ca_file, Some(PathBuf::from("/etc/ca.pem")));
    assert!(settings.tls.insecure);
}

#[test]
fn an_empty_variable_is_not_set() {
    assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).endpoint, "http://localhost:4317");
}

#[test]
fn what_the_program_sets_goes_before_the_environment() {
    let builder = LogExporter::builder()
        .endpoint("http://here:1")
        .header("k", "v")
        .timeout(Duration::from_secs(1))
        .compression(Compression::Gzip);
    let settings = settings(
        &builder,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://there:2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "malformed"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "malformed"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "malformed"),
        ],
    )
    .unwrap();
    assert_eq!(settings.endpoint, "http://here:1");
    assert_eq!(settings.headers, [("k".into(), "v".into())]);
    assert_eq!((settings.timeout, settings.compression), (Duration::from_secs(1), Compression::Gzip));
}

#[test]
fn a_faulty_variable_is_named_and_a_secret_is_not_shown() {
    let text = error(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]);
    assert_eq!(text, "OTEL_EXPORTER_OTLP_TIMEOUT: \"soon\" is no number of milliseconds");
    let text = error(&[("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zip")]);
    assert!(text.starts_with("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION: "), "{text}");
    for headers in ["secret", "a=secret%2", "a=%ffsecret"] {
        let text = error(&[("OTEL_EXPORTER_OTLP_HEADERS", headers)]);
        assert!(text.starts_with("OTEL_EXPORTER_OTLP_HEADERS: ") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn neither_builder_nor_settings_print_a_header() {
    let builder = LogExporter::builder().header("authorization", "hush");
    let printed = format!("{builder:?} {:?}", settings(&builder, &[]).unwrap());
    assert!(printed.contains("authorization") && !printed.contains("hush"), "{printed}");
}

#[test]
fn an_endpoint_of_the_environment_that_is_for_http_is_refused() {
    let http = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    assert!(error(&http).contains("set grpc"), "{}", error(&http));
    let grpc = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    assert_eq!(of(&grpc).endpoint, "http://h:4317");
}

#[test]
fn a_builder_without_a_directory_or_with_an_unusable_endpoint_says_so() {
    let error = LogExporter::builder().build_in(|_| None).unwrap_err();
    assert!(matches!(error, BuildError::NoDirectory), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let error = LogExporter::builder().directory(dir.path()).endpoint("ftp://h").build_in(|_| None).unwrap_err();
    assert!(matches!(error, BuildError::Setup(_)), "{error}");
}
