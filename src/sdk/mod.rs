//! Exporters for the OpenTelemetry SDK of a Rust application.
