//! The same JSON to both programs: what each makes of it is read in protobuf where it arrives.

use std::path::PathBuf;
use std::process::Command;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;
use serde_json::Value;

use crate::backend::Backend;
use crate::call::{self, JSON};
use crate::generate::{Generate, Signal};
use crate::program::{PATIENCE, Program, Running, Setup};
use crate::support::wait_for;

/// Generated requests; TIDEGATE_CONFORMANCE_SEED chooses others.
const REQUESTS: u64 = 200;

/// A program, and what arrives behind it.
struct Reader {
    program: Running,
    backend: Backend,
}

/// What became of a request: its status, and as text what arrived.
type Read = (u16, Option<String>);

impl Reader {
    fn of(program: Program) -> Self {
        let backend = Backend::start();
        // One request in, one request out, in order.
        let program = program.start(&Setup::new("otlp", backend.address, "compression: none"));
        Self { program, backend }
    }

    /// Sends a request. What arrives is what came after what was there.
    fn read(&self, signal: Signal, json: &str) -> Read {
        let before = self.backend.count();
        let reply = call::post(self.program.http, signal.path(), JSON, json.as_bytes());
        if reply.status != 200 {
            return (reply.status, None);
        }
        let came = wait_for(PATIENCE, || self.backend.after(before)).expect("what was acknowledged arrives");
        (200, Some(decoded(signal, &came.message)))
    }
}

/// As text, where a message that is absent and one that is empty are the same: the Collector writes some that nobody sent.
fn decoded(signal: Signal, message: &[u8]) -> String {
    match signal {
        Signal::Logs => {
            let mut request = ExportLogsServiceRequest::decode(message).unwrap();
            for resource in &mut request.resource_logs {
                resource.resource.get_or_insert_default();
                for scope in &mut resource.scope_logs {
                    scope.scope.get_or_insert_default();
                    for record in &mut scope.log_records {
                        record.body.get_or_insert_default();
                    }
                }
            }
            format!("{request:#?}")
        }
        Signal::Traces => {
            let mut request = ExportTraceServiceRequest::decode(message).unwrap();
            for resource in &mut request.resource_spans {
                resource.resource.get_or_insert_default();
                for scope in &mut resource.scope_spans {
                    scope.scope.get_or_insert_default();
                    for span in &mut scope.spans {
                        span.status.get_or_insert_default();
                    }
                }
            }
            format!("{request:#?}")
        }
        Signal::Metrics => {
            let mut request = ExportMetricsServiceRequest::decode(message).unwrap();
            for resource in &mut request.resource_metrics {
                resource.resource.get_or_insert_default();
                for scope in &mut resource.scope_metrics {
                    scope.scope.get_or_insert_default();
                    for data in scope.metrics.iter_mut().filter_map(|metric| metric.data.as_mut()) {
                        if let Data::ExponentialHistogram(histogram) = data {
                            for point in &mut histogram.data_points {
                                point.positive.get_or_insert_default();
                                point.negative.get_or_insert_default();
                            }
                        }
                    }
                }
            }
            format!("{request:#?}")
        }
    }
}

#[track_caller]
fn assert_alike(what: &str, ours: &Read, theirs: &Read) {
    assert_eq!(ours.0, theirs.0, "{what}");
    let (Some(ours), Some(theirs)) = (&ours.1, &theirs.1) else { return };
    let lines = ours.lines().zip(theirs.lines()).enumerate();
    let Some((at, (our, their))) = lines.into_iter().find(|(_, (our, their))| our != their) else { return };
    let before: Vec<&str> = ours.lines().take(at).collect();
    panic!("{what}\n{}\n tidegate: {our}\nCollector: {their}", before[before.len().saturating_sub(12)..].join("\n"));
}

/// The protocol's own examples, as the crate of its types brings them.
fn examples() -> Vec<(Signal, PathBuf)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let protocol = packages.iter().find(|package| package["name"] == "opentelemetry-proto").unwrap();
    let manifest = PathBuf::from(protocol["manifest_path"].as_str().unwrap());
    let directory = manifest.parent().unwrap().join("src/proto/opentelemetry-proto/examples");
    [("logs", Signal::Logs), ("events", Signal::Logs), ("trace", Signal::Traces), ("metrics", Signal::Metrics)]
        .map(|(name, signal)| (signal, directory.join(name).with_extension("json")))
        .into()
}

#[test]
fn the_protocols_own_examples_mean_the_same_to_both() {
    let (ours, theirs) = (Reader::of(Program::Tidegate), Reader::of(Program::Collector));
    for (signal, path) in examples() {
        let json = std::fs::read_to_string(&path).unwrap();
        let (ours, theirs) = (ours.read(signal, &json), theirs.read(signal, &json));
        assert_eq!(ours.0, 200, "{}", path.display());
        assert_alike(&path.display().to_string(), &ours, &theirs);
    }
}

#[test]
fn generated_json_means_the_same_to_both() {
    let seed = std::env::var("TIDEGATE_CONFORMANCE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (ours, theirs) = (Reader::of(Program::Tidegate), Reader::of(Program::Collector));
    let mut taken = 0;
    for n in 0..REQUESTS {
        let (signal, json) = Generate::new(seed + n).request();
        let (ours, theirs) = (ours.read(signal, &json), theirs.read(signal, &json));
        assert_alike(&format!("seed {}: {json}", seed + n), &ours, &theirs);
        taken += u64::from(ours.0 == 200);
    }
    println!("figure: {REQUESTS} generated JSON requests from seed {seed}, {taken} of them taken, read alike by both");
}
