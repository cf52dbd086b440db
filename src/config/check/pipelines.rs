//! `service`: which components run, and how they are joined.

use std::net::SocketAddr;

use super::Listening;
use super::exporters::Typed;
use super::extensions::Extension;
use super::registry::Registry;
use super::telemetry::{Telemetry, telemetry};
use crate::config::Messages;
use crate::config::checked::Receiver;
use crate::config::fault::Problem;
use crate::config::fields::{Fields, nearest_or_all};
use crate::config::names::{Id, PipelineId, parse_id};
use crate::config::source::{At, quote};
use crate::config::values::references;
use crate::otlp::Signal;

/// Every component that was defined.
pub(super) struct Components<'r> {
    pub(super) receivers: &'r mut Registry<Receiver>,
    pub(super) processors: &'r mut Registry<()>,
    pub(super) exporters: &'r mut Registry<Typed>,
    pub(super) extensions: &'r mut Registry<Extension>,
}

/// What `service` says.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) pipelines: Vec<Draft>,
    pub(super) metrics: Vec<SocketAddr>,
    pub(super) messages: Messages,
}

/// A pipeline whose log is not known yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: PipelineId,
    pub(super) at: At,
    pub(super) path: String,
    pub(super) receivers: Vec<Id>,
    pub(super) exporters: Vec<Id>,
}

pub(super) fn service(
    top: &mut Fields<'_, '_, '_>,
    components: &mut Components<'_>,
    listening: &mut Listening,
) -> Service {
    top.section("service", |service| {
        let path = service.path_of("extensions");
        for (typed, at) in service.get("extensions", references).unwrap_or_default() {
            components.extensions.find(service.check, &typed, at, &path);
        }
        let Telemetry { metrics, messages } = service.section("telemetry", |fields| telemetry(fields, listening));
        let pipelines = service.section("pipelines", |fields| pipelines(fields, components));
        Service { pipelines, metrics, messages }
    })
}

fn pipelines(fields: &mut Fields<'_, '_, '_>, components: &mut Components<'_>) -> Vec<Draft> {
    let entries = fields.take_all();
    if entries.is_empty() {
        let problem = Problem::new("no pipeline: nothing would run")
            .suggest("write, for instance, `logs: {receivers: [otlp], exporters: [debug]}` under `service.pipelines`");
        fields.fault_here(problem);
    }
    let mut drafts: Vec<Draft> = Vec::new();
    for entry in entries {
        let (at, path) = (entry.key_at, fields.path_of(&entry.key));
        let id = match pipeline_id(&entry.key) {
            Ok(id) if drafts.iter().any(|draft| draft.id == id) => {
                let problem = Problem::new(format!("the pipeline `{id}` is given twice"));
                fields.check.fault(Some(at), &path, problem);
                continue;
            }
            Ok(id) => id,
            Err(problem) => {
                fields.check.fault(Some(at), &path, problem);
                continue;
            }
        };
        let draft = fields.check.section(Some(&entry.value), at, &path, |fields| pipeline(fields, id, components));
        drafts.push(draft);
    }
    drafts
}

fn pipeline_id(typed: &str) -> Result<PipelineId, Problem> {
    let (kind, name) = parse_id(typed)?;
    match Signal::ALL.iter().find(|signal| signal.name() == kind) {
        Some(signal) => Ok(PipelineId::new(*signal, name)),
        None if kind == "profiles" => Err(Problem::new("the signal `profiles` is not in this version")
            .suggest("the signals are logs, traces, metrics")),
        None => {
            let signals: Vec<&str> = Signal::ALL.iter().map(|signal| signal.name()).collect();
            Err(Problem::new(format!("unknown signal {}", quote(kind)))
                .suggest(nearest_or_all(kind, &signals, "signals")))
        }
    }
}

fn pipeline(fields: &mut Fields<'_, '_, '_>, id: PipelineId, components: &mut Components<'_>) -> Draft {
    let signal = id.signal();
    let receivers = resolve(fields, "receivers", components.receivers, signal);
    resolve(fields, "processors", components.processors, signal);
    let exporters = resolve(fields, "exporters", components.exporters, signal);
    if receivers.is_none() {
        fields.fault(
            "receivers",
            Problem::new("a pipeline without receivers carries nothing")
                .suggest("write `receivers: [otlp]`, for instance"),
        )
    }
    if exporters.is_none() {
        let note = "no exporters: the log is kept by `retain_size` and `retain_age` alone, for `tidegate tail` to read";
        fields.note("exporters", note);
    }
    let (at, path) = (fields.at(), fields.path().to_owned());
    Draft { id, at, path, receivers: receivers.unwrap_or_default(), exporters: exporters.unwrap_or_default() }
}

/// The components that a pipeline names under `key`; none when it names nothing at all.
fn resolve<T>(
    fields: &mut Fields<'_, '_, '_>,
    key: &'static str,
    registry: &mut Registry<T>,
    signal: Signal,
) -> Option<Vec<Id>> {
    let entry = fields.entry(key);
    let is_wrong = entry.is_some_and(|entry| references(&entry.value).is_err());
    let named = fields.get(key, references).unwrap_or_default();
    let mut ids: Vec<Id> = Vec::new();
    for (typed, at) in &named {
        let path = fields.path_of(key);
        let Some(defined) = registry.find(fields.check, typed, *at, &path) else { continue };
        let (Some(id), Some(component)) = (defined.id().cloned(), defined.component()) else { continue };
        if !component.signals.contains(&signal) {
            let carries: Vec<&str> = component.signals.iter().map(|signal| signal.name()).collect();
            let problem = Problem::new(format!("the {} {} carries no {signal}", component.kind, quote(typed)))
                .suggest(format!("it carries {}", carries.join(", ")));
            fields.check.fault(Some(*at), &path, problem);
        } else if ids.contains(&id) {
            let problem = Problem::new(format!("{} is named twice in this pipeline", quote(typed)));
            fields.check.fault(Some(*at), &path, problem);
        } else {
            ids.push(id);
        }
    }
    (!named.is_empty() || is_wrong).then_some(ids)
}
