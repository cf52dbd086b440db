//! An application whose log records survive its endpoint being down and itself being killed.
//!
//!     OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 cargo run --example rust_app --features sdk -- DIRECTORY COUNT

use std::error::Error;

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tidegate::sdk::LogExporter;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().unwrap_or_else(|| "telemetry".to_owned());
    let count = args.next().map_or(Ok(10), |count| count.parse::<u64>())?;

    // The simple processor: a record is on disk when `emit` returns. Cheaper, with seconds at risk: the batch one.
    let exporter = LogExporter::builder().directory(directory).build()?;
    let provider = SdkLoggerProvider::builder().with_simple_exporter(exporter).build();
    let logger = provider.logger("rust_app");

    for n in 0..count {
        let order = format!("{}-{n}", std::process::id());
        let mut record = logger.create_log_record();
        record.set_event_name("order.placed");
        record.set_severity_number(Severity::Info);
        record.set_body("an order was placed".into());
        record.add_attribute("order.id", order.clone());
        logger.emit(record);
        println!("{order}");
    }
    // What the endpoint did not take by now is delivered after the next start.
    Ok(provider.shutdown()?)
}
