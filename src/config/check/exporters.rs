//! The exporters' settings. `sending_queue` is in `queue`, what is OTLP's in `otlp`.

use std::num::NonZeroU64;
use std::time::Duration;

use super::auth::Authenticators;
use super::otlp;
use super::queue::{Queue, Storage, sending_queue};
use super::registry::Registry;
use crate::config::checked::{Exporter, ExporterSettings, Pipeline};
use crate::config::fault::Problem;
use crate::config::fields::{Check, Fields};
use crate::config::units::{duration, positive_duration, size};
use crate::config::values::{boolean, integer, integer_u32, number, one_of, one_of_in_any_case, path};
use crate::exporters::{debug, drain, file};
use crate::otlp::Signal;
use crate::spool::{Need, OnFull, Start};

/// An exporter, and the storage extension that its queue names.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) exporter: Exporter,
    pub(super) storage: Option<Storage>,
}

pub(super) fn exporter(
    kind: &str,
    fields: &mut Fields<'_, '_, '_>,
    authenticators: &mut Authenticators<'_>,
) -> Option<Typed> {
    let mut drain = drain::Settings { max_request_bytes: max_request(kind), ..drain::Settings::default() };
    let mut queue = Queue::default();
    let settings = match kind {
        "otlp" => {
            let settings = otlp::grpc(fields, authenticators);
            queue = backend_queue(fields, &mut drain);
            settings.map(ExporterSettings::Otlp)
        }
        "otlphttp" => {
            let settings = otlp::http(fields, authenticators);
            queue = backend_queue(fields, &mut drain);
            Some(ExporterSettings::OtlpHttp(settings))
        }
        "file" => file(fields).map(ExporterSettings::File),
        "debug" => Some(ExporterSettings::Debug(debug(fields))),
        _ => None,
    };
    let mut start = Start::Oldest;
    fields.set("start_at", &mut start, one_of(&[("oldest", Start::Oldest), ("newest", Start::Newest)]));
    // A terminal that stands still must not hold data.
    let mut required = kind != "debug";
    fields.set("required", &mut required, boolean);
    let need = if required { Need::Required } else { Need::Optional };
    let Queue { max_pending, block_on_overflow, storage } = queue;
    let exporter = Exporter { settings: settings?, drain, start, need, max_pending, block_on_overflow };
    Some(Typed { exporter, storage })
}

/// What the specification recommends ("OTLP/gRPC Request", "OTLP/HTTP Request"); a file takes any size.
fn max_request(kind: &str) -> usize {
    match kind {
        "otlp" => 4 << 20,
        "otlphttp" => 20 << 20,
        _ => usize::MAX,
    }
}

/// What every exporter to a backend has: a queue, retries, and what to do with what is refused for good.
fn backend_queue(fields: &mut Fields<'_, '_, '_>, drain: &mut drain::Settings) -> Queue {
    let queue = sending_queue(fields, drain);
    retry(fields, &mut drain.retry);
    let choices = [("park", true), ("retry", false)];
    fields.set("permanent_errors", &mut drain.park_permanent_errors, one_of(&choices));
    drain.max_rate =
        fields.get("max_rate", size(1, i64::MAX as u64)).and_then(NonZeroU64::new).map(drain::MaxRate::new);
    queue
}

fn retry(fields: &mut Fields<'_, '_, '_>, retry: &mut drain::RetrySettings) {
    fields.section("retry_on_failure", |fields| {
        fields.set("enabled", &mut retry.enabled, boolean);
        fields.set("initial_interval", &mut retry.initial_interval, positive_duration);
        fields.set("max_interval", &mut retry.max_interval, positive_duration);
        fields.set("multiplier", &mut retry.multiplier, number(1.0, 100.0));
        fields.set("randomization_factor", &mut retry.randomization_factor, number(0.0, 1.0));
        fields.set("max_elapsed_time", &mut retry.max_elapsed_time, duration);
        // As in the Collector, no wait is longer.
        retry.initial_interval = retry.initial_interval.min(retry.max_interval);
        if !retry.enabled {
            fields.note("enabled", "what fails once goes to the dead letters, and stays on disk");
        } else if retry.max_elapsed_time > Duration::ZERO {
            fields.note(
                "max_elapsed_time",
                "what fails for longer goes to the dead letters, and stays on disk; 0 retries for ever",
            );
        }
    });
}

