//! Processors, runtimes, endpoints that are away, stops.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, LogProcessor, SdkLogRecord, SdkLoggerProvider};
use tidegate::otlp::Signal;
use tidegate::otlp::record::Request;
use tidegate::sdk::{BuildError, Limit, LogExporter};
use tidegate::spool::{From, LogOptions, Options, Reader};

use crate::backend::Backend;
use crate::support::wait_for;
use crate::{LIMIT, builder, emit, nobody};

fn simple(exporter: LogExporter) -> SdkLoggerProvider {
    SdkLoggerProvider::builder().with_simple_exporter(exporter).build()
}

fn batched(exporter: LogExporter) -> SdkLoggerProvider {
    SdkLoggerProvider::builder().with_batch_exporter(exporter).build()
}

/// Waits until this many records are durable in the directory: read beside its owner, a little after their ack.
fn wait_durable(directory: &Path, records: usize) {
    wait_for(LIMIT, || (durable(directory) == records).then_some(())).unwrap();
}

fn durable(directory: &Path) -> usize {
    let mut frames = Reader::open(directory).unwrap().read("logs", From::Oldest).unwrap();
    let mut records = 0;
    while let Some(frame) = frames.next().unwrap() {
        records += Request::decode(Signal::Logs, &frame.payload).unwrap().records().len();
    }
    records
}

fn wait_for_ids(backend: &Backend, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(|id| (*id).to_owned()).collect();
    let all = || backend.values("id").into_iter().collect::<BTreeSet<_>>() == expected;
    wait_for(LIMIT, || all().then_some(())).unwrap_or_else(|| panic!("{:?}", backend.values("id")));
}

#[test]
fn outside_a_runtime_a_record_is_durable_when_emit_returns_and_then_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start();
    let resource = Resource::builder().with_service_name("shop").build();
    let exporter = builder(dir.path(), backend.endpoint()).build().unwrap();
    let provider = SdkLoggerProvider::builder().with_simple_exporter(exporter).with_resource(resource).build();
    emit(&provider, "a");
    wait_durable(dir.path(), 1);
    wait_for_ids(&backend, &["a"]);
    let taken = backend.taken().remove(0);
    let attributes = taken.resource.unwrap().attributes;
    let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    assert_eq!(name.value.clone().unwrap().value, Some(Value::StringValue("shop".into())));
    assert_eq!(taken.scope_logs[0].scope.as_ref().unwrap().name, "sdk test");
    assert_eq!(taken.scope_logs[0].log_records[0].event_name, "test.event");
    provider.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_runtime_with_threads_the_batch_processor_flushes_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start();
    let provider = batched(builder(dir.path(), backend.endpoint()).build().unwrap());
    ["a", "b", "c"].iter().for_each(|id| emit(&provider, id));
    provider.force_flush().unwrap();
    wait_durable(dir.path(), 3);
    provider.shutdown().unwrap();
    wait_for_ids(&backend, &["a", "b", "c"]);
}

#[tokio::test(flavor = "current_thread")]
async fn in_a_runtime_of_one_thread_nothing_waits_for_that_thread() {
    let backend = Backend::start();
    for build in [simple, batched] {
        let dir = tempfile::tempdir().unwrap();
        let provider = build(builder(dir.path(), backend.endpoint()).build().unwrap());
        emit(&provider, "a");
        provider.force_flush().unwrap();
        wait_durable(dir.path(), 1);
        provider.shutdown().unwrap();
        drop(provider);
    }
    wait_for_ids(&backend, &["a"]);
}

#[test]
fn a_working_endpoint_gets_what_is_left_at_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start();
    let provider = batched(builder(dir.path(), backend.endpoint()).build().unwrap());
    emit(&provider, "a");
    provider.shutdown().unwrap();
    assert_eq!(backend.values("id"), ["a"]);
}

