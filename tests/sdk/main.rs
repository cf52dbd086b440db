//! The SDK exporter with the SDK's own processors, in and out of runtimes, and an application that is killed.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod backend;
mod feedback;
mod killed;
mod processors;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tidegate::sdk::{LogExporter, LogExporterBuilder, RetrySettings};

/// How long a condition may take on a loaded machine before a test gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// An address of the loopback interface where nobody listens.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], support::free_port()))
}

fn builder(directory: &Path, endpoint: impl Into<String>) -> LogExporterBuilder {
    let quick = Duration::from_millis(50);
    let retry = RetrySettings { initial_interval: quick, max_interval: quick, ..RetrySettings::default() };
    LogExporter::builder().directory(directory).endpoint(endpoint).retry(retry)
}

fn emit(provider: &SdkLoggerProvider, id: &str) {
    let logger = provider.logger("sdk test");
    let mut record = logger.create_log_record();
    record.set_event_name("test.event");
    record.set_severity_number(Severity::Info);
    record.add_attribute("id", id.to_owned());
    logger.emit(record);
}
