//! The examples are valid, and ask for the rights that SECURITY.md names and no others.

#![cfg(feature = "agent")]
#![allow(clippy::disallowed_methods, reason = "reads the examples and writes one configuration to a temporary folder")]
#![allow(clippy::unwrap_used, reason = "a test ends where its own preparation fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode as _, Yaml};

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Configurations of tidegate.
const OURS: [&str; 4] =
    ["agent-to-agent/central.yaml", "agent-to-agent/edge.yaml", "collector-queue/tidegate.yaml", "gateway/agent.yaml"];
/// Configurations of the Collector, which the tests `outage` and `whole_way` give to it, and what `tests/run peer` and
/// `tests/run collector` build it of.
const THE_COLLECTORS: [&str; 4] = [
    "collector-queue/builder.yaml",
    "collector-queue/collector.yaml",
    "gateway/builder.yaml",
    "gateway/collector.yaml",
];
const KUBERNETES: &str = "kubernetes/daemonset.yaml";

/// The YAML files of the examples.
fn yaml_files() -> BTreeSet<String> {
    let root = path("examples");
    let names = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let folders = names(&root).into_iter().filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| names(&folder)).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.map(|file| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
}

fn text(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|e| panic!("{relative}: {e}"))
}

#[track_caller]
fn assert_valid(config: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["validate", "--config"]).arg(config);
    command.env("HOST_IP", "127.0.0.1").env("TIDEGATE_GATEWAY", "127.0.0.1:14317");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}\n{said}", config.display(), output.status);
}

/// The values of a key that occurs once in a unit.
fn unit_words(unit: &str, key: &str) -> BTreeSet<String> {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(values.next(), None, "{key} stands twice");
    value.split_whitespace().map(str::to_owned).collect()
}

/// The rights in the first table of SECURITY.md that are marked as needed.
fn documented_rights() -> BTreeSet<String> {
    let security = text("SECURITY.md");
    let rows = security.lines().filter(|line| line.starts_with("| `CAP_") && line.contains("| yes |"));
    rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect()
}

fn daemonset_documents(text: &str) -> Vec<Yaml<'_>> {
    Yaml::load_from_str(text).unwrap()
}

fn daemonset_container<'a>(documents: &'a [Yaml<'a>]) -> &'a Yaml<'a> {
    let daemonset = documents.iter().find(|d| d["kind"].as_str() == Some("DaemonSet")).unwrap();
    &daemonset["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn each_configuration_of_tidegate_is_valid() {
    for name in OURS {
        assert_valid(&path("examples").join(name));
    }
}

#[test]
fn no_file_is_left_out() {
    let known = OURS.into_iter().chain(THE_COLLECTORS).chain([KUBERNETES]).map(str::to_owned).collect();
    assert_eq!(yaml_files(), known, "each file is checked by somebody");
    let readme = text("README.md");
    for entry in std::fs::read_dir(path("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("[examples/{name}](examples/{name})")), "README.md does not name {name}");
    }
}

#[test]
fn the_configuration_in_the_daemonset_is_valid() {
    let manifest = text("examples/kubernetes/daemonset.yaml");
    let documents = daemonset_documents(&manifest);
    let map = documents.iter().find(|d| d["kind"].as_str() == Some("ConfigMap")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.yaml");
    std::fs::write(&config, map["data"]["agent.yaml"].as_str().unwrap()).unwrap();
    assert_valid(&config);
}

#[test]
fn the_daemonset_names_its_own_parts() {
    let manifest = text("examples/kubernetes/daemonset.yaml");
    let documents = daemonset_documents(&manifest);
    let kinds: Vec<&str> = documents.iter().map(|d| d["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "ServiceAccount", "ConfigMap", "Service", "DaemonSet"]);
    let daemonset = documents.last().unwrap();
    let template = &daemonset["spec"]["template"];
    let label = "app.kubernetes.io/name";
    assert_eq!(template["metadata"]["labels"][label], daemonset["spec"]["selector"]["matchLabels"][label]);
    let names = |list: &Yaml<'_>| -> BTreeSet<String> {
        list.as_sequence().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let mounts = names(&daemonset_container(&documents)["volumeMounts"]);
    assert_eq!(mounts, names(&template["spec"]["volumes"]));
}

/// A path of the host that SECURITY.md does not name, or that could be written, is a right too.
#[test]
fn the_daemonset_mounts_of_the_host_only_what_is_documented_and_writes_to_its_data_only() {
    let manifest = text("examples/kubernetes/daemonset.yaml");
    let documents = daemonset_documents(&manifest);
    let template = &documents.last().unwrap()["spec"]["template"]["spec"];
    let mounts = daemonset_container(&documents)["volumeMounts"].as_sequence().unwrap();
    let security = text("SECURITY.md");
    let (_, table) = security.split_once("## What it reads and writes").unwrap();
    let mut checked = 0;
    for volume in template["volumes"].as_sequence().unwrap() {
        let Some(host) = volume.as_mapping_get("hostPath").and_then(|host| host["path"].as_str()) else { continue };
        assert!(table.contains(&format!("`{host}")), "{host}");
        let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).unwrap();
        assert_eq!(mount["mountPath"].as_str(), Some(host), "the agent looks where the host has it");
        let read_only = mount.as_mapping_get("readOnly").and_then(Yaml::as_bool) == Some(true);
        assert_eq!(read_only, host != "/var/lib/tidegate", "{host}");
        checked += 1;
    }
    assert!(checked > 2, "{checked} paths of the host");
}

#[test]
fn the_unit_and_the_daemonset_ask_for_the_documented_rights_only() {
    let rights = documented_rights();
    assert!(!rights.is_empty(), "SECURITY.md names no rights");
    let unit = text("examples/systemd/tidegate.service");
    assert_eq!(unit_words(&unit, "AmbientCapabilities"), rights);
    assert_eq!(unit_words(&unit, "CapabilityBoundingSet"), rights);

    let manifest = text("examples/kubernetes/daemonset.yaml");
    let documents = daemonset_documents(&manifest);
    let context = &daemonset_container(&documents)["securityContext"];
    let added = context["capabilities"]["add"].as_sequence().unwrap();
    let added: BTreeSet<String> = added.iter().map(|c| format!("CAP_{}", c.as_str().unwrap())).collect();
    assert_eq!(added, rights);
    assert_eq!(context["capabilities"]["drop"][0].as_str(), Some("ALL"));
    assert_eq!(context["privileged"].as_bool(), Some(false));
    assert_eq!(context["allowPrivilegeEscalation"].as_bool(), Some(false));
}
