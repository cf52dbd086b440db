//! The receivers' settings.

use std::net::SocketAddr;

use super::auth::Authenticators;
use super::registry::Registry;
use super::{Listening, SERVER_KEYS, every_interface, tls};
use crate::config::checked::Receiver;
use crate::config::fault::Problem;
use crate::config::fields::{Check, Fields};
use crate::config::network::{Family, listen_address_of};
use crate::config::node::Node;
use crate::config::units::{positive_duration, size};
use crate::config::values::{boolean, integer_u32, integer_usize, one_of, path, texts};
use crate::listen::unix::SocketMode;
use crate::receivers::{kernel, otlp};

/// Calls at once on one connection.
const MOST_STREAMS: u32 = 10_000;
const MIB: usize = 1 << 20;
/// The log takes no frame above 64 MiB, so no receiver needs to.
const MESSAGE_MIB_MAX: usize = 64;

pub(super) fn receiver(
    kind: &str,
    fields: &mut Fields<'_, '_, '_>,
    listening: &mut Listening,
    authenticators: &mut Authenticators<'_>,
) -> Option<Receiver> {
    match kind {
        "kernel" => Some(Receiver::Kernel(kernel(fields))),
        "otlp" => Some(Receiver::Otlp(otlp(fields, listening, authenticators))),
        _ => None,
    }
}

/// The kernel's hooks are attached once.
pub(super) fn refuse_second_kernel(check: &mut Check<'_>, receivers: &Registry<Receiver>) {
    for (defined, _) in receivers.used().filter(|(_, value)| matches!(value, Receiver::Kernel(_))).skip(1) {
        let problem = Problem::new("a second receiver `kernel`: the hooks are attached once")
            .suggest("name one receiver `kernel` in several pipelines instead");
        check.fault(Some(defined.at), &defined.path, problem);
    }
}

fn kernel(fields: &mut Fields<'_, '_, '_>) -> kernel::Settings {
    let mut settings = kernel::Settings::default();
    fields.set("event_name_attribute", &mut settings.event_name_attribute, boolean);
    fields.set("command_line", &mut settings.command_line, boolean);
    fields.section("rings", |fields| {
        let rings = &mut settings.rings;
        fields.set("urgent", &mut rings.urgent, ring_size);
        fields.set("bulk", &mut rings.bulk, ring_size);
        fields.set("cgroups", &mut rings.cgroups, ring_size);
    });
    fields.section("events", |events| {
        events.section("kernel.oom.kill", |fields| event(fields, &mut settings.oom_kill));
        events.section("kernel.process.crash", |fields| {
            event(fields, &mut settings.process_crash);
            fields.set("fault_address", &mut settings.fault_address, boolean);
            fields.set("stacks", &mut settings.crash_stacks, boolean);
        });
        events.section("kernel.net.tcp_retransmit", |fields| event(fields, &mut settings.tcp_retransmit));
        events.section("kernel.net.packet_drop", |fields| {
            let drops = &mut settings.packet_drop;
            event(fields, &mut drops.event);
            fields.set("ignore_reasons", &mut drops.ignore_reasons, texts);
            fields.set("stacks", &mut drops.stacks, boolean);
        });
        events.section("kernel.task.hung", |fields| {
            let hung = &mut settings.task_hung;
            event(fields, &mut hung.event);
            fields.set("stacks", &mut hung.stacks, boolean);
            fields.set("max_stacks", &mut hung.max_stacks, integer_u32(0, 1_000));
        });
    });
    settings
}

/// The kernel's rings are powers of two, and at least a page.
fn ring_size(node: &Node) -> Result<u32, Problem> {
    let bytes = size(64 << 10, 64 << 20)(node)?;
    match u32::try_from(bytes) {
        Ok(bytes) if bytes.is_power_of_two() => Ok(bytes),
        _ => Err(Problem::new("expected a power of two").suggest("write `512KiB`, for instance")),
    }
}

fn event(fields: &mut Fields<'_, '_, '_>, settings: &mut kernel::EventSettings) {
    fields.set("enabled", &mut settings.enabled, boolean);
    fields.set("max_per_second", &mut settings.max_per_second, integer_u32(0, 1_000_000));
}

