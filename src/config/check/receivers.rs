//! The receivers' settings.

use std::net::SocketAddr;

use super::registry::Registry;
use super::{Listening, every_interface};
use crate::config::checked::Receiver;
use crate::config::fault::Problem;
use crate::config::fields::{Check, Fields};
use crate::config::network::listen_address;
use crate::config::node::Node;
use crate::config::units::size;
use crate::config::values::{boolean, integer_u32, integer_usize, texts};
use crate::receivers::{kernel, otlp};

const MIB: usize = 1 << 20;
/// The log takes no frame above 64 MiB, so no receiver needs to.
const MESSAGE_MIB_MAX: usize = 64;

pub(super) fn receiver(kind: &str, fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> Option<Receiver> {
    match kind {
        "kernel" => Some(Receiver::Kernel(kernel(fields))),
        "otlp" => Some(Receiver::Otlp(otlp(fields, listening))),
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

fn otlp(fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> otlp::Settings {
    let settings = fields.section("protocols", |protocols| otlp::Settings {
        grpc: protocols.optional("grpc", |fields| grpc(fields, listening)),
        http: protocols.optional("http", |fields| http(fields, listening)),
    });
    if settings.grpc.is_none() && settings.http.is_none() {
        let problem = Problem::new("no protocol: nothing would listen")
            .suggest("write `grpc:` or `http:`, or both, under `protocols:`; their endpoints have defaults");
        fields.fault("protocols", problem);
    }
    settings
}

fn grpc(fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> otlp::GrpcSettings {
    let mut settings = otlp::GrpcSettings::default();
    settings.endpoint = endpoint(fields, settings.endpoint, listening);
    let read = integer_usize(1, MESSAGE_MIB_MAX);
    fields.set("max_recv_msg_size_mib", &mut settings.max_message_bytes, |node| Ok(read(node)? * MIB));
    refuse_transport(fields);
    fields.told(
        &["max_concurrent_streams", "read_buffer_size", "write_buffer_size", "keepalive", "include_metadata"],
        "the server sizes its connections itself",
    );
    settings
}

fn http(fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> otlp::HttpSettings {
    let mut settings = otlp::HttpSettings::default();
    settings.endpoint = endpoint(fields, settings.endpoint, listening);
    fields.set("max_request_body_size", &mut settings.max_body_bytes, integer_usize(1, MESSAGE_MIB_MAX * MIB));
    refuse_transport(fields);
    fields.refused(
        &["logs_url_path", "traces_url_path", "metrics_url_path"],
        "the paths are /v1/logs, /v1/traces and /v1/metrics",
    );
    fields.told(&["cors"], "pages in browsers are not answered");
    fields.told(
        &[
            "include_metadata",
            "response_headers",
            "compression_algorithms",
            "read_timeout",
            "read_header_timeout",
            "write_timeout",
            "idle_timeout",
            "keep_alives_enabled",
        ],
        "the server sizes its connections itself",
    );
    settings
}

/// Ignoring one of these would open what was meant to be closed, or close what was meant to be open.
fn refuse_transport(fields: &mut Fields<'_, '_, '_>) {
    fields.refused(&["tls"], "keep the receiver on loopback, or put a proxy that ends TLS in front of it");
    fields.refused(&["auth", "middlewares"], "keep the receiver on loopback, or put a proxy in front of it");
    if let Some(transport) = fields.get("transport", crate::config::values::word)
        && !matches!(&*transport, "tcp" | "tcp4" | "tcp6")
    {
        fields.fault("transport", Problem::new("only `tcp` is in this version").suggest("write `tcp`"));
    }
}

/// Reads `endpoint` of something that listens.
pub(super) fn endpoint(fields: &mut Fields<'_, '_, '_>, default: SocketAddr, listening: &mut Listening) -> SocketAddr {
    let mut address = default;
    fields.set("endpoint", &mut address, listen_address);
    if address.ip().is_unspecified() {
        fields.note("endpoint", every_interface(address));
    }
    let (path, at) = (fields.path_of("endpoint"), fields.place_of("endpoint"));
    listening.take(fields.check, address, &path, at);
    address
}
