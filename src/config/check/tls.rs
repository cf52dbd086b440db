//! The settings `tls`: of what listens, and of exporters.

use std::time::Duration;

use crate::config::fault::Problem;
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::units::{duration, positive_duration};
use crate::config::values::{boolean, one_of, path, word};
use crate::exporters::{Tls, TlsVersions};
use crate::listen::tls::ServerTls;

/// `tls` of what listens; none when it is absent.
pub(super) fn server(fields: &mut Fields<'_, '_, '_>) -> Option<ServerTls> {
    fields.optional("tls", |fields| {
        let cert_file = fields.require("cert_file", "/etc/tidegate/server.pem", path);
        let key_file = fields.require("key_file", "/etc/tidegate/server.key", path);
        let client_ca_file = fields.get("client_ca_file", path);
        let mut reload_interval = Duration::from_secs(10);
        fields.set("reload_interval", &mut reload_interval, positive_duration);
        let versions = versions(fields);
        fields.told(&["client_ca_file_reload"], "every file is read again when it changes");
        fields.told(
            &[
                "cipher_suites",
                "curve_preferences",
                "include_insecure_cipher_suites",
                "ca_file",
                "include_system_ca_certs_pool",
            ],
            "TLS 1.2 and 1.3 with safe ciphers",
        );
        fields.refused(&["cert_pem", "key_pem", "ca_pem"], "write the PEM text to a file and name it with `…_file`");
        fields.refused(&["tpm"], "name certificate and key as files");
        Some(ServerTls { cert_file: cert_file?, key_file: key_file?, client_ca_file, versions, reload_interval })
    })?
}

/// `tls` of an exporter.
pub(super) fn client(fields: &mut Fields<'_, '_, '_>) -> Tls {
    let mut tls = Tls::default();
    fields.set("insecure", &mut tls.insecure, boolean);
    tls.ca_file = fields.get("ca_file", path);
    tls.cert_file = fields.get("cert_file", path);
    tls.key_file = fields.get("key_file", path);
    fields.set("include_system_ca_certs_pool", &mut tls.include_system_ca_certs_pool, boolean);
    tls.server_name_override = fields.get("server_name_override", word);
    tls.versions = versions(fields);
    fields.set("reload_interval", &mut tls.reload_interval, duration);
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => {
            fields
                .fault("cert_file", Problem::new("`key_file` is missing").suggest("name certificate and key together"));
        }
        (None, Some(_)) => {
            fields
                .fault("key_file", Problem::new("`cert_file` is missing").suggest("name certificate and key together"));
        }
        _ => {}
    }
    if fields.get("insecure_skip_verify", boolean) == Some(true) {
        let problem = Problem::new("a certificate is always verified in this version")
            .suggest("name the authority with `ca_file`, and a differing host with `server_name_override`");
        fields.fault("insecure_skip_verify", problem);
    }
    fields.refused(&["ca_pem", "cert_pem", "key_pem"], "write the PEM text to a file and name it with `…_file`");
    fields.refused(&["tpm"], "name certificate and key as files");
    fields.told(
        &["cipher_suites", "curve_preferences", "include_insecure_cipher_suites"],
        "TLS 1.2 and 1.3 with safe ciphers",
    );
    tls
}

fn versions(fields: &mut Fields<'_, '_, '_>) -> TlsVersions {
    match (fields.get("min_version", version), fields.get("max_version", version)) {
        (Some(Version::V1_3), Some(Version::V1_2)) => {
            fields.fault("min_version", Problem::new("`min_version` is above `max_version`"));
            TlsVersions::Any
        }
        (Some(Version::V1_3), _) => TlsVersions::Only1_3,
        (_, Some(Version::V1_2)) => TlsVersions::Only1_2,
        _ => TlsVersions::Any,
    }
}

/// A version of TLS that there is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1_2,
    V1_3,
}

/// Reads `min_version` or `max_version`, which in the Collector may also be older ones.
fn version(node: &Node) -> Result<Version, Problem> {
    let choices = [("1.0", None), ("1.1", None), ("1.2", Some(Version::V1_2)), ("1.3", Some(Version::V1_3))];
    one_of(&choices)(node)?
        .ok_or_else(|| Problem::new("there is no TLS below 1.2 in this version").suggest("write `1.2` or `1.3`"))
}
