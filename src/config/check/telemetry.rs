//! `service.telemetry`: the agent's own messages and metrics.

use std::net::SocketAddr;

use super::{Listening, every_interface};
use crate::config::fault::Problem;
use crate::config::fields::Fields;
use crate::config::network::{Family, listen_address, listen_host};
use crate::config::node::{Node, Value};
use crate::config::units::positive_duration;
use crate::config::values::{boolean, integer, one_of_in_any_case};
use crate::config::{Encoding, Messages, Sampling};

/// As in the Collector.
const METRICS_DEFAULT: ([u8; 4], u16) = ([127, 0, 0, 1], 8888);

#[derive(Debug)]
pub(super) struct Telemetry {
    pub(super) metrics: Vec<SocketAddr>,
    pub(super) messages: Messages,
}

pub(super) fn telemetry(fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> Telemetry {
    let messages = fields.section("logs", messages);
    let metrics = fields.section("metrics", |fields| metrics(fields, listening));
    fields.told(&["traces"], "the agent records no spans about itself");
    fields.told(&["resource"], "records of kernel events describe the host by themselves");
    Telemetry { metrics, messages }
}

fn messages(fields: &mut Fields<'_, '_, '_>) -> Messages {
    let mut messages = Messages::default();
    let levels = [
        ("debug", tracing::Level::DEBUG),
        ("info", tracing::Level::INFO),
        ("warn", tracing::Level::WARN),
        ("error", tracing::Level::ERROR),
        // What is worse than an error is said as one.
        ("dpanic", tracing::Level::ERROR),
        ("panic", tracing::Level::ERROR),
        ("fatal", tracing::Level::ERROR),
    ];
    fields.set("level", &mut messages.level, one_of_in_any_case(&levels));
    let encodings = [("console", Encoding::Text), ("json", Encoding::Json)];
    fields.set("encoding", &mut messages.encoding, one_of_in_any_case(&encodings));
    messages.sampling = fields.section("sampling", sampling);
    fields.told(
        &[
            "development",
            "disable_caller",
            "disable_stacktrace",
            "output_paths",
            "error_output_paths",
            "initial_fields",
            "processors",
            "disable_zap_resource",
        ],
        "the agent's own messages go to standard error",
    );
    messages
}

fn sampling(fields: &mut Fields<'_, '_, '_>) -> Option<Sampling> {
    let mut sampling = Sampling::default();
    let is_on = fields.get("enabled", boolean).unwrap_or(true);
    fields.set("tick", &mut sampling.tick, positive_duration);
    fields.set("initial", &mut sampling.initial, integer(0, u64::MAX));
    fields.set("thereafter", &mut sampling.thereafter, integer(0, u64::MAX));
    is_on.then_some(sampling)
}

fn metrics(fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> Vec<SocketAddr> {
    let levels = [("none", false), ("basic", true), ("normal", true), ("detailed", true)];
    let on = fields.get("level", one_of_in_any_case(&levels)).unwrap_or(true);
    refuse_address(fields);
    fields.told(&["views"], "every metric is served");
    let addresses = match fields.each("readers", |reader| reader_address(reader)) {
        Some(readers) => readers.into_iter().flatten().collect(),
        None => vec![SocketAddr::from(METRICS_DEFAULT)],
    };
    if !on {
        return Vec::new();
    }
    let (path, at) = (fields.path_of("readers"), fields.place_of("readers"));
    for address in &addresses {
        if address.ip().is_unspecified() {
            fields.note("readers", every_interface(*address));
        }
        listening.take(fields.check, *address, Family::Any, &path, at);
    }
    addresses
}

/// The form before 0.111, still in many files.
fn refuse_address(fields: &mut Fields<'_, '_, '_>) {
    let Some(entry) = fields.entry("address") else { return };
    let (host, port) = match (&entry.value.value, listen_address(&entry.value)) {
        (Value::Scalar(scalar), Ok(address)) if scalar.typed.is_none() => (address.ip().to_string(), address.port()),
        _ => ("127.0.0.1".to_owned(), METRICS_DEFAULT.1),
    };
    let problem = Problem::new("`address` is the Collector's old form").suggest(format!(
        "write `readers: [{{pull: {{exporter: {{prometheus: {{host: \"{host}\", port: {port}}}}}}}}}]`"
    ));
    fields.fault("address", problem);
}

fn reader_address(reader: &mut Fields<'_, '_, '_>) -> Option<SocketAddr> {
    reader.told(&["periodic"], "metrics are served for a scraper, not sent; a `pull` reader says where");
    reader.optional("pull", |pull| {
        pull.told(&["producers", "cardinality_limits"], "every metric is served");
        pull.section("exporter", |exporter| {
            exporter.optional("prometheus", |prometheus| {
                let (host, port) = METRICS_DEFAULT;
                let (mut host, mut port) = (host.into(), port);
                prometheus.set("host", &mut host, listen_host);
                prometheus.set("port", &mut port, read_port);
                prometheus.told(
                    &[
                        "without_scope_info",
                        "without_type_suffix",
                        "without_units",
                        "with_resource_constant_labels",
                        "translation_strategy",
                    ],
                    "names and labels are fixed",
                );
                SocketAddr::new(host, port)
            })
        })
    })?
}

fn read_port(node: &Node) -> Result<u16, Problem> {
    integer(0, u16::MAX.into())(node).map(|port| u16::try_from(port).unwrap_or(METRICS_DEFAULT.1))
}