fn otlp(
    fields: &mut Fields<'_, '_, '_>,
    listening: &mut Listening,
    authenticators: &mut Authenticators<'_>,
) -> otlp::Settings {
    let mut limits = otlp::Limits::default();
    let (grpc, http) = fields.section("protocols", |protocols| {
        let grpc = protocols.optional("grpc", |fields| grpc(fields, &mut limits, listening, authenticators));
        (grpc, protocols.optional("http", |fields| http(fields, listening, authenticators)))
    });
    let mut settings = otlp::Settings { grpc, http, limits };
    if settings.grpc.is_none() && settings.http.is_none() {
        let problem = Problem::new("no protocol: nothing would listen")
            .suggest("write `grpc:` or `http:`, or both, under `protocols:`; their endpoints have defaults");
        fields.fault("protocols", problem);
    }
    fields.section("limits", |fields| self::limits(fields, &mut settings.limits));
    settings
}

fn limits(fields: &mut Fields<'_, '_, '_>, limits: &mut otlp::Limits) {
    let bytes = size(1 << 20, 4 << 30);
    limits.max_in_flight_bytes = fields.get("max_in_flight_size", |node| Ok(bytes(node)? as usize));
    fields.set("max_decompression_ratio", &mut limits.max_ratio, integer_usize(1, 1_000_000));
    // An attribute of a record is 7 deep, and what is below that is the sender's.
    fields.set("max_nesting_depth", &mut limits.max_nesting_depth, integer_usize(8, 98));
    fields.set("max_connections", &mut limits.max_connections, integer_usize(1, 100_000));
    fields.set("max_concurrent_streams", &mut limits.max_streams, integer_u32(1, MOST_STREAMS));
    let header = size(1 << 10, 1 << 20);
    fields.set("max_header_size", &mut limits.max_header_bytes, |node| Ok(header(node)? as u32));
    fields.set("handshake_timeout", &mut limits.handshake_timeout, positive_duration);
    fields.set("header_timeout", &mut limits.header_timeout, positive_duration);
    fields.set("body_timeout", &mut limits.body_timeout, positive_duration);
    fields.set("idle_timeout", &mut limits.idle_timeout, positive_duration);
    fields.set("admission_timeout", &mut limits.admission_timeout, positive_duration);
    fields.set("room_timeout", &mut limits.room_timeout, positive_duration);
}

fn grpc(
    fields: &mut Fields<'_, '_, '_>,
    limits: &mut otlp::Limits,
    listening: &mut Listening,
    authenticators: &mut Authenticators<'_>,
) -> otlp::GrpcSettings {
    let mut settings = otlp::GrpcSettings::default();
    settings.endpoint = endpoint_of(fields, settings.endpoint, listening);
    let typed = fields.get("max_recv_msg_size_mib", integer_usize(0, usize::MAX >> 20));
    settings.max_message_bytes =
        largest(fields, "max_recv_msg_size_mib", typed.map(|mib| mib * MIB), settings.max_message_bytes);
    settings.tls = tls::server(fields);
    settings.auth = authenticators.server(fields);
    fields.refused(&["middlewares"], "leave it out");
    // As in the Collector, 0 is its default; ours bounds what a client may hold.
    let streams = fields.get("max_concurrent_streams", integer_u32(0, u32::MAX)).filter(|streams| *streams > 0);
    limits.max_streams = streams.map_or(limits.max_streams, |streams| streams.min(MOST_STREAMS));
    fields.told(
        &["read_buffer_size", "write_buffer_size", "keepalive", "include_metadata"],
        "connections have the receiver's `limits`",
    );
    fields.told(&["dialer"], "it listens");
    settings
}

fn http(
    fields: &mut Fields<'_, '_, '_>,
    listening: &mut Listening,
    authenticators: &mut Authenticators<'_>,
) -> otlp::HttpSettings {
    let mut settings = otlp::HttpSettings::default();
    settings.endpoint = endpoint_of(fields, settings.endpoint, listening);
    let typed = fields.get("max_request_body_size", integer_usize(0, usize::MAX));
    settings.max_body_bytes = largest(fields, "max_request_body_size", typed, settings.max_body_bytes);
    settings.tls = tls::server(fields);
    settings.auth = authenticators.server(fields);
    fields.refused(&["middlewares"], "leave it out");
    fields.refused(
        &["logs_url_path", "traces_url_path", "metrics_url_path"],
        "the paths are /v1/logs, /v1/traces and /v1/metrics",
    );
    settings.cors = fields.optional("cors", cors);
    fields.told(&SERVER_KEYS, "connections have the receiver's `limits`");
    fields.told(&["dialer"], "it listens");
    settings
}

