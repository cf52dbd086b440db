//! Where and how the logs are kept: `disk_buffer`, and the Collector's `file_storage`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::DataDir;
use super::exporters::Typed;
use super::extensions::Extension;
use super::pipelines::Draft;
use super::registry::{Defined, Registry};
use crate::config::checked::{Pipeline, Receiver};
use crate::config::expand::Expander;
use crate::config::fault::Problem;
use crate::config::fields::{Check, Fields, nearest_or_all};
use crate::config::names::log_name;
use crate::config::node::{Node, Value};
use crate::config::source::{At, quote};
use crate::config::units::{duration, percent, positive_duration, size};
use crate::config::values::{boolean, one_of, path};
use crate::spool::{Durability, LogOptions, OnFull, Options};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// `disk_buffer` as it was read.
#[derive(Debug)]
pub(super) struct DiskBuffer {
    directory: Option<PathBuf>,
    /// The log's options in here are replaced by `all` and `logs`.
    options: Options,
    all: LogKeys,
    logs: Vec<(String, At, String, LogKeys)>,
}

/// The keys that every log may have of its own; what was not typed is absent.
#[derive(Debug, Clone, Default)]
struct LogKeys {
    durability: Option<Durability>,
    sync_interval: Option<Duration>,
    segment_size: Option<u64>,
    max_size: Option<u64>,
    max_age: Option<Duration>,
    on_full: Option<OnFull>,
    retain_size: Option<u64>,
    retain_age: Option<Duration>,
    max_frame: Option<u64>,
    dead_letter_max_size: Option<u64>,
}

impl LogKeys {
    /// Reads them; `max_size` is read by the caller, since it is the directory's at the top.
    fn read(fields: &mut Fields<'_, '_, '_>) -> Self {
        let durability = [("sync", Durability::Sync), ("interval", Durability::Interval), ("os", Durability::Os)];
        let on_full = [("reject", OnFull::Reject), ("drop_oldest", OnFull::DropOldest)];
        let keys = Self {
            durability: fields.get("durability", one_of(&durability)),
            sync_interval: fields.get("sync_interval", positive_duration),
            segment_size: fields.get("segment_size", size(MIB, 1 << 30)),
            max_size: None,
            max_age: fields.get("max_age", duration),
            on_full: fields.get("on_full", one_of(&on_full)),
            retain_size: fields.get("retain_size", size(0, 1024 * TIB)),
            retain_age: fields.get("retain_age", duration),
            max_frame: fields.get("max_frame", size(4 * KIB, 64 * MIB)),
            dead_letter_max_size: fields.section("dead_letter", |fields| fields.get("max_size", size(MIB, 1024 * TIB))),
        };
        if keys.durability.is_some_and(|durability| durability != Durability::Sync) {
            fields.note("durability", "what is acknowledged may be lost in a power cut");
        }
        keys
    }

    fn apply(&self, options: &mut LogOptions) {
        let Self {
            durability,
            sync_interval,
            segment_size,
            max_size,
            max_age,
            on_full,
            retain_size,
            retain_age,
            max_frame,
            dead_letter_max_size,
        } = self;
        set(&mut options.durability, *durability);
        set(&mut options.sync_interval, *sync_interval);
        set(&mut options.max_age, *max_age);
        set(&mut options.on_full, *on_full);
        set(&mut options.retain_size, *retain_size);
        set(&mut options.retain_age, *retain_age);
        set(&mut options.max_frame, *max_frame);
        options.segment_size = segment_size.or(options.segment_size);
        options.max_size = max_size.or(options.max_size);
        options.dead_letter_max_size = dead_letter_max_size.or(options.dead_letter_max_size);
    }
}

fn set<T>(into: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *into = value;
    }
}

pub(super) fn disk_buffer(fields: &mut Fields<'_, '_, '_>) -> DiskBuffer {
    let directory = fields.get("directory", path);
    let mut options = Options { max_size: fields.get("max_size", max_size()), ..Options::default() };
    fields.set("min_free", &mut options.min_free_percent, percent);
    fields.set("orphan_ttl", &mut options.orphan_ttl, positive_duration);
    fields.set("allow_network_fs", &mut options.allow_network_fs, boolean);
    let all = LogKeys::read(fields);
    let logs = fields.section("logs", |logs| {
        let mut read = Vec::new();
        for entry in logs.take_all() {
            let path = logs.path_of(&entry.key);
            let keys = logs.check.section(Some(&entry.value), entry.key_at, &path, |fields| {
                let max_size = fields.get("max_size", max_size());
                LogKeys { max_size, ..LogKeys::read(fields) }
            });
            read.push((entry.key.clone(), entry.key_at, path, keys));
        }
        read
    });
    DiskBuffer { directory, options, all, logs }
}

