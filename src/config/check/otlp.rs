//! The settings of the exporters `otlp` and `otlphttp`.

use std::time::Duration;

use super::auth::Authenticators;
use super::tls;
use crate::config::fault::Problem;
use crate::config::fields::Fields;
use crate::config::network::{Backend, backend, headers, url};
use crate::config::node::Value;
use crate::config::units::{duration, positive_duration};
use crate::config::values::{boolean, one_of};
use crate::exporters::{KeepAlive, otlp, otlphttp};

/// Longer than any connection lives, and short enough to be added to any time.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

pub(super) fn grpc(fields: &mut Fields<'_, '_, '_>, authenticators: &mut Authenticators<'_>) -> Option<otlp::Settings> {
    let endpoint = fields.require("endpoint", "collector:4317", backend);
    let mut tls = fields.section("tls", tls::client);
    if let Some(Backend { tls: Some(secure), .. }) = endpoint {
        // As in the Collector, a scheme decides.
        tls.insecure = !secure;
    }
    let mut timeout = Duration::from_secs(5);
    fields.set("timeout", &mut timeout, duration);
    let headers = fields.get("headers", headers).unwrap_or_default();
    use otlp::Compression::{Gzip, None as Plain, Zstd};
    let compression = compression(fields, [Gzip, Zstd, Plain]);
    let auth = authenticators.client(fields);
    fields.refused(&["middlewares"], "leave it out");
    fields.told(
        &["read_buffer_size", "write_buffer_size", "wait_for_ready", "balancer_name", "authority"],
        "the client sizes its connection itself",
    );
    fields.told(&["user_agent"], "the client names itself");
    let keep_alive = fields.section("keepalive", |fields| {
        let mut keep_alive = KeepAlive::default();
        keep_alive.interval = never_if_zero(fields.get("time", duration), keep_alive.interval);
        fields.set("timeout", &mut keep_alive.timeout, positive_duration);
        fields.set("permit_without_stream", &mut keep_alive.while_idle, boolean);
        keep_alive
    });
    Some(otlp::Settings { endpoint: endpoint?.endpoint, tls, headers, auth, compression, timeout, keep_alive })
}

pub(super) fn http(fields: &mut Fields<'_, '_, '_>, authenticators: &mut Authenticators<'_>) -> otlphttp::Settings {
    let endpoints = otlphttp::Endpoints {
        base: given_url(fields, "endpoint"),
        logs: given_url(fields, "logs_endpoint"),
        traces: given_url(fields, "traces_endpoint"),
        metrics: given_url(fields, "metrics_endpoint"),
    };
    fields.told(&["profiles_endpoint"], "profiles are not carried");
    let tls = fields.section("tls", tls::client);
    if tls.insecure {
        fields.note("tls", "`insecure` has no effect: the URL's scheme says whether there is TLS");
    }
    let mut timeout = Duration::from_secs(30);
    fields.set("timeout", &mut timeout, duration);
    let headers = fields.get("headers", headers).unwrap_or_default();
    use otlphttp::Compression::{Gzip, None as Plain, Zstd};
    let compression = compression(fields, [Gzip, Zstd, Plain]);
    let mut encoding = otlphttp::Encoding::Protobuf;
    let choices = [("proto", otlphttp::Encoding::Protobuf), ("json", otlphttp::Encoding::Json)];
    fields.set("encoding", &mut encoding, one_of(&choices));
    let auth = authenticators.client(fields);
    fields.refused(&["middlewares"], "leave it out");
    fields.refused(&["proxy_url"], "name the proxy in the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`");
    fields.refused(&["cookies"], "leave it out");
    fields.told(&["compression_params"], "each compression has its usual level");
    fields.told(
        &[
            "read_buffer_size",
            "write_buffer_size",
            "max_idle_conns",
            "max_idle_conns_per_host",
            "max_conns_per_host",
            "idle_conn_timeout",
            "disable_keep_alives",
            "force_attempt_http2",
            "keepalive",
        ],
        "the client sizes its connections itself",
    );
    let mut keep_alive = KeepAlive::default();
    keep_alive.interval = never_if_zero(fields.get("http2_read_idle_timeout", duration), keep_alive.interval);
    // As in the Collector, 0 is the default.
    let patience = fields.get("http2_ping_timeout", duration).filter(|patience| !patience.is_zero());
    keep_alive.timeout = patience.unwrap_or(keep_alive.timeout);
    otlphttp::Settings { endpoints, tls, headers, auth, compression, encoding, timeout, keep_alive }
}

/// As in the Collector, 0 turns it off.
fn never_if_zero(typed: Option<Duration>, default: Duration) -> Duration {
    typed.map_or(default, |typed| if typed.is_zero() { NEVER } else { typed })
}

/// A URL where one is given. What was given and cannot be read is told, and is not told to be missing as well.
fn given_url(fields: &mut Fields<'_, '_, '_>, key: &'static str) -> Option<String> {
    let read = fields.get(key, url);
    let is_given = fields.entry(key).is_some_and(|entry| !matches!(entry.value.value, Value::Null));
    read.or_else(|| is_given.then(String::new))
}

/// One of gzip (the default), zstd and none.
fn compression<C: Copy>(fields: &mut Fields<'_, '_, '_>, [gzip, zstd, none]: [C; 3]) -> C {
    let choices = [
        ("gzip", Some(gzip)),
        ("zstd", Some(zstd)),
        ("none", Some(none)),
        ("", Some(none)),
        ("snappy", None),
        ("zlib", None),
        ("deflate", None),
        ("lz4", None),
        ("x-snappy-framed", None),
    ];
    let read = |node: &_| match one_of(&choices)(node)? {
        Some(compression) => Ok(compression),
        None => Err(Problem::new("this compression is not in this version").suggest("write `gzip`, `zstd` or `none`")),
    };
    fields.get("compression", read).unwrap_or(gzip)
}
