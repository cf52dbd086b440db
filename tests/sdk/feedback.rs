//! What the delivery logs about itself must not come back as records to deliver.

use std::time::Duration;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::backend::Backend;
use crate::support::wait_for;
use crate::{LIMIT, builder};

#[test]
fn with_tracing_bridged_at_every_level_only_the_applications_records_are_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start();
    let exporter = builder(dir.path(), backend.endpoint()).build().unwrap();
    let status = exporter.status();
    let provider = SdkLoggerProvider::builder().with_simple_exporter(exporter).build();
    // For all threads: those of the client log a great deal at this level.
    let bridge = OpenTelemetryTracingBridge::new(&provider);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(bridge)).unwrap();

    tracing::info!(target: "app", "first");
    wait_for(LIMIT, || (status.snapshot().sent_items >= 1).then_some(())).unwrap();
    tracing::info!(target: "app", "second");
    wait_for(LIMIT, || (status.snapshot().sent_items >= 2).then_some(())).unwrap();
    // Had a delivery made a record, that record would be delivered now.
    assert!(wait_for(Duration::from_millis(300), || (status.snapshot().sent_items > 2).then_some(())).is_none());
    provider.shutdown().unwrap();
}
