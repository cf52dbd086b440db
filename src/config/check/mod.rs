//! From what was typed to what is checked. Nothing stops at the first fault: what cannot be read is left out, told, and
//! the rest is checked as if it were there.

mod auth;
mod exporters;
mod extensions;
mod otlp;
mod pipelines;
mod queue;
mod receivers;
mod registry;
mod storage;
mod telemetry;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) use storage::named_directory;

use super::catalogue::Kind;
use super::checked::Config;
use super::fault::Problem;
use super::fields::{Check, Fields};
use super::network::Family;
use super::node::Node;
use super::source::At;
use registry::Registry;

/// Keys that every HTTP server of the Collector has, and that have no effect on ours.
const SERVER_KEYS: [&str; 9] = [
    "include_metadata",
    "response_headers",
    "compression_algorithms",
    "read_timeout",
    "read_header_timeout",
    "write_timeout",
    "idle_timeout",
    "keep_alives_enabled",
    "keepalive",
];

/// Where the logs are, and who said so.
#[derive(Debug, Clone)]
pub(super) struct DataDir {
    pub(super) path: PathBuf,
    /// From the command line or the environment, above what the files say.
    pub(super) given: bool,
}

/// Checks the whole. The result is of use only when `check` has no faults.
pub(super) fn config(check: &mut Check<'_>, root: &Node, data_dir: &DataDir) -> Config {
    check.section(Some(root), root.at, "", |top| whole(top, data_dir))
}

fn whole(top: &mut Fields<'_, '_, '_>, data_dir: &DataDir) -> Config {
    let mut listening = Listening::default();
    let mut extensions = Registry::read(top, Kind::Extension, |component, fields| {
        extensions::extension(component.name, fields, &mut listening)
    });
    let mut authenticators = auth::Authenticators::new(&extensions);
    let mut receivers = Registry::read(top, Kind::Receiver, |component, fields| {
        receivers::receiver(component.name, fields, &mut listening, &mut authenticators)
    });
    let mut processors = Registry::read(top, Kind::Processor, |component, fields| {
        processor(component.name, fields);
        Some(())
    });
    let mut exporters = Registry::read(top, Kind::Exporter, |component, fields| {
        exporters::exporter(component.name, fields, &mut authenticators)
    });
    let asked = authenticators.into_asked();
    top.refused(&["connectors"], "send one pipeline's data to another program with the exporter otlp");

    let service = pipelines::service(
        top,
        &mut pipelines::Components {
            receivers: &mut receivers,
            processors: &mut processors,
            exporters: &mut exporters,
            extensions: &mut extensions,
        },
        &mut listening,
    );
    auth::refuse_unused(top.check, &extensions, &asked);
    receivers::refuse_second_kernel(top.check, &receivers);
    exporters::refuse_shared_paths(top.check, &exporters);
    let storage = storage::resolve(top.check, &extensions, &exporters, &service.pipelines, data_dir);
    let pipelines = storage.give_logs(top.check, service.pipelines, &receivers);
    exporters::refuse_missing_endpoints(top.check, &exporters, &pipelines);
    exporters::note_overflow(top.check, &exporters, &pipelines);

    receivers.note_unused(top.check);
    processors.note_unused(top.check);
    exporters.note_unused(top.check);
    extensions.note_unused(top.check);
    Config {
        data_dir: data_dir.path.clone(),
        spool: storage.options,
        health: extensions.used().filter_map(|(_, extension)| extension.health()).collect(),
        receivers: receivers.into_used(),
        exporters: exporters.into_used().into_iter().map(|(id, typed)| (id, typed.exporter)).collect(),
        pipelines,
        metrics: service.metrics,
        messages: service.messages,
        notes: Vec::new(),
    }
}

/// Processors of a stock configuration whose work is done elsewhere here.
fn processor(kind: &str, fields: &mut Fields<'_, '_, '_>) {
    let why = match kind {
        "batch" => {
            for key in ["timeout", "send_batch_size", "send_batch_max_size"] {
                fields.entry(key);
            }
            for key in ["metadata_keys", "metadata_cardinality_limit"] {
                fields.entry(key);
            }
            "exporters batch by themselves: stored requests are joined up to `sending_queue.batch.max_size`"
        }
        _ => {
            for key in ["check_interval", "limit_mib", "spike_limit_mib", "limit_percentage", "spike_limit_percentage"]
            {
                fields.entry(key);
            }
            for key in [
                "min_gc_interval_when_soft_limited",
                "min_gc_interval_when_hard_limited",
                "max_gc_interval_when_soft_limited",
                "max_gc_interval_when_hard_limited",
            ] {
                fields.entry(key);
            }
            "memory is bounded by itself: what is not delivered waits on disk"
        }
    };
    let (at, path) = (fields.at(), fields.path().to_owned());
    fields.check.note(Some(at), &path, format!("no effect: {why}"));
}

fn every_interface(address: SocketAddr) -> String {
    format!("{address} is every interface: whoever reaches this machine may connect")
}

/// Addresses that something listens on, so that two of them never share one.
#[derive(Debug, Default)]
struct Listening {
    taken: Vec<(SocketAddr, Family, String)>,
}

impl Listening {
    fn take(&mut self, check: &mut Check<'_>, address: SocketAddr, family: Family, path: &str, at: At) {
        let clashes = |other: &SocketAddr, others: Family| {
            let is_apart = address.is_ipv4() && others == Family::V6 || other.is_ipv4() && family == Family::V6;
            other.port() == address.port()
                && !is_apart
                && (other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified())
        };
        // Port 0 is a different one each time.
        if address.port() != 0
            && let Some((.., first)) = self.taken.iter().find(|(other, family, _)| clashes(other, *family))
        {
            let problem = Problem::new(format!("{address} is already taken by {first}")).suggest("choose another port");
            check.fault(Some(at), path, problem);
        }
        self.taken.push((address, family, path.to_owned()));
    }
}
