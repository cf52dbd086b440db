//! The extensions' settings.

use std::path::PathBuf;

use super::auth::{self, Authenticator};
use super::receivers::endpoint;
use super::storage::{DiskBuffer, disk_buffer};
use super::{Listening, SERVER_KEYS};
use crate::config::fault::Problem;
use crate::config::fields::Fields;
use crate::config::units::positive_duration;
use crate::config::values::{boolean, path, word};
use crate::extensions::health_check;

/// An extension of this build.
#[derive(Debug)]
pub(super) enum Extension {
    Health(health_check::Settings),
    /// `file_storage`: its directory is all that is used.
    FileStorage(Option<PathBuf>),
    DiskBuffer(Box<DiskBuffer>),
    Authenticator(Authenticator),
}

impl Extension {
    pub(super) fn health(&self) -> Option<health_check::Settings> {
        if let Self::Health(settings) = self { Some(settings.clone()) } else { None }
    }
}

pub(super) fn extension(kind: &str, fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> Option<Extension> {
    match kind {
        "health_check" => Some(Extension::Health(health(fields, listening))),
        "file_storage" => Some(Extension::FileStorage(file_storage(fields))),
        "bearertokenauth" => auth::bearer(fields).map(Extension::Authenticator),
        "basicauth" => auth::basic(fields).map(Extension::Authenticator),
        "disk_buffer" => Some(Extension::DiskBuffer(Box::new(disk_buffer(fields)))),
        _ => None,
    }
}

fn health(fields: &mut Fields<'_, '_, '_>, listening: &mut Listening) -> health_check::Settings {
    let mut settings = health_check::Settings::default();
    settings.endpoint = endpoint(fields, settings.endpoint, listening);
    settings.key = fields.path_of("endpoint");
    fields.set("path", &mut settings.path, |node| {
        let path = word(node)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        if path.starts_with('/') && path.bytes().all(is_plain) {
            Ok(path)
        } else {
            Err(Problem::new("expected a path as /health")
                .suggest("begin with a slash; letters, digits, `/`, `-`, `_`, `.`"))
        }
    });
    fields.set("stuck_after", &mut settings.stuck_after, positive_duration);
    fields.refused(&["tls", "auth"], "keep health on loopback, or put a proxy in front of it");
    fields.told(&["response_body"], "the answer has the reasons");
    fields.told(&["check_collector_pipeline"], "every exporter is checked");
    let plain = "health answers plain GET requests";
    fields.told(&SERVER_KEYS, plain);
    fields.told(&["cors", "transport", "max_request_body_size"], plain);
    fields.told(&["use_v2", "component_health", "http", "grpc"], "health has one form, with its reasons");
    settings
}

fn file_storage(fields: &mut Fields<'_, '_, '_>) -> Option<PathBuf> {
    let directory = fields.get("directory", path);
    if fields.get("fsync", boolean) == Some(false) {
        fields.note("fsync", "no effect: what is acknowledged is synced; only `disk_buffer.durability` lowers this");
    }
    fields.told(
        &["create_directory", "directory_permissions"],
        "the directory is made when it is missing, for its owner alone",
    );
    fields.told(&["timeout"], "a directory that another process owns is an error at once");
    fields.told(&["compaction"], "delivered segments are removed or used again");
    fields.told(&["recreate"], "damage is set aside, counted and told; the rest stays");
    fields.told(&["max_size"], "`disk_buffer.max_size` bounds the directory");
    directory
}