/// Room for a few segments and the frames that are on their way.
fn max_size() -> impl Fn(&Node) -> Result<u64, Problem> {
    size(16 * MIB, 1024 * TIB)
}

/// How the logs are kept, once everything is read.
#[derive(Debug)]
pub(super) struct Storage<'e> {
    pub(super) options: Options,
    disk_buffer: Option<&'e DiskBuffer>,
}

/// Checks what only shows beside the rest: references to storage, directories that differ.
pub(super) fn resolve<'e>(
    check: &mut Check<'_>,
    extensions: &'e Registry<Extension>,
    exporters: &Registry<Typed>,
    drafts: &[Draft],
    data_dir: &DataDir,
) -> Storage<'e> {
    check_references(check, extensions, exporters);
    let disk_buffer = one_disk_buffer(check, extensions);
    check_directories(check, extensions, disk_buffer.and_then(|buffer| buffer.directory.as_deref()), data_dir);
    let mut options = Options::default();
    if let Some(buffer) = disk_buffer {
        options = buffer.options.clone();
        buffer.all.apply(&mut options.log);
        let logs: Vec<String> = drafts.iter().map(|draft| log_name(&draft.id)).collect();
        for (name, at, path, _) in buffer.logs.iter().filter(|(name, ..)| !logs.contains(name)) {
            let known: Vec<&str> = logs.iter().map(|log| &**log).collect();
            let problem = Problem::new(format!("no pipeline writes a log {}", quote(name))).suggest(nearest_or_all(
                name,
                &known,
                "logs of this configuration",
            ));
            check.fault(Some(*at), path, problem);
        }
    }
    Storage { options, disk_buffer }
}

impl Storage<'_> {
    /// Gives each pipeline its log.
    pub(super) fn give_logs(
        &self,
        check: &mut Check<'_>,
        drafts: Vec<Draft>,
        receivers: &Registry<Receiver>,
    ) -> Vec<Pipeline> {
        drafts
            .into_iter()
            .map(|draft| {
                let log = log_name(&draft.id);
                let options = self.log_options(check, &log, &draft, receivers);
                Pipeline { id: draft.id, log, options, receivers: draft.receivers, exporters: draft.exporters }
            })
            .collect()
    }

    fn log_options(
        &self,
        check: &mut Check<'_>,
        log: &str,
        draft: &Draft,
        receivers: &Registry<Receiver>,
    ) -> LogOptions {
        let is_kernel = |id| matches!(receivers.get(id), Some(Receiver::Kernel(_)));
        let mut options = self.options.log.clone();
        // The kernel cannot be refused; every other receiver here can.
        if self.disk_buffer.is_none_or(|buffer| buffer.all.on_full.is_none()) {
            let only_kernel = !draft.receivers.is_empty() && draft.receivers.iter().all(is_kernel);
            options.on_full = if only_kernel { OnFull::DropOldest } else { OnFull::Reject };
        }
        let own = self.disk_buffer.and_then(|buffer| buffer.logs.iter().find(|(name, ..)| name == log));
        let (at, path) = match own {
            Some((_, at, path, keys)) => {
                keys.apply(&mut options);
                (*at, &**path)
            }
            None => (draft.at, &*draft.path),
        };
        let cap = options.max_size.into_iter().chain(self.options.max_size).min();
        let mut too_large = |what: &str, bytes: Option<u64>| {
            if cap.zip(bytes).is_some_and(|(cap, bytes)| bytes > cap) {
                let problem = Problem::new(format!("`{what}` of the log `{log}` is larger than its `max_size`"));
                check.fault(Some(at), path, problem.suggest("raise `max_size`"));
            }
        };
        // Two segments at least, so that one can go while the other is written.
        too_large("2 × segment_size", options.segment_size.map(|size| 2 * size));
        too_large("max_frame", Some(options.max_frame));
        if options.max_size > self.options.max_size && self.options.max_size.is_some() {
            let problem = Problem::new(format!("`max_size` of the log `{log}` is larger than the directory's"));
            check.fault(Some(at), path, problem.suggest("raise `disk_buffer.max_size`"));
        }
        options
    }
}