fn file(fields: &mut Fields<'_, '_, '_>) -> Option<file::Settings> {
    let path = fields.require("path", "/var/log/tidegate/events.jsonl", path);
    let mut format = file::Format::Json;
    fields.set("format", &mut format, |node| {
        match one_of(&[("json", Some(file::Format::Json)), ("proto", None), ("huatuo", None)])(node)? {
            Some(format) => Ok(format),
            None => Err(Problem::new("this format is not in this version").suggest("write `json`")),
        }
    });
    // As in the Collector: without the key nothing is rotated.
    let rotation = fields.optional("rotation", rotation).unwrap_or_else(file::Rotation::never);
    let mut create_directory = false;
    fields.set("create_directory", &mut create_directory, boolean);
    let compression = one_of(&[("none", true), ("", true), ("zstd", false)]);
    if fields.get("compression", compression) == Some(false) {
        fields.fault("compression", Problem::new("zstd is not in this version").suggest("leave `compression` out"));
    }
    fields.told(&["append"], "it always appends");
    fields.told(&["flush_interval"], "each batch is synced before the cursor passes it");
    fields.told(&["directory_permissions"], "a created directory is the owner's alone");
    fields.refused(&["encoding"], "`format: json` is what there is");
    fields.section("group_by", |group| {
        if group.get("enabled", boolean) == Some(true) {
            group.fault("enabled", Problem::new("`group_by` is not in this version").suggest("name one `path`"));
        }
        group.told(&["resource_attribute", "max_open_files"], "`group_by` is not in this version");
    });
    fields.refused(&["region"], "it belongs to `format: huatuo`, which is not in this version");
    Some(file::Settings { path: path?, format, rotation, create_directory })
}

fn rotation(fields: &mut Fields<'_, '_, '_>) -> file::Rotation {
    let mut rotation = file::Rotation::default();
    let megabytes = integer(1, 1_000_000);
    fields.set("max_megabytes", &mut rotation.max_bytes, |node| Ok(megabytes(node)? * 1_000_000));
    let days = integer(0, 36_500);
    fields.set("max_days", &mut rotation.max_age, |node| Ok(Duration::from_secs(days(node)? * 24 * 3600)));
    fields.set("max_backups", &mut rotation.max_backups, integer_u32(0, 100_000));
    if fields.get("localtime", boolean) == Some(true) {
        fields.note("localtime", "no effect: the names of rotated files have UTC times");
    }
    rotation
}

fn debug(fields: &mut Fields<'_, '_, '_>) -> debug::Settings {
    use debug::Verbosity::{Basic, Detailed, Normal};
    let mut settings = debug::Settings::default();
    let choices = [("basic", Basic), ("normal", Normal), ("detailed", Detailed)];
    fields.set("verbosity", &mut settings.verbosity, one_of_in_any_case(&choices));
    fields.told(&["sampling_initial", "sampling_thereafter"], "every record is printed");
    fields.told(&["use_internal_logger", "output_paths"], "it prints on standard output");
    fields.told(&["sending_queue"], "the log is the queue");
    settings
}

/// Two exporters that append to one file would tear each other's lines.
pub(super) fn refuse_shared_paths(check: &mut Check<'_>, exporters: &Registry<Typed>) {
    let mut seen: Vec<(&std::path::Path, &str)> = Vec::new();
    for (defined, typed) in exporters.used() {
        let ExporterSettings::File(settings) = &typed.exporter.settings else { continue };
        match seen.iter().find(|(path, _)| *path == settings.path) {
            Some((_, first)) => {
                let problem =
                    Problem::new(format!("writes the same file as {first}")).suggest("give each a `path` of its own");
                check.fault(Some(defined.at), &defined.path, problem);
            }
            None => seen.push((&settings.path, &defined.path)),
        }
    }
}

/// An exporter whose endpoints are each for one signal takes no other.
pub(super) fn refuse_missing_endpoints(check: &mut Check<'_>, exporters: &Registry<Typed>, pipelines: &[Pipeline]) {
    for (defined, typed) in exporters.used() {
        let ExporterSettings::OtlpHttp(settings) = &typed.exporter.settings else { continue };
        let is_here = |pipeline: &&Pipeline| defined.id().is_some_and(|id| pipeline.exporters.contains(id));
        let mut signals: Vec<Signal> = pipelines.iter().filter(is_here).map(|pipeline| pipeline.id.signal()).collect();
        signals.sort();
        signals.dedup();
        for signal in signals.into_iter().filter(|signal| settings.endpoints.url(*signal).is_none()) {
            let problem = Problem::new(format!("nothing says where {signal} go"))
                .suggest(format!("write `endpoint: http://collector:4318`, or `{signal}_endpoint` with a whole URL"));
            check.fault(Some(defined.at), &defined.path, problem);
        }
    }
}

/// A log that drops its oldest refuses nobody, so nobody waits for it, and a limit drops.
pub(super) fn note_overflow(check: &mut Check<'_>, exporters: &Registry<Typed>, pipelines: &[Pipeline]) {
    for (defined, typed) in exporters.used() {
        let is_here = |pipeline: &&Pipeline| defined.id().is_some_and(|id| pipeline.exporters.contains(id));
        for pipeline in pipelines.iter().filter(is_here).filter(|p| p.options.on_full == OnFull::DropOldest) {
            let (id, queue) = (&pipeline.id, format!("{}.sending_queue", defined.path));
            if typed.exporter.block_on_overflow {
                let note = format!("no effect in pipeline {id}: its log drops its oldest and refuses nobody");
                check.note(Some(defined.at), &format!("{queue}.block_on_overflow"), note);
            }
            if typed.exporter.max_pending.is_some() {
                let note = format!("in pipeline {id} the oldest records beyond it are dropped, counted: see `on_full`");
                check.note(Some(defined.at), &format!("{queue}.queue_size"), note);
            }
        }
    }
}