#[test]
fn an_endpoint_that_is_away_delays_no_shutdown_and_gets_all_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let address = nobody();
    let exporter = builder(dir.path(), format!("http://{address}")).build().unwrap();
    let status = exporter.status();
    let provider = simple(exporter);
    ["a", "b"].iter().for_each(|id| emit(&provider, id));
    wait_for(LIMIT, || status.snapshot().last_error).unwrap();
    let began = Instant::now();
    provider.shutdown().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    let backend = Backend::start_at(address);
    let provider = simple(builder(dir.path(), backend.endpoint()).build().unwrap());
    emit(&provider, "c");
    wait_for_ids(&backend, &["a", "b", "c"]);
    provider.shutdown().unwrap();
    assert_eq!(backend.values("id").len(), 3, "none twice");
}

#[test]
fn an_endpoint_that_never_answers_delays_a_shutdown_by_little() {
    let dir = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let provider = simple(builder(dir.path(), endpoint).build().unwrap());
    emit(&provider, "a");
    let began = Instant::now();
    provider.shutdown().unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    wait_durable(dir.path(), 1);
}

#[test]
fn after_shutdown_the_directory_is_free_and_exports_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = builder(dir.path(), format!("http://{}", nobody())).build().unwrap();
    let second = builder(dir.path(), format!("http://{}", nobody())).build().unwrap_err();
    assert!(matches!(&second, BuildError::Log(error) if error.is_owned()), "{second}");
    assert!(second.to_string().contains(&dir.path().display().to_string()), "{second}");

    exporter.shutdown().unwrap();
    assert!(matches!(exporter.shutdown(), Err(OTelSdkError::AlreadyShutdown)));
    let third = builder(dir.path(), format!("http://{}", nobody())).build().unwrap();
    let provider = simple(third);
    emit(&provider, "a");
    wait_durable(dir.path(), 1);
}

#[test]
fn an_exporter_that_is_dropped_lets_go_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("http://{}", nobody());
    drop(builder(dir.path(), endpoint.clone()).build().unwrap());
    drop(builder(dir.path(), endpoint).build().unwrap());
}

#[test]
fn an_empty_batch_is_nothing_and_a_batch_above_the_limit_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogOptions { max_frame: 100, ..LogOptions::default() };
    let options = Options { log, ..Options::default() };
    let endpoint = format!("http://{}", nobody());
    let exporter = builder(dir.path(), endpoint).options(options).build().unwrap();
    block_on(exporter.export(LogBatch::new(&[]))).unwrap();
    assert_eq!(durable(dir.path()), 0);

    // Records come from loggers only: one that hands them to the exporter under test, and keeps its answer.
    let answer = Arc::new(Mutex::new(None));
    let handing = Handing { exporter, answer: Arc::clone(&answer) };
    let provider = SdkLoggerProvider::builder().with_log_processor(handing).build();
    emit(&provider, &"x".repeat(200));
    let text = answer.lock().unwrap().take().unwrap().unwrap_err().to_string();
    assert!(text.contains("max_frame"), "{text}");
    assert_eq!(durable(dir.path()), 0);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A processor that keeps the exporter's answer.
#[derive(Debug)]
struct Handing {
    exporter: LogExporter,
    answer: Arc<Mutex<Option<OTelSdkResult>>>,
}

impl LogProcessor for Handing {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        let answer = block_on(self.exporter.export(LogBatch::new(&[(&*record, scope)])));
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }
}

#[test]
fn with_block_on_overflow_a_batch_waits_for_room_and_is_refused_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let address = nobody();
    let short = Duration::from_millis(100);
    let limited = |wait| {
        let limited = builder(dir.path(), format!("http://{address}")).max_pending(Limit::Items(1));
        simple(limited.block_on_overflow(wait).build().unwrap())
    };
    let provider = limited(short);
    emit(&provider, "a");
    let begun = Instant::now();
    emit(&provider, "refused");
    assert!(begun.elapsed() >= short, "{:?}", begun.elapsed());
    provider.shutdown().unwrap();

    let provider = limited(LIMIT);
    let waiting = {
        let provider = provider.clone();
        std::thread::spawn(move || emit(&provider, "b"))
    };
    let backend = Backend::start_at(address);
    waiting.join().unwrap();
    wait_for_ids(&backend, &["a", "b"]);
    provider.shutdown().unwrap();
}
