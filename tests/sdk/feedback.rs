//! What the exporter logs about itself: not as records to deliver, but so that a loss is seen.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tidegate::spool::{LogOptions, Options};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::backend::Backend;
use crate::support::wait_for;
use crate::{LIMIT, builder, emit, nobody};

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

/// Keeps what the exporter says.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("tidegate::sdk") {
            let mut text = event.metadata().level().to_string();
            event.record(&mut |field: &tracing::field::Field, value: &dyn fmt::Debug| {
                text.push_str(&format!(" {field}={value:?}"));
            });
            self.0.lock().unwrap().push(text);
        }
    }
}

#[test]
fn records_that_are_refused_are_told_once_and_their_number_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogOptions { max_frame: 400, ..LogOptions::default() };
    let options = Options { log, ..Options::default() };
    let exporter = builder(dir.path(), format!("http://{}", nobody())).options(options).build().unwrap();
    let provider = SdkLoggerProvider::builder().with_simple_exporter(exporter).build();
    let heard = Heard::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(heard.clone()), || {
        emit(&provider, "fits");
        emit(&provider, &"x".repeat(400));
        emit(&provider, &"x".repeat(400));
        emit(&provider, "fits");
    });
    let heard = heard.0.lock().unwrap().clone();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[0].starts_with("WARN ") && heard[0].contains("max_frame"), "{heard:?}");
    assert!(heard[1].starts_with("INFO ") && heard[1].contains("refused=2"), "{heard:?}");
}