/// `sending_queue.storage` names an extension that runs.
fn check_references(check: &mut Check<'_>, extensions: &Registry<Extension>, exporters: &Registry<Typed>) {
    for typed in exporters.all().filter_map(Defined::value) {
        let Some((name, at, path)) = &typed.storage else { continue };
        let found = extensions.all().find(|defined| defined.id().is_some_and(|id| id.to_string() == *name));
        let problem = match found {
            Some(defined)
                if !matches!(defined.value(), None | Some(Extension::FileStorage(_) | Extension::DiskBuffer(_))) =>
            {
                Problem::new(format!("{} stores nothing", quote(name)))
                    .suggest("name a `file_storage` or `disk_buffer`")
            }
            Some(defined) if !defined.is_used() => Problem::new(format!("the extension {} does not run", quote(name)))
                .suggest(format!("add it to `service.extensions`: [{name}]")),
            Some(_) => continue,
            None => {
                let known: Vec<String> = extensions.all().filter_map(|d| d.id().map(ToString::to_string)).collect();
                let known: Vec<&str> = known.iter().map(|id| &**id).collect();
                Problem::new(format!("the extension {} is not defined under `extensions`", quote(name)))
                    .suggest(nearest_or_all(name, &known, "extensions defined"))
            }
        };
        check.fault(Some(*at), path, problem);
    }
}

fn one_disk_buffer<'e>(check: &mut Check<'_>, extensions: &'e Registry<Extension>) -> Option<&'e DiskBuffer> {
    let mut buffers = extensions.used().filter_map(|(defined, extension)| match extension {
        Extension::DiskBuffer(buffer) => Some((defined, &**buffer)),
        _ => None,
    });
    let (_, first) = buffers.next()?;
    for (second, _) in buffers {
        let problem = Problem::new("a second `disk_buffer`: one process keeps one directory")
            .suggest("keep one; `logs` holds what differs between logs");
        check.fault(Some(second.at), &second.path, problem);
    }
    Some(first)
}

/// One process keeps one directory, so two that differ cannot both be meant.
fn check_directories(
    check: &mut Check<'_>,
    extensions: &Registry<Extension>,
    of_disk_buffer: Option<&Path>,
    data_dir: &DataDir,
) {
    let mut first = of_disk_buffer.map(|directory| ("`disk_buffer`".to_owned(), directory));
    for (defined, extension) in extensions.used() {
        let Extension::FileStorage(Some(directory)) = extension else { continue };
        match &first {
            Some((other, same)) if same != directory => {
                let problem = Problem::new(format!("another directory than {other} has: all logs are kept in one"))
                    .suggest("name the same directory, or leave one out");
                check.fault(Some(defined.at), &defined.path, problem);
            }
            Some(_) => {}
            None => first = Some((format!("`{}`", defined.path), directory)),
        }
    }
    if let Some((by, directory)) = first
        && data_dir.given
        && directory != data_dir.path
    {
        let message = format!(
            "{} is used instead of the directory that {by} names: --data-dir or TIDEGATE_DATA_DIR says so",
            data_dir.path.display()
        );
        check.note(None, "extensions", message);
    }
}

/// The directory that the configuration names, found out before references are replaced, since
/// `${tidegate:data_dir}` stands for it.
pub(in crate::config) fn named_directory(
    root: &Node,
    env: &BTreeMap<String, String>,
) -> (Option<PathBuf>, Vec<(String, Problem)>) {
    let mut listed = root.get("service").and_then(|service| service.get("extensions")).cloned();
    let mut expander = Expander::new(env, None);
    if let Some(listed) = &mut listed {
        expander.expand(listed, "service.extensions");
    }
    let is_listed = |id: &str| match listed.as_ref().map(|listed| &listed.value) {
        Some(Value::List(items)) => {
            items.iter().any(|item| matches!(&item.value, Value::Scalar(scalar) if scalar.text.trim() == id.trim()))
        }
        _ => false,
    };
    expander.problems.clear();
    let entries = root.get("extensions").map_or(&[][..], Node::entries);
    let mut directory = None;
    for kind in ["disk_buffer", "file_storage"] {
        let is_kind = |key: &str| key.split('/').next().is_some_and(|typed| typed.trim() == kind);
        for entry in entries.iter().filter(|entry| is_kind(&entry.key) && is_listed(&entry.key)) {
            let Some(mut typed) = entry.value.get("directory").cloned() else { continue };
            expander.expand(&mut typed, &format!("extensions.{}.directory", entry.key));
            directory = directory.or_else(|| path(&typed).ok());
        }
    }
    // Everything but the circle is told when the whole is expanded.
    let circular = expander.problems.into_iter().filter(|(_, problem)| problem.message.contains("itself")).collect();
    (directory, circular)
}