fn cors(fields: &mut Fields<'_, '_, '_>) -> otlp::Cors {
    let mut cors = otlp::Cors::default();
    fields.set("allowed_origins", &mut cors.allowed_origins, texts);
    fields.set("allowed_headers", &mut cors.allowed_headers, texts);
    fields.set("exposed_headers", &mut cors.exposed_headers, texts);
    fields.set("max_age", &mut cors.max_age, integer_u32(0, u32::MAX));
    if cors.allowed_origins.is_empty() {
        fields.note("allowed_origins", "no origin is named: browsers keep every page from sending");
    }
    for origin in &cors.allowed_origins {
        if origin == "*" {
            fields.note("allowed_origins", "every page that a user of this machine's browsers opens may send");
        }
    }
    cors
}

/// What one request may be at most: as in the Collector 0 is the default, and never more than a frame of the log.
fn largest(fields: &mut Fields<'_, '_, '_>, key: &'static str, typed: Option<usize>, default: usize) -> usize {
    match typed {
        None | Some(0) => default,
        Some(bytes) if bytes > MESSAGE_MIB_MAX * MIB => {
            fields.note(key, format!("{MESSAGE_MIB_MAX} MiB at most: the log takes no larger request"));
            MESSAGE_MIB_MAX * MIB
        }
        Some(bytes) => bytes,
    }
}

/// Where a protocol listens: a port, or with `transport: unix` a path.
fn endpoint_of(fields: &mut Fields<'_, '_, '_>, default: otlp::Endpoint, listening: &mut Listening) -> otlp::Endpoint {
    let modes = [("0600", SocketMode::User), ("0660", SocketMode::Group), ("0666", SocketMode::Everyone)];
    let mode = fields.get("socket_mode", one_of(&modes));
    let transport = fields.get("transport", crate::config::values::word);
    if mode.is_some() && transport.as_deref() != Some("unix") {
        fields.fault("socket_mode", Problem::new("a port has no mode").suggest("leave it out, or `transport: unix`"));
    }
    let family = match transport.as_deref() {
        Some("unix") => {
            let socket = fields.require("endpoint", "/run/tidegate/otlp.sock", path);
            return socket.map_or(default, |path| otlp::Endpoint::Unix(path, mode.unwrap_or_default()));
        }
        Some("tcp4") => Family::V4,
        Some("tcp6") => Family::V6,
        None | Some("tcp") => Family::Any,
        Some(_) => {
            fields.fault("transport", Problem::new("expected one of tcp, tcp4, tcp6, unix"));
            Family::Any
        }
    };
    let Some(port) = default.address().map(|address| address.port()) else { return default };
    match endpoint_in(family, fields, SocketAddr::new(family.localhost(), port), listening) {
        SocketAddr::V6(address) if family == Family::V6 => otlp::Endpoint::Tcp6(address),
        address => otlp::Endpoint::Tcp(address),
    }
}

/// Reads `endpoint` of something that listens.
pub(super) fn endpoint(fields: &mut Fields<'_, '_, '_>, default: SocketAddr, listening: &mut Listening) -> SocketAddr {
    endpoint_in(Family::Any, fields, default, listening)
}

/// As [`endpoint`], of this family.
fn endpoint_in(
    family: Family,
    fields: &mut Fields<'_, '_, '_>,
    default: SocketAddr,
    listening: &mut Listening,
) -> SocketAddr {
    let mut address = default;
    fields.set("endpoint", &mut address, |node| listen_address_of(family, node));
    if address.ip().is_unspecified() {
        fields.note("endpoint", every_interface(address));
    }
    let (path, at) = (fields.path_of("endpoint"), fields.place_of("endpoint"));
    listening.take(fields.check, address, family, &path, at);
    address
}
