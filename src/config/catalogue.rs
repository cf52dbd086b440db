//! The components: those of this build, and the names that other versions or the Collector give a meaning to.

use std::fmt;

use crate::otlp::Signal;

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A way in.
    Receiver,
    /// Something in between.
    Processor,
    /// A way out.
    Exporter,
    /// Something beside the pipelines.
    Extension,
}

impl Kind {
    /// The key of the configuration under which components of this kind stand.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::Receiver => "receivers",
            Self::Processor => "processors",
            Self::Exporter => "exporters",
            Self::Extension => "extensions",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receiver => "receiver",
            Self::Processor => "processor",
            Self::Exporter => "exporter",
            Self::Extension => "extension",
        })
    }
}

/// A component of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Its type: what an id begins with.
    pub name: &'static str,
    /// Other spellings of the type.
    pub aliases: &'static [&'static str],
    /// What it carries; empty for extensions.
    pub signals: &'static [Signal],
    /// How settled it is, in the Collector's words: development, alpha, beta, stable.
    pub stability: &'static str,
    /// What it does, in a line.
    pub description: &'static str,
}

const EVERY_SIGNAL: &[Signal] = &Signal::ALL;

/// Every component of this build.
pub const COMPONENTS: &[Component] = &[
    Component {
        kind: Kind::Receiver,
        name: "kernel",
        aliases: &[],
        signals: &[Signal::Logs],
        stability: "alpha",
        description: "Linux kernel events through eBPF",
    },
    Component {
        kind: Kind::Receiver,
        name: "otlp",
        aliases: &[],
        signals: EVERY_SIGNAL,
        stability: "alpha",
        description: "OTLP over gRPC and HTTP",
    },
    Component {
        kind: Kind::Processor,
        name: "batch",
        aliases: &[],
        signals: EVERY_SIGNAL,
        stability: "alpha",
        description: "accepted, no effect: exporters batch by themselves",
    },
    Component {
        kind: Kind::Processor,
        name: "memory_limiter",
        aliases: &[],
        signals: EVERY_SIGNAL,
        stability: "alpha",
        description: "accepted, no effect: memory is bounded by itself",
    },
    Component {
        kind: Kind::Exporter,
        name: "otlp",
        aliases: &["otlp_grpc"],
        signals: EVERY_SIGNAL,
        stability: "alpha",
        description: "OTLP over gRPC",
    },
    Component {
        kind: Kind::Exporter,
        name: "otlphttp",
        aliases: &["otlp_http"],
        signals: EVERY_SIGNAL,
        stability: "alpha",
        description: "OTLP over HTTP",
    },
    Component {
        kind: Kind::Exporter,
        name: "file",
        aliases: &[],
        signals: EVERY_SIGNAL,
        stability: "alpha",
        description: "a local copy, one JSON object a line",
    },
    Component {
        kind: Kind::Exporter,
        name: "debug",
        aliases: &[],
        signals: EVERY_SIGNAL,
        stability: "alpha",
        description: "one readable line per record on standard output",
    },
    Component {
        kind: Kind::Extension,
        name: "health_check",
        aliases: &[],
        signals: &[],
        stability: "alpha",
        description: "answers whether every exporter moves",
    },
    Component {
        kind: Kind::Extension,
        name: "bearertokenauth",
        aliases: &[],
        signals: &[],
        stability: "alpha",
        description: "a token in a header, for receivers and exporters",
    },
    Component {
        kind: Kind::Extension,
        name: "basicauth",
        aliases: &[],
        signals: &[],
        stability: "alpha",
        description: "user and password, for receivers and exporters",
    },
    Component {
        kind: Kind::Extension,
        name: "disk_buffer",
        aliases: &[],
        signals: &[],
        stability: "alpha",
        description: "where and how the logs are kept on disk",
    },
    Component {
        kind: Kind::Extension,
        name: "file_storage",
        aliases: &[],
        signals: &[],
        stability: "alpha",
        description: "the Collector's name for the directory of the logs",
    },
];

/// Types that a configuration may well name, but that this version does not have.
const ELSEWHERE: &[(Kind, &[&str])] = &[
    (
        Kind::Receiver,
        &[
            "docker_stats",
            "filelog",
            "fluentforward",
            "hostmetrics",
            "jaeger",
            "journald",
            "k8s_cluster",
            "k8s_events",
            "k8sobjects",
            "kafka",
            "kmsg",
            "kubeletstats",
            "lustre_hsm",
            "namedpipe",
            "nop",
            "opencensus",
            "otelarrow",
            "otlpjsonfile",
            "prometheus",
            "prometheus_remote_write",
            "redis",
            "statsd",
            "syslog",
            "tcplog",
            "udplog",
            "windowseventlog",
            "zipkin",
        ],
    ),
    (
        Kind::Processor,
        &[
            "attributes",
            "cumulativetodelta",
            "dedup",
            "filter",
            "groupbyattrs",
            "interval",
            "k8sattributes",
            "logdedup",
            "log_dedup",
            "metricstransform",
            "probabilistic_sampler",
            "rate_limit",
            "redact",
            "redaction",
            "resource",
            "resourcedetection",
            "span",
            "tail_sampling",
            "transform",
        ],
    ),
    (
        Kind::Exporter,
        &[
            "awscloudwatchlogs",
            "awss3",
            "azuremonitor",
            "clickhouse",
            "datadog",
            "elasticsearch",
            "googlecloud",
            "influxdb",
            "kafka",
            "loadbalancing",
            "logging",
            "loki",
            "nop",
            "opensearch",
            "otelarrow",
            "prometheus",
            "prometheusremotewrite",
            "pulsar",
            "rabbitmq",
            "splunk_hec",
            "syslog",
            "zipkin",
        ],
    ),
    (
        Kind::Extension,
        &[
            "db_storage",
            "events_api",
            "headers_setter",
            "health_check_v2",
            "healthcheckv2",
            "host_observer",
            "k8s_observer",
            "oauth2client",
            "oidc",
            "opamp",
            "pprof",
            "redis_storage",
            "sigv4auth",
            "zpages",
        ],
    ),
];

/// What a typed component type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// A component of this build.
    Here(&'static Component),
    /// A component of the Collector, or of a later version.
    Elsewhere,
    /// Nothing known.
    Unknown,
}

pub(super) fn look_up(kind: Kind, typed: &str) -> Lookup {
    let is_typed = |component: &&Component| {
        component.kind == kind && (component.name == typed || component.aliases.contains(&typed))
    };
    match COMPONENTS.iter().find(is_typed) {
        Some(component) => Lookup::Here(component),
        None if ELSEWHERE.iter().any(|(k, names)| *k == kind && names.contains(&typed)) => Lookup::Elsewhere,
        None => Lookup::Unknown,
    }
}

/// The types of a kind in this build, aliases included.
pub(super) fn types_here(kind: Kind) -> Vec<&'static str> {
    COMPONENTS
        .iter()
        .filter(|component| component.kind == kind)
        .flat_map(|component| std::iter::once(component.name).chain(component.aliases.iter().copied()))
        .collect()
}
